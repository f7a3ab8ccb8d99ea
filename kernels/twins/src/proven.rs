//! A plain reader of rhs panels that carry a proof, written from the descriptions in the kernels' `proof/` only.
//!
//! It knows what every byte means, and nothing of how a kernel or the packer goes about it.

/// Columns of a strip and of a panel; k of a window and of a block.
const STRIP: usize = 16;
const PANEL: usize = 32;
const WINDOW: usize = 16;
const BLOCK: usize = 32;

use zeropoint_kernels::{Backend, Proof};

/// The weights of whole panels, K padded: `weights[column][k]`.
pub fn weights(backend: Backend, panels: &[u8], columns: usize, padded_k: usize) -> Vec<Vec<i8>> {
    match backend.proof().expect("panels that carry a proof") {
        Proof::Strips => strips(panels, columns, padded_k),
        Proof::Pairs => pairs(panels, backend.nr(), columns, padded_k),
    }
}

/// Behind a head of 16 bytes, groups of 16 k.
fn pairs(panels: &[u8], width: usize, columns: usize, padded_k: usize) -> Vec<Vec<i8>> {
    let panel = |column: usize| &panels[column / width * (16 + width * padded_k) + 16..];
    let weight = |column: usize, k: usize| panel(column)[k / 16 * 16 * width + column % width * 16 + k % 16] as i8;
    (0..columns.next_multiple_of(width)).map(|column| (0..padded_k).map(|k| weight(column, k)).collect()).collect()
}

fn strips(panels: &[u8], columns: usize, padded_k: usize) -> Vec<Vec<i8>> {
    let blocks = padded_k / BLOCK;
    let head = (72 + 37 * blocks).next_multiple_of(64);
    let mut weights = vec![vec![0; padded_k]; columns.next_multiple_of(PANEL)];
    for (index, strip) in panels.chunks(head + 512 * blocks).enumerate() {
        for at in 0..blocks {
            let order = 72 + 4 * at;
            let block = u32::from_ne_bytes(strip[order..order + 4].try_into().unwrap()) as usize;
            let table = &strip[72 + 4 * blocks + BLOCK * block..][..BLOCK];
            for (place, from) in table.iter().enumerate() {
                let k = BLOCK * block + place / WINDOW * WINDOW + usize::from(*from);
                let first = head + 512 * at + place % WINDOW / 4 * 128 + place / WINDOW * 64 + place % 4;
                for column in 0..STRIP {
                    weights[index * STRIP + column][k] = strip[first + 4 * column] as i8;
                }
            }
        }
    }
    weights
}
