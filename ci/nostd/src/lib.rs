//! What a program without std has to bring: a panic handler, and the names by which the compiler's own `core`, which
//! is built to unwind, refers to an unwinder that a program that aborts never enters.
#![no_std]

use core::panic::PanicInfo;

#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    abort()
}

// SAFETY: without std nothing else defines the name, and nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    abort()
}
