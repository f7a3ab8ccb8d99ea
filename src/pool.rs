//! Rayon's global pool as [`Threads`].

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

    fn handover(&self) -> Duration {
        ASLEEP
    }
}

/// Rayon's global pool, whose threads stay awake for a while after each run: products that follow each other closely need
/// not wait until the system has woken a thread, which may take longer than they do.
///
/// The price is a busy CPU for that while, as with OpenMP. Waiting threads take up whatever else the pool has to do.
/// The thread that calls had better be one of the pool, by [`rayon::scope`] or
/// [`rayon::ThreadPoolBuilder::use_current_thread`]: another one waits asleep, and competes with those that wait awake.
///
/// ```
/// use core::time::Duration;
/// use zeropoint::{RayonAwake, Threads};
/// let threads = RayonAwake(Duration::from_micros(200));
/// assert!(threads.threads() >= 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RayonAwake(pub Duration);

/// How long a thread takes to take a task, asleep or awake. On Emerald Rapids in a virtual machine, two empty tasks took 0.2 us from a
/// thread of the pool whose other one was awake, and 1.4 from a thread beside it; of one that sleeps it is a guess.
const ASLEEP: Duration = Duration::from_micros(20);
const AWAKE: Duration = Duration::from_micros(1);

/// Until when threads wait, in nanoseconds since [`clock`] began.
static AWAKE_UNTIL: AtomicU64 = AtomicU64::new(0);
/// Threads that wait, or are asked to.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Nanoseconds since the first call.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
}

impl Threads for RayonAwake {
    fn threads(&self) -> usize {
        Rayon.threads()
    }

    fn handover(&self) -> Duration {
        AWAKE
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        Rayon.run(tasks, task);
        let nanoseconds = self.0.as_nanos().try_into().unwrap_or(u64::MAX);
        AWAKE_UNTIL.fetch_max(clock().saturating_add(nanoseconds), Ordering::Relaxed);
        // The caller goes on with work of its own: it neither waits nor counts, whenever it comes to its part.
        let caller = rayon::current_thread_index();
        let others = rayon::current_num_threads() - usize::from(caller.is_some());
        let relaxed = Ordering::Relaxed;
        if others > 0 && WAITING.compare_exchange(0, others, relaxed, relaxed).is_ok() {
            rayon::spawn_broadcast(move |context| {
                if caller != Some(context.index()) {
                    wait();
                    WAITING.fetch_sub(1, Ordering::Relaxed);
                }
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
