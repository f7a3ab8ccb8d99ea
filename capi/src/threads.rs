//! Threads that the caller lends, as the library's [`Threads`].

use std::time::Duration;

use zp::Threads;

use crate::edge::{Caller, Task};
use crate::failure::Failure;
use crate::types::zeropoint_threads;

/// Threads of the caller, for one call.
pub(crate) struct Lent(zeropoint_threads);

impl Lent {
    /// The threads at a pointer, if there are any.
    pub fn read(caller: &Caller, pointer: *const zeropoint_threads) -> Result<Option<Self>, Failure> {
        let Some(threads) = caller.read_optional("threads", pointer)? else { return Ok(None) };
        if threads.run.is_none() {
            return Err(Failure::Null { argument: "threads.run" });
        }
        Ok(Some(Self(threads)))
    }
}

impl Threads for Lent {
    fn threads(&self) -> usize {
        self.0.threads.max(1)
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        Task(task).lend(&self.0, tasks);
    }

    fn handover(&self) -> Duration {
        Duration::from_nanos(self.0.handover_ns)
    }
}
