//! Where C calls Rust: all that relies on what the caller promises.
//!
//! # The contract
//! What a caller of a function of `zeropoint.h` promises. What can be checked is checked, and gives an error.
//!
//! * **Memory**: a pointer that is not null points to as many elements as are said beside it (one, where nothing
//!   is said), which are there until the function returns; for a struct, to as many bytes as its first field says.
//! * **Writing**: memory that a function writes to is used by nobody else until it returns.
//! * **Text**: a text ends with a zero byte.
//! * **Handles**: a handle came from this library and was not freed; nobody uses one while it is freed.
//! * **Threads**: `run` of lent threads may be called from the caller's thread; it calls its task while it runs
//!   and not later; none of its functions unwinds.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crate::failure::{Failure, zeropoint_status};

/// That the caller has promised the contract.
pub(crate) struct Caller(());

impl Caller {
    /// # Safety
    /// Nothing made with it outlives the call of the function that the contract is about.
    pub const unsafe fn promised() -> Self {
        Self(())
    }
}

/// The body of a function of the header: a closure that is given a [`Caller`].
macro_rules! call {
    ($body:expr) => {{
        // SAFETY: the caller of an `unsafe extern` function of the header promises the contract.
        let caller = unsafe { $crate::edge::Caller::promised() };
        $crate::edge::status(|| $crate::edge::typed($body)(&caller))
    }};
}
pub(crate) use call;

/// Says what closures of `call!` are.
pub(crate) fn typed<F: FnOnce(&Caller) -> Result<(), Failure>>(body: F) -> F {
    body
}

/// Runs what must not unwind; `None` if it panics. The only place where panics are caught.
pub(crate) fn guard<T>(body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body)).ok()
}

/// The status of a call; a failure leaves its message.
pub(crate) fn status(body: impl FnOnce() -> Result<(), Failure>) -> zeropoint_status {
    match guard(body).unwrap_or(Err(Failure::Panic)) {
        Ok(()) => zeropoint_status::Ok,
        Err(failure) => guard(|| failure.keep()).unwrap_or(zeropoint_status::Panic),
    }
}

/// A struct of the header.
///
/// # Safety
/// It is `repr(C)`, every pattern of bits is one of its values, and its first field is a `usize`.
pub(crate) unsafe trait Growing: Copy {
    /// The name, for messages.
    const NAME: &'static str;
    /// Bytes it had when it was first published, where a `usize` has 64 bits.
    const FIRST: usize;
}

/// What handles point to: a tag, then the value.
#[repr(C)]
struct Tagged<T> {
    tag: u64,
    value: T,
}

/// A kind of handle.
pub(crate) trait Handle {
    /// What the handle owns: it is made on one thread, used by many, and freed on another.
    type Value: Send + Sync;
    /// Tells kinds apart.
    const TAG: u64;
    /// The name, for messages.
    const NAME: &'static str;
}

impl Caller {
    /// Whether a pointer may be followed to `bytes` bytes.
    fn check<T>(argument: &'static str, pointer: *const T, bytes: usize) -> Result<(), Failure> {
        if pointer.is_null() {
            return Err(Failure::Null { argument });
        }
        if !pointer.is_aligned() {
            return Err(Failure::Alignment { argument, expected: align_of::<T>() });
        }
        if bytes > isize::MAX as usize || pointer.addr().checked_add(bytes).is_none() {
            return Err(Failure::Length { argument, length: bytes });
        }
        Ok(())
    }

    /// A struct, which may be of an older header, then new fields are 0; or of a newer, if the fields that are not
    /// known are 0.
    pub fn read<T: Growing>(&self, argument: &'static str, pointer: *const T) -> Result<T, Failure> {
        Self::check(argument, pointer, size_of::<usize>())?;
        // SAFETY: Memory: even the smallest struct has its first field, whose type `Growing` says.
        let size = unsafe { pointer.cast::<usize>().read() };
        let (first, known) = (T::FIRST, size_of::<T>());
        let wrong = Failure::StructSize { argument, name: T::NAME, size, first, known };
        // None will ever be as large as that; an address is no size.
        if size < first || size > known + 4096 {
            return Err(wrong);
        }
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: Memory: there are `size` bytes.
        unsafe { ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast(), size.min(known)) };
        for at in known..size {
            // SAFETY: Memory: as above.
            if unsafe { pointer.cast::<u8>().add(at).read() } != 0 {
                return Err(wrong);
            }
        }
        // SAFETY: every pattern of bits is a value, says `Growing`.
        Ok(unsafe { value.assume_init() })
    }

    /// [`Caller::read`] of a struct that may be left out.
    pub fn read_optional<T: Growing>(
        &self,
        argument: &'static str,
        pointer: *const T,
    ) -> Result<Option<T>, Failure> {
        if pointer.is_null() { Ok(None) } else { self.read(argument, pointer).map(Some) }
    }

    /// Elements; none, if there are to be none.
    pub fn slice<T: Plain>(&self, argument: &'static str, pointer: *const T, len: usize) -> Result<&[T], Failure> {
        if len == 0 {
            return Ok(&[]);
        }
        Self::check(argument, pointer, Failure::bytes::<T>(argument, len)?)?;
        // SAFETY: Memory, for as long as `self` is borrowed; not null, aligned, of no more than `isize::MAX` bytes
        // by `check`.
        Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
    }

    /// Elements to write to, which need not be initialized.
    #[allow(clippy::mut_from_ref)] // what `self` stands for is that the memory is the caller's alone
    pub fn slice_mut<T: Plain>(
        &self,
        argument: &'static str,
        pointer: *mut T,
        len: usize,
    ) -> Result<&mut [MaybeUninit<T>], Failure> {
        if len == 0 {
            return Ok(&mut []);
        }
        Self::check(argument, pointer, Failure::bytes::<T>(argument, len)?)?;
        // SAFETY: Memory and Writing, as above.
        Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), len) })
    }

    /// Elements that are read and written.
    pub fn initialized<'a, T: Plain>(&self, memory: &'a mut [MaybeUninit<T>]) -> &'a mut [T] {
        // SAFETY: Memory: the bytes belong to the caller, beyond what the compiler sees, and each is a value of a
        // `Plain`.
        unsafe { &mut *(ptr::from_mut(memory) as *mut [T]) }
    }

    /// Writes a result.
    pub fn write<T: Copy>(&self, argument: &'static str, pointer: *mut T, value: T) -> Result<(), Failure> {
        Self::check(argument, pointer, size_of::<T>())?;
        // SAFETY: Memory and Writing.
        unsafe { pointer.write(value) };
        Ok(())
    }

    /// A text.
    pub fn text(&self, argument: &'static str, pointer: *const c_char) -> Result<&str, Failure> {
        Self::check(argument, pointer, 1)?;
        // SAFETY: Text and Memory, for as long as `self` is borrowed.
        let text = unsafe { CStr::from_ptr(pointer) };
        text.to_str().map_err(|_| Failure::Text { argument })
    }

    /// What a handle owns.
    pub fn open<H: Handle>(&self, argument: &'static str, handle: *const H) -> Result<&H::Value, Failure> {
        let pointer = Self::tagged(argument, handle)?;
        // SAFETY: Handles: the tag says of which kind; it is not freed while `self` is borrowed.
        Ok(unsafe { &(*pointer).value })
    }

    /// A new handle.
    pub fn hand_out<H: Handle>(
        &self,
        argument: &'static str,
        to: *mut *mut H,
        make: impl FnOnce() -> Result<H::Value, Failure>,
    ) -> Result<(), Failure> {
        self.write(argument, to, ptr::null_mut())?;
        let tagged = Box::new(Tagged { tag: H::TAG, value: make()? });
        self.write(argument, to, Box::into_raw(tagged).cast())
    }

    /// Frees a handle; a null pointer is none.
    pub fn take_back<H: Handle>(&self, argument: &'static str, handle: *mut H) -> Result<(), Failure> {
        if handle.is_null() {
            return Ok(());
        }
        let pointer = Self::tagged(argument, handle)?.cast_mut();
        // SAFETY: Handles: it came from `hand_out` of this kind, was not freed, and nobody uses it.
        let mut tagged = unsafe { Box::from_raw(pointer) };
        // A freed handle may still be told by this, for a while. The compiler must not think that nobody looks.
        // SAFETY: a field of a box.
        unsafe { ptr::from_mut(&mut tagged.tag).write_volatile(0) };
        Ok(())
    }

    fn tagged<H: Handle>(argument: &'static str, handle: *const H) -> Result<*const Tagged<H::Value>, Failure> {
        let tag = handle.cast::<u64>();
        Self::check(argument, tag, size_of::<u64>())?;
        // SAFETY: Handles: whatever its kind, it begins with a tag.
        if unsafe { tag.read() } == H::TAG {
            Ok(handle.cast())
        } else {
            Err(Failure::Handle { argument, expected: H::NAME })
        }
    }
}

/// A type of which every pattern of bits is a value.
///
/// # Safety
/// As it says.
pub(crate) unsafe trait Plain: Copy {}
macro_rules! plain {
    ($($t:ty),*) => {$(
        // SAFETY: a number, numbers, or a pointer.
        unsafe impl Plain for $t {}
    )*};
}
plain!(u8, i8, i16, i32, f32, usize, crate::types::zeropoint_multiplier);
plain!(crate::layer_types::zeropoint_params, *const crate::types::zeropoint_tensor);

macro_rules! growing {
    ($($t:ident: $first:literal),*) => {$(
        // SAFETY: of `repr(C)` with numbers and pointers only, and `size` comes first.
        unsafe impl Growing for crate::$t {
            const NAME: &'static str = stringify!($t);
            const FIRST: usize = if usize::BITS == 64 { $first } else { size_of::<Self>() };
        }
        const _: () = assert!(<crate::$t as Growing>::FIRST <= size_of::<crate::$t>());
    )*};
}
// Literals: a struct that grows keeps its number.
growing!(
    zeropoint_matrix: 80,
    zeropoint_matrix_mut: 64,
    zeropoint_pack: 32,
    zeropoint_stages: 152,
    zeropoint_threads: 40,
    zeropoint_run: 24,
    zeropoint_tensor: 96,
    zeropoint_tensor_mut: 96,
    zeropoint_conv: 160,
    zeropoint_op: 232
);

/// A task of lent threads, as C sees it.
pub(crate) struct Task<'t>(pub &'t (dyn Fn(usize) + Sync));

impl Task<'_> {
    /// Calls `run` of the caller with `task` and how to call it.
    pub fn lend(&self, threads: &crate::types::zeropoint_threads, tasks: usize) {
        extern "C" fn perform(task: *const std::ffi::c_void, index: usize) {
            // SAFETY: Threads: called while `lend` runs, with the pointer that it gave.
            let task = unsafe { &*task.cast::<Task<'_>>() };
            // A task that panics is one that was not done, which the library notices.
            guard(|| (task.0)(index));
        }
        if let Some(run) = threads.run {
            // SAFETY: Threads.
            unsafe { run(threads.context, tasks, Some(perform), ptr::from_ref(self).cast()) }
        }
    }
}

// SAFETY: Threads: `run` is only called from the thread that called the library; the context is the caller's.
unsafe impl Sync for crate::threads::Lent {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::zeropoint_last_error;

    /// A struct that has grown is read as it was published: what is new is 0.
    #[test]
    fn older_structs_are_read() {
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct Grown([usize; 3]);
        // SAFETY: three numbers, the first being the size.
        unsafe impl Growing for Grown {
            const NAME: &'static str = "grown";
            const FIRST: usize = 2 * size_of::<usize>();
        }
        let caller = Caller(());
        let words = size_of::<usize>();
        for (size, expected) in
            [(2 * words, Some([2 * words, 7, 0])), (3 * words, Some([3 * words, 7, 9])), (words, None)]
        {
            let value = [size, 7, 9];
            let read = caller.read("struct", value.as_ptr().cast::<Grown>());
            assert_eq!(read.ok().map(|grown| grown.0), expected);
        }
    }

    /// A panic becomes a status and a message, in a call and in a task.
    #[test]
    fn panics_stay_inside() {
        assert_eq!(status(|| panic!("on purpose")), zeropoint_status::Panic);
        // SAFETY: a text that stays until the next failure.
        let message = unsafe { CStr::from_ptr(zeropoint_last_error()) };
        assert!(message.to_bytes().starts_with(b"a fault of the library"));
        unsafe extern "C" fn run(
            _: *mut std::ffi::c_void,
            tasks: usize,
            perform: crate::types::zeropoint_task,
            task: *const std::ffi::c_void,
        ) {
            // SAFETY: called with what `lend` gave, while it runs.
            (0..tasks).for_each(|i| unsafe { perform.unwrap()(task, i) });
        }
        let (context, run) = (ptr::null_mut(), Some(run as _));
        let threads = crate::types::zeropoint_threads { size: 0, threads: 2, handover_ns: 0, context, run };
        let done = std::sync::atomic::AtomicUsize::new(0);
        let task = |i| {
            assert_ne!(i, 1, "on purpose");
            done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        Task(&task).lend(&threads, 3);
        assert_eq!(done.into_inner(), 2);
    }
}
