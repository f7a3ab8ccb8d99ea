//! Pages that fault: an access too far ends the test, and the line of its case says where.

use std::ptr::null_mut;
use std::sync::Once;

use super::current;

/// Bytes of a page.
pub fn size() -> usize {
    // SAFETY: no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// At least `bytes` bytes in whole pages, between two pages that cannot be touched.
pub fn map(bytes: usize) -> (*mut u8, usize) {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(report_faults);
    let page = size();
    let len = bytes.next_multiple_of(page).max(page);
    // SAFETY: a new mapping; the protection is changed inside it.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
        let whole = libc::mmap(null_mut(), len + 2 * page, libc::PROT_NONE, flags, -1, 0);
        assert!(whole != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        let base = whole.cast::<u8>().add(page);
        protect(base, len, libc::PROT_READ | libc::PROT_WRITE);
        (base, len)
    }
}

/// Frees what [`map`] returned.
pub fn unmap(base: *mut u8, len: usize) {
    // SAFETY: as `map` made it.
    let status = unsafe { libc::munmap(base.wrapping_sub(size()).cast(), len + 2 * size()) };
    assert_eq!(status, 0);
}

/// Makes the page that follows the one of `p` read-only.
///
/// # Safety
/// The page is part of a mapping of [`map`], and nobody writes to it.
pub unsafe fn freeze_next(p: *const u8) {
    let next = p.wrapping_add(size() - p.addr() % size());
    // SAFETY: our caller's clause.
    unsafe { protect(next.cast_mut(), size(), libc::PROT_READ) }
}

unsafe fn protect(base: *mut u8, len: usize, protection: libc::c_int) {
    // SAFETY: our caller's.
    let status = unsafe { libc::mprotect(base.cast(), len, protection) };
    assert_eq!(status, 0, "mprotect: {}", std::io::Error::last_os_error());
}

/// Prints the case of the faulting thread, then lets the fault kill the process.
fn report_faults() {
    extern "C" fn report(_: libc::c_int) {
        let (text, len) = current::get();
        for (p, len) in [(c"\nfault in: ".as_ptr().cast(), 11), (text, len), (c"\n".as_ptr().cast(), 1)] {
            // SAFETY: text that lives until its case ends, or nothing; `write` is safe in handlers.
            unsafe { libc::write(2, p.cast(), len) };
        }
    }
    // SAFETY: the handler calls nothing but `write`; it is reset before it runs, so a second fault kills.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = report as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESETHAND;
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            assert_eq!(libc::sigaction(signal, &action, null_mut()), 0);
        }
    }
}
