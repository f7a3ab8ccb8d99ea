//! The line of the case that runs on this thread, for a signal handler.

use std::cell::Cell;

thread_local! {
    static LINE: Cell<(*const u8, usize)> = const { Cell::new((std::ptr::null(), 0)) };
}

/// Remembers where a line is, which has to live until the next one is set.
pub fn set(line: &str) {
    LINE.set((line.as_ptr(), line.len()));
}

/// The address of the line and its length.
pub fn get() -> (*const u8, usize) {
    LINE.get()
}
