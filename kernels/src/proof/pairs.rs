//! The panels of [`super::Proof::Pairs`]: where the proof holds, `smull` and `smlal2`, which add two products of i8 in 16 bits,
//! cannot wrap for any lhs (limits.md 8).
//!
//! A lane adds the products of k and k + 8 of sixteen. Two of them leave 16 bits only if both weights are -128.
//! ```text
//! panel: head 16 | columns in groups of 16 k, as `Panel` has them     head: 1 where the proof holds, else 0; then zeros
//! ```

use super::Shares;
use crate::packing::PackRun;
use crate::panel::Panel;

/// Bytes in front of the weights of a panel.
pub(crate) const HEAD: usize = 16;
/// The first byte of the head of a panel whose proof holds.
pub(crate) const PROVEN: u8 = 1;
/// k that share lanes.
pub(crate) const STEP: usize = 16;

/// Bytes that panels take for `members` columns; `None` on overflow.
pub(crate) const fn bytes(panel: &Panel, members: usize, padded_k: usize) -> Option<usize> {
    match panel.bytes(members, padded_k) {
        Some(bytes) => bytes.checked_add(HEAD * members.div_ceil(panel.width)),
        None => None,
    }
}

/// Whether no two weights of one lane are -128.
fn holds(weights: &[u8]) -> bool {
    const LEAST: u8 = i8::MIN as u8;
    let fits = |lane: (&u8, &u8)| lane != (&LEAST, &LEAST);
    weights.chunks_exact(STEP).all(|step| step[..STEP / 2].iter().zip(&step[STEP / 2..]).all(fits))
}

/// Writes the heads of panels whose weights are there.
///
/// # Safety
/// The clauses of `packing::pack`.
pub(crate) unsafe fn prove(panel: &Panel, run: &PackRun) {
    let size = HEAD + panel.width * run.padded_k;
    // SAFETY: Room: whole panels; their weights are written.
    unsafe {
        for index in 0..run.members.div_ceil(panel.width) {
            let head = run.out.add(index * size);
            let weights = core::slice::from_raw_parts(head.add(HEAD), size - HEAD);
            let proven = if holds(weights) { PROVEN } else { 0 };
            head.write_bytes(0, HEAD);
            head.write(proven);
        }
    }
}

/// Checks whole panels. Returns the shares, or what is wrong.
pub(crate) fn verify(panel: &Panel, panels: &[u8], padded_k: usize) -> Result<Shares, &'static str> {
    let mut shares = Shares::default();
    for bytes in panels.chunks_exact(HEAD + panel.width * padded_k) {
        let (head, weights) = bytes.split_at(HEAD);
        let (kind, steps) = (head[0], padded_k / STEP);
        if kind > PROVEN || head[1..].iter().any(|byte| *byte != 0) {
            return Err("head of panel");
        }
        if kind != PROVEN {
            shares.wides += steps;
        } else if holds(weights) {
            shares.pairs += steps;
        } else {
            return Err("sum of weights");
        }
    }
    Ok(shares)
}
