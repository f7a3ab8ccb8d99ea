//! Rayon's global pool as [`Threads`].

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::OnceLock;
use std::time::Instant;

use rayon::Yield;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use crate::Threads;

/// Rayon's global pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rayon;

impl Threads for Rayon {
    fn threads(&self) -> usize {
        rayon::current_num_threads()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// Rayon's global pool, whose threads stay awake for a while after each run: products that follow each other closely need
/// not wait until the system has woken a thread, which may take longer than they do.
///
/// The price is a busy CPU for that while, as with OpenMP. Waiting threads take up whatever else the pool has to do.
///
/// ```
/// use core::time::Duration;
/// use zeropoint::{RayonAwake, Threads};
/// let threads = RayonAwake(Duration::from_micros(200));
/// assert!(threads.threads() >= 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RayonAwake(pub Duration);

/// Until when threads wait, in nanoseconds since [`clock`] began.
static AWAKE_UNTIL: AtomicU64 = AtomicU64::new(0);
/// Threads that wait, or are asked to.
static WAITING: AtomicUsize = AtomicUsize::new(0);

std::thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Nanoseconds since the first call.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
}

impl Threads for RayonAwake {
    fn threads(&self) -> usize {
        Rayon.threads()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        Rayon.run(tasks, task);
        let nanoseconds = self.0.as_nanos().try_into().unwrap_or(u64::MAX);
        AWAKE_UNTIL.fetch_max(clock().saturating_add(nanoseconds), Ordering::Relaxed);
        if WAITING.compare_exchange(0, rayon::current_num_threads(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            // The caller goes on with work of its own, and must not be found waiting when its next run is done.
            let caller = rayon::current_thread_index();
            rayon::spawn_broadcast(move |context| {
                if caller != Some(context.index()) && !WAITS.replace(true) {
                    wait();
                    WAITS.set(false);
                }
                WAITING.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

/// Does what there is to do in the pool until nothing was for a while.
fn wait() {
    while clock() < AWAKE_UNTIL.load(Ordering::Relaxed) {
        if rayon::yield_now() != Some(Yield::Executed) {
            core::hint::spin_loop();
        }
    }
}
