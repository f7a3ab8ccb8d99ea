//! Memory that is kept from run to run.

use std::sync::{Mutex, PoisonError};

use zeropoint::Workspace;

use crate::failure::{Failure, refuse};

/// Memory of the runs of a kernel; those that overlap have one each.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Scratch>>);

/// Memory of a run.
#[derive(Default)]
pub(crate) struct Scratch {
    pub memory: Memory,
    /// An image with channels innermost.
    pub image: Vec<u8>,
    /// The same of the output.
    pub out: Vec<u8>,
}

/// A workspace that grows.
#[derive(Default)]
pub(crate) struct Memory(Option<(usize, Workspace<'static>)>);

impl Pool {
    pub fn with<T>(&self, body: impl FnOnce(&mut Scratch) -> T) -> T {
        // A panic of another run leaves nothing half done in a list.
        let list = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = list().pop().unwrap_or_default();
        let result = body(&mut scratch);
        list().push(scratch);
        result
    }
}

impl Memory {
    pub fn of(&mut self, bytes: usize) -> &mut Workspace<'static> {
        if self.0.as_ref().is_none_or(|(had, _)| *had < bytes) {
            self.0 = None; // not both at a time
        }
        &mut self.0.get_or_insert_with(|| (bytes, Workspace::new(bytes))).1
    }
}

/// The first `bytes` bytes, of which there may have been fewer.
pub(crate) fn grown(memory: &mut Vec<u8>, bytes: usize) -> Result<&mut [u8], Failure> {
    if memory.len() < bytes {
        if memory.try_reserve_exact(bytes - memory.len()).is_err() {
            return refuse!("no memory for an image of {bytes} bytes");
        }
        memory.resize(bytes, 0);
    }
    Ok(&mut memory[..bytes])
}
