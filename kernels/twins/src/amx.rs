//! A model of AMX tile registers in plain Rust, so that everything but the instructions themselves runs on any CPU.

use std::cell::RefCell;

use zeropoint_kernels::x86::amx::Amx;
use zeropoint_kernels::x86::tiles::{Config, Tiles};
use zeropoint_kernels::{Features, NoGather, scalar};

/// Eight tiles, and how they are configured, if they are.
struct State {
    config: Option<Config>,
    tiles: [[u8; 1024]; 8],
}

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State { config: None, tiles: [[0; 1024]; 8] }) };
}

/// The model. Whatever would be a fault, or undefined, on a CPU is a panic.
pub struct Model;

/// Rows and bytes of a row of a tile.
fn size(state: &State, tile: usize) -> (usize, usize) {
    let config = state.config.expect("tiles are configured");
    let (rows, bytes) = (usize::from(config.rows[tile]), usize::from(config.row_bytes[tile]));
    assert!((1..=16).contains(&rows) && (4..=64).contains(&bytes) && bytes % 4 == 0);
    (rows, bytes)
}

// SAFETY: reads and writes the rows that an instruction would.
unsafe impl Tiles for Model {
    const NAMES: (&'static str, &'static str) = ("twin", "twin-amx-model-32x32");
    const NEEDS: Features = Features::AVX512.with(Features::AVX512_VNNI); // of what is around the tiles
    type Lanes = scalar::Plain<16>;
    type Base = Amx<Self>;
    type Gather = NoGather;

    unsafe fn configure(config: &Config) {
        STATE.with_borrow_mut(|state| *state = State { config: Some(*config), tiles: [[0; 1024]; 8] });
    }

    unsafe fn release() {
        STATE.with_borrow_mut(|state| *state = State { config: None, tiles: [[0; 1024]; 8] });
    }

    unsafe fn zero<const TILE: u8>() {
        STATE.with_borrow_mut(|state| {
            size(state, TILE.into());
            state.tiles[usize::from(TILE)] = [0; 1024];
        });
    }

    unsafe fn load<const TILE: u8>(from: *const u8, stride: usize) {
        STATE.with_borrow_mut(|state| {
            let (rows, bytes) = size(state, TILE.into());
            let tile = &mut state.tiles[usize::from(TILE)];
            *tile = [0; 1024];
            for row in 0..rows {
                // SAFETY: Rows, promised by our caller.
                let from = unsafe { core::slice::from_raw_parts(from.add(row * stride), bytes) };
                tile[row * 64..row * 64 + bytes].copy_from_slice(from);
            }
        });
    }

    unsafe fn stream<const TILE: u8>(from: *const u8, stride: usize) {
        // SAFETY: promised by our caller.
        unsafe { Self::load::<TILE>(from, stride) }
    }

    unsafe fn store<const TILE: u8>(to: *mut u8, stride: usize) {
        STATE.with_borrow(|state| {
            let (rows, bytes) = size(state, TILE.into());
            for row in 0..rows {
                let from = &state.tiles[usize::from(TILE)][row * 64..row * 64 + bytes];
                // SAFETY: Rows, promised by our caller.
                unsafe { to.add(row * stride).copy_from_nonoverlapping(from.as_ptr(), bytes) };
            }
        });
    }

    unsafe fn multiply<const SUMS: u8, const LHS: u8, const RHS: u8>() {
        STATE.with_borrow_mut(|state| {
            let ((rows, out_bytes), (lhs_rows, k), (groups, columns)) =
                (size(state, SUMS.into()), size(state, LHS.into()), size(state, RHS.into()));
            assert_eq!((rows, groups, out_bytes), (lhs_rows, k / 4, columns), "sizes fit together");
            let (lhs, rhs) = (state.tiles[usize::from(LHS)], state.tiles[usize::from(RHS)]);
            for (row, sums) in state.tiles[usize::from(SUMS)].chunks_mut(64).enumerate().take(rows) {
                for (col, sum) in sums.chunks_mut(4).enumerate().take(columns / 4) {
                    let product = |k: usize| {
                        let right = rhs[k / 4 * 64 + col * 4 + k % 4] as i8;
                        i32::from(lhs[row * 64 + k]) * i32::from(right)
                    };
                    let before = i32::from_ne_bytes([sum[0], sum[1], sum[2], sum[3]]);
                    let after = (0..k).map(product).fold(before, i32::wrapping_add);
                    sum.copy_from_slice(&after.to_ne_bytes());
                }
            }
        });
    }
}
