//! Splits blocks over threads; adds nothing else.

use core::sync::atomic::{AtomicUsize, Ordering};

use zeropoint_kernels::{Block, Blocks, Element, Error, MatMut};

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
}

/// Runs `work` on every block, each task with a slot of `workspace` of its own.
pub(crate) fn run<'o, O: Element>(
    threads: &dyn Threads,
    blocks: &Blocks<'o, O>,
    workspace: &mut [u8],
    slot_bytes: usize,
    work: impl Fn(Block<'o, O>, &mut [u8]) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let tasks = (workspace.len() / slot_bytes.max(1)).min(threads.threads()).min(blocks.count()).max(1);
    let slots = Blocks::new(MatMut::new(workspace, tasks, slot_bytes, slot_bytes, 1)?, 1, slot_bytes);
    let done = AtomicUsize::new(0);
    threads.run(tasks, &|_| {
        // A call too many finds no slot and has nothing to do.
        let Some(slot) = slots.claim().and_then(|slot| slot.out.into_row()) else { return };
        while let Some(block) = blocks.claim() {
            if work(block, slot).is_ok() {
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (done, total) = (done.into_inner(), blocks.count());
    if done == total { Ok(()) } else { Err(Error::Threads { done, total }) }
}
