//! The short form of the default rule is exact only below a bound that the plan has to prove (limits.md 6.1): sums
//! just beyond it, from each source that can bring them there.
#![cfg(not(miri))]

use zeropoint::{Error, Gemm, MatMut, MatRef, Multiplier, PackOptions, Packed, Stages, available, reference};

/// 2^31 - 2^18 and beyond wraps where 2^(e-1) is added to a sum at e = 19.
const SUMS: [i32; 6] = [i32::MAX, 2_147_310_028, (1 << 30) + 1, (1 << 30) - 1, i32::MIN, -1];

#[test]
fn sums_beyond_the_bound_of_the_short_form() -> Result<(), Error> {
    let (lhs, rhs) = ([0u8; 0], [0u8; 0]); // K = 0: the sums are the biases
    let (lhs, rhs) = (MatRef::row_major(&lhs, 1, 0)?, MatRef::row_major(&rhs, 0, 1)?);
    for shift in [-1, -19, -30, -31] {
        let stages = Stages::<i16>::fixed(Multiplier::new(i32::MAX, shift)?);
        for sum in SUMS {
            let bias = [sum];
            for stages in [stages.bias(&bias), stages.row_bias(&bias)] {
                let mut expected = [0i16];
                reference::gemm(lhs.into(), rhs.into(), &stages, MatMut::row_major(&mut expected, 1, 1)?)?;
                for backend in available() {
                    let options = PackOptions { backend: Some(backend), expected_rows: None };
                    let packed = Packed::rhs_with(rhs, options)?;
                    // Known when the product is prepared, or only in the run.
                    for prepared in [stages, Stages::<i16>::fixed(Multiplier::new(1 << 30, -1)?)] {
                        let gemm = Gemm::new(packed.clone(), &prepared)?;
                        let (mut workspace, mut got) = (gemm.workspace(), [0i16]);
                        let out = MatMut::row_major(&mut got, 1, 1)?;
                        gemm.options().stages(&stages).run(lhs, out, &mut workspace)?;
                        let name = backend.name();
                        assert_eq!(got, expected, "{name}: sum {sum}, shift {shift}, run with other stages");
                        if prepared == stages {
                            gemm.run(lhs, MatMut::row_major(&mut got, 1, 1)?, &mut workspace)?;
                            assert_eq!(got, expected, "{name}: sum {sum}, shift {shift}, as prepared");
                        }
                    }
                }
            }
        }
    }
    Ok(())
}
