//! The threads that the session lends.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use zeropoint::Threads;

use crate::edge::Lent;

/// How many threads the session has: its interface has no such question, so they are counted, once.
#[derive(Default)]
pub(crate) struct Count(OnceLock<usize>);

/// How long a thread may take to come when they are counted.
const PATIENCE: Duration = Duration::from_micros(300);
/// About how long it takes to hand over a task.
const HANDOVER: Duration = Duration::from_micros(5);

impl Count {
    fn get(&self, lent: &Lent<'_>) -> usize {
        *self.0.get_or_init(|| {
            let most = available_parallelism().map_or(1, usize::from);
            if most == 1 {
                return 1;
            }
            // A task that waits for the others holds its thread, so no thread is counted twice.
            let (arrived, start) = (AtomicUsize::new(0), Instant::now());
            let waiting = || start.elapsed() < PATIENCE;
            lent.perform(most, &|_| {
                if waiting() {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    while arrived.load(Ordering::Relaxed) < most && waiting() {
                        std::hint::spin_loop();
                    }
                }
            });
            arrived.into_inner().clamp(1, most)
        })
    }
}

impl Threads for Lent<'_> {
    fn threads(&self) -> usize {
        self.count.get(self)
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.perform(tasks, task);
    }

    fn handover(&self) -> Duration {
        HANDOVER
    }
}
