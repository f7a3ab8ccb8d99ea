//! zeropoint with an allocator and no std: prepared and one-shot products, against the reference.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use zeropoint::{Error, Gemm, MatMut, MatRef, Multiplier, Packed, Stages};
use zeropoint_nostd as _;

const ARENA: usize = 16 << 20;

/// Hands out an arena from front to back and takes nothing back.
struct Bump {
    arena: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: bytes of the arena are reached only through `alloc`, which gives each out once.
unsafe impl Sync for Bump {}

// SAFETY: every allocation is a part of the arena of its own, aligned, and as long as the program.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align();
        let start = self.used.fetch_add(room, Relaxed);
        if start + room > ARENA {
            return ptr::null_mut();
        }
        let free = self.arena.get().cast::<u8>().wrapping_add(start);
        free.wrapping_add(free.align_offset(layout.align()))
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Bump = Bump { arena: UnsafeCell::new([0; ARENA]), used: AtomicUsize::new(0) };

const M: usize = 13;
const K: usize = 37;
const N: usize = 19;

/// Whether the prepared run, the one-shot run and the reference agree on one product.
fn agree() -> Result<bool, Error> {
    let lhs: [u8; M * K] = core::array::from_fn(|i| (i * 251 % 256) as u8);
    let rhs: [i8; K * N] = core::array::from_fn(|i| (i * 241 % 256) as u8 as i8);
    let lhs = MatRef::row_major(&lhs, M, K)?.zero_point(12);
    let rhs = MatRef::row_major(&rhs, K, N)?.zero_point(-3);
    let stages = Stages::<u8>::fixed(Multiplier::from_real(0.0004)?).zero_point(128);

    let mut expected = [0; M * N];
    zeropoint::reference::gemm(lhs, rhs, &stages, MatMut::row_major(&mut expected, M, N)?)?;

    let mut prepared = [0; M * N];
    let gemm = Gemm::new(Packed::rhs(rhs)?, &stages)?;
    gemm.run(lhs, MatMut::row_major(&mut prepared, M, N)?, &mut gemm.workspace())?;

    let mut once = [0; M * N];
    zeropoint::gemm(lhs, rhs, &stages, MatMut::row_major(&mut once, M, N)?)?;
    Ok(prepared == expected && once == expected)
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    i32::from(agree() != Ok(true))
}
