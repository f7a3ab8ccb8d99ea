//! Two lines of codes woven into one: each code of the first has that of the second behind it.
//!
//! A plain loop, compiled with the features of each row, so that vectors are the compiler's.

use crate::Error;
use crate::backend::Backend;

/// Lines, everything checked. Made by [`Backend::weave`].
#[derive(Clone, Copy, Debug)]
pub struct WeaveRun {
    from: [*const u8; 2],
    /// Pairs of codes.
    to: *mut [u8; 2],
    len: usize,
    flip: u8,
}

impl Backend {
    /// Weaves two lines, all codes combined with `flip` (exclusive or): 0, or 128 for those that are signed. Allocates nothing.
    ///
    /// ```
    /// let backend = zeropoint_kernels::available().next().unwrap();
    /// let mut to = [[0; 2]; 3];
    /// backend.weave([&[1, 2, 3], &[4, 5, 6]], 0, &mut to)?;
    /// assert_eq!(to, [[1, 4], [2, 5], [3, 6]]);
    /// # Ok::<(), zeropoint_kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] if the lines have not as many codes as `to` has pairs.
    pub fn weave(self, from: [&[u8]; 2], flip: u8, to: &mut [[u8; 2]]) -> Result<(), Error> {
        for line in from {
            if line.len() != to.len() {
                return Err(Error::Length { argument: "line", expected: to.len(), got: line.len() });
            }
        }
        let run = WeaveRun { from: from.map(<[u8]>::as_ptr), to: to.as_mut_ptr(), len: to.len(), flip };
        // SAFETY: Features: the backend exists, so the CPU has them. Weave: lengths are checked, and all is borrowed until the call
        // returns.
        unsafe { (self.row().weave)(&run) };
        Ok(())
    }
}

/// Weaves.
///
/// # Safety
/// * **Features** of the kernel whose entry calls this.
/// * **Weave**: `run` was made by [`Backend::weave`], which checked lengths; the memory it points to is still borrowed.
#[inline(always)]
pub(crate) unsafe fn all(run: &WeaveRun) {
    let WeaveRun { from: [a, b], to, len, flip } = *run;
    // SAFETY: our caller's: so many codes of each.
    unsafe {
        let (a, b) = (core::slice::from_raw_parts(a, len), core::slice::from_raw_parts(b, len));
        let to = core::slice::from_raw_parts_mut(to, len);
        for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
            *to = [*a ^ flip, *b ^ flip];
        }
    }
}
