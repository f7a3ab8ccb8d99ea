//! Splits blocks over threads; adds nothing else.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use zeropoint_kernels::{Block, Blocks, Element, Error, MatMut, Strip, Strips};

/// Threads that an engine lends.
///
/// ```
/// struct Scoped(usize);
/// impl zeropoint::Threads for Scoped {
///     fn threads(&self) -> usize {
///         self.0
///     }
///     fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
///         std::thread::scope(|scope| {
///             (0..tasks).for_each(|i| drop(scope.spawn(move || task(i))));
///         });
///     }
/// }
/// # let (lhs, rhs) = ([1u8; 4], [1u8; 4]);
/// # let lhs = zeropoint::MatRef::row_major(&lhs, 2, 2)?;
/// # let packed = zeropoint::Packed::rhs(zeropoint::MatRef::row_major(&rhs, 2, 2)?)?;
/// # let gemm = zeropoint::Gemm::new(packed, &zeropoint::Stages::<i32>::raw())?;
/// # let mut sums = [0i32; 4];
/// # let out = zeropoint::MatMut::row_major(&mut sums, 2, 2)?;
/// let mut workspace = gemm.workspace_for(2);
/// gemm.options().threads(&Scoped(2)).run(lhs, out, &mut workspace)?;
/// # assert_eq!(sums, [2; 4]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub trait Threads: Sync {
    /// How many tasks can run at a time.
    fn threads(&self) -> usize;

    /// Calls `task(i)` for every `i < tasks`, each at least once, on any threads, and returns when all calls have.
    ///
    /// A wrong implementation makes the product an [`Error::Threads`], never a data race: tasks claim their work.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));

    /// About how long it takes to hand out tasks and to wait for them. What is done in less by one thread is not shared,
    /// and no thread gets less than that; zero, which it is by default, shares everything.
    fn handover(&self) -> Duration {
        Duration::ZERO
    }
}

/// No more than some of the caller's threads.
pub(crate) struct Few<'a> {
    threads: &'a dyn Threads,
    most: usize,
}

impl<'a> Few<'a> {
    /// As many as pay for work that takes one thread `nanoseconds`.
    pub fn new(threads: &'a dyn Threads, nanoseconds: usize) -> Self {
        let each = usize::try_from(threads.handover().as_nanos()).unwrap_or(usize::MAX);
        Self { threads, most: nanoseconds.checked_div(each).map_or(usize::MAX, |most| most.max(1)) }
    }
}

impl Threads for Few<'_> {
    fn threads(&self) -> usize {
        self.threads.threads().min(self.most)
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // One is the caller.
        if self.most == 1 { Serial.run(tasks, task) } else { self.threads.run(tasks, task) }
    }
}

/// The caller's thread and no other: what an engine without threads lends to `run_on` of a layer.
///
/// ```
/// use zeropoint::{Serial, Threads};
/// assert_eq!(Serial.threads(), 1);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Threads for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// What threads share: items that are handed out once each.
pub(crate) trait Shared: Sync {
    type Item;
    fn count(&self) -> usize;
    /// The next that is left, or the last.
    fn claim(&self, last: bool) -> Option<Self::Item>;
}

impl<'o, O: Element> Shared for Blocks<'o, O> {
    type Item = Block<'o, O>;
    fn count(&self) -> usize {
        Blocks::count(self)
    }
    fn claim(&self, last: bool) -> Option<Block<'o, O>> {
        if last { self.claim_last() } else { Blocks::claim(self) }
    }
}

impl<'o, O: Element> Shared for Strips<'o, O> {
    type Item = Strip<'o, O>;
    fn count(&self) -> usize {
        Strips::count(self)
    }
    fn claim(&self, last: bool) -> Option<Strip<'o, O>> {
        if last { self.claim_last() } else { Strips::claim(self) }
    }
}

/// Runs `work` on every item, each task with a slot of `workspace` of its own.
pub(crate) fn run<S: Shared>(
    threads: &dyn Threads,
    shared: &S,
    workspace: &mut [u8],
    slot_bytes: usize,
    work: impl Fn(S::Item, &mut [u8]) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let room = workspace.len() / slot_bytes.max(1);
    let tasks = room.min(threads.threads()).min(shared.count()).max(1);
    let slots = Blocks::new(MatMut::new(workspace, tasks, slot_bytes, slot_bytes, 1)?, 1, slot_bytes);
    // A call too many finds no slot and has nothing to do.
    let slot = |last| Shared::claim(&slots, last).and_then(|slot| slot.out.into_row());
    share(threads, shared, tasks, slot, |item, slot| work(item, slot))
}

/// Runs `work`, which needs no workspace, on every item.
pub(crate) fn each<S: Shared>(
    threads: &dyn Threads,
    shared: &S,
    work: impl Fn(S::Item) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let tasks = threads.threads().min(shared.count()).max(1);
    share(threads, shared, tasks, |_| Some(()), |item, ()| work(item))
}

/// Calls of tasks that get a slot claim items until there are none, and count what is done. Every other task claims from the end: where
/// tasks keep their threads, threads keep their part of each output, and of what they work in.
fn share<S: Shared, T>(
    threads: &dyn Threads,
    shared: &S,
    tasks: usize,
    slot: impl Fn(bool) -> Option<T> + Sync,
    work: impl Fn(S::Item, &mut T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let done = AtomicUsize::new(0);
    threads.run(tasks, &|task| {
        let last = task % 2 == 1;
        let Some(mut slot) = slot(last) else { return };
        while let Some(item) = shared.claim(last) {
            if work(item, &mut slot).is_ok() {
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (done, total) = (done.into_inner(), shared.count());
    if done == total { Ok(()) } else { Err(Error::Threads { done, total }) }
}
