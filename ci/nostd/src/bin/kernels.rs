//! zeropoint-kernels with neither std nor an allocator: one product on every backend of this machine.
#![no_std]
#![no_main]

use zeropoint_kernels::{
    Backend, Blocking, Error, Finish, Job, MatMut, MatRef, Outliers, Side, Weights, ZeroPoint, available,
};
use zeropoint_nostd as _;

#[repr(align(64))]
struct Aligned([u8; 16384]);

/// `[[0, 1], [2, 3]] * [[-1, 0], [1, 2]]`, with zero points.
fn product(backend: Backend) -> Result<[i32; 4], Error> {
    let (mut panels, mut workspace) = (Aligned([0; 16384]), Aligned([0; 16384]));
    let (mut sums, mut out) = ([0; 64], [0; 4]);
    backend.pack(Side::Rhs, MatRef::row_major(&[5u8, 6, 7, 8], 2, 2)?, &mut panels.0, Some(&mut sums[..2]))?;
    let zero_point = ZeroPoint::One(6 + backend.rhs().elem.offset(false));
    let job = Job {
        lhs: MatRef::row_major(&[1u8, 2, 3, 4], 2, 2)?.zero_point(1),
        weights: Weights { k: 2, n: 2, panels: &panels.0, sums: &sums, zero_point, outliers: Outliers::default() },
        finish: Finish::raw(&[0; 64]),
        out: MatMut::row_major(&mut out, 2, 2)?,
    };
    job.run(&backend.plan(2, 2, Blocking::of_rows(4))?, &mut workspace.0)?;
    Ok(out)
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    i32::from(!available().all(|backend| product(backend) == Ok([1, 2, 1, 6])))
}
