//! Thread pools as an engine would lend them.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use zeropoint::Threads;

/// Starts a thread for each task.
pub struct Scoped(pub usize);

impl Threads for Scoped {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for i in 0..tasks {
                scope.spawn(move || task(i));
            }
        });
    }
}

/// Threads that wait for work; running something allocates nothing.
pub struct Started {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    task: Option<&'static (dyn Fn(usize) + Sync)>,
    next: usize,
    tasks: usize,
    running: usize,
    stopped: bool,
}

impl Started {
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let workers = (0..threads).map(|_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.serve())
        });
        Self { workers: workers.collect(), shared }
    }
}

impl Shared {
    fn serve(&self) {
        let mut work = self.work.lock().unwrap();
        while !work.stopped {
            let Some(task) = work.task.filter(|_| work.next < work.tasks) else {
                work = self.changed.wait(work).unwrap();
                continue;
            };
            let index = work.next;
            (work.next, work.running) = (index + 1, work.running + 1);
            drop(work);
            task(index);
            work = self.work.lock().unwrap();
            work.running -= 1;
            self.changed.notify_all();
        }
    }
}

impl Threads for Started {
    fn threads(&self) -> usize {
        self.workers.len()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // SAFETY: forgotten below, after the last call of it has returned.
        let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        let mut work = self.shared.work.lock().unwrap();
        (work.task, work.next, work.tasks) = (Some(task), 0, tasks);
        self.shared.changed.notify_all();
        while work.next < work.tasks || work.running > 0 {
            work = self.shared.changed.wait(work).unwrap();
        }
        work.task = None;
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.shared.work.lock().unwrap().stopped = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
