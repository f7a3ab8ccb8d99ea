//! The threads that the session lends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use zeropoint::Threads;

use crate::edge::Lent;
use crate::failure::{Failure, refuse};

/// How many threads the session has. Its interface has no such question, so they are counted, in some of the first
/// runs, until there are as many as the process may have: a thread that is busy elsewhere is not seen. What is missed
/// costs time and nothing else.
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

/// Calls `work` with every item, on up to `tasks` threads.
pub(crate) fn each<I: Iterator<Item: Send> + Send>(
    threads: &dyn Threads,
    tasks: usize,
    items: I,
    work: impl Fn(I::Item) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let items = Mutex::new(items);
    let (claimed, done, failure) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(None));
    let task = |_| {
        loop {
            // The lock is free again before the work is done.
            let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = next else { return };
            claimed.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = work(item) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let tasks = tasks.min(threads.threads());
    if tasks > 1 {
        threads.run(tasks, &task);
    }
    // The rest, if tasks were not called.
    task(0);
    let (claimed, done) = (claimed.into_inner(), done.into_inner());
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None if done < claimed => refuse!("a fault of the library: {done} of {claimed} tasks were done"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use zeropoint::Serial;

    use super::*;

    /// Claims to be many, and calls no task; or catches panics, as the engine's edge does.
    struct Odd(bool);
    impl Threads for Odd {
        fn threads(&self) -> usize {
            4
        }
        fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
            if self.0 {
                (0..tasks).for_each(|i| drop(catch_unwind(AssertUnwindSafe(|| task(i)))));
            }
        }
    }

    /// Every item has its turn once, whoever lends threads; a failure and a panic are reported.
    #[test]
    fn no_item_is_lost() {
        for lent in [&Serial as &dyn Threads, &Odd(false), &Odd(true)] {
            let sum = AtomicUsize::new(0);
            let add = |item: usize| {
                sum.fetch_add(1 << item, Ordering::Relaxed);
                Ok(())
            };
            each(lent, 9, 0..20, add).unwrap();
            assert_eq!(sum.into_inner(), (1 << 20) - 1);
            let fail = |item| if item == 7 { refuse!("item {item}") } else { Ok(()) };
            assert!(matches!(each(lent, 9, 0..20, fail), Err(Failure::Refused(message)) if message == "item 7"));
        }
        let panics = |item| {
            assert_ne!(item, 3, "on purpose");
            Ok(())
        };
        let lost = each(&Odd(true), 9, 0..20, panics);
        assert!(matches!(lost, Err(Failure::Refused(message)) if message.contains("19 of 20 tasks")));
    }
}
