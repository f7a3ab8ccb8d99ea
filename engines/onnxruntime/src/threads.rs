//! The threads that the session lends.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use zeropoint::Threads;

use crate::edge::Lent;

/// How many threads the session has. Its interface has no such question, so they are counted, in some of the first runs,
/// until there are as many as the process may have: a thread that is busy elsewhere is not seen. What is missed costs time
/// and nothing else.
#[derive(Default)]
pub(crate) struct Count {
    most: AtomicUsize,
    runs: AtomicUsize,
}

/// The last run that counts; before it, the first, second, fourth and so on do.
const LAST: usize = 128;
/// How long a thread may take to come.
const PATIENCE: Duration = Duration::from_micros(300);
/// About how long it takes to hand over a task.
const HANDOVER: Duration = Duration::from_micros(5);

impl Count {
    /// For a run that begins.
    fn get(&self, lent: &Lent<'_>) -> usize {
        let (possible, relaxed) = (possible(), Ordering::Relaxed);
        let most = self.most.load(relaxed);
        if most >= possible || self.runs.load(relaxed) >= LAST {
            return most;
        }
        if !(self.runs.fetch_add(1, relaxed) + 1).is_power_of_two() {
            return most.max(1);
        }
        let found = arrived(lent, possible);
        self.most.fetch_max(found, relaxed).max(found)
    }
}

/// As many as this process may have.
fn possible() -> usize {
    static POSSIBLE: OnceLock<usize> = OnceLock::new();
    *POSSIBLE.get_or_init(|| available_parallelism().map_or(1, usize::from))
}

/// How many threads take tasks at a time. A task that waits for the others holds its thread: none is counted twice.
fn arrived(lent: &Lent<'_>, most: usize) -> usize {
    if most == 1 {
        return 1;
    }
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
}

impl Threads for Lent<'_> {
    fn threads(&self) -> usize {
        *self.threads.get_or_init(|| self.count.get(self))
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.perform(tasks, task);
    }

    fn handover(&self) -> Duration {
        HANDOVER
    }
}
