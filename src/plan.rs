//! Every heuristic of the library. Numbers in, numbers out; each can be explained.

use core::cmp::Ordering;

use zeropoint_kernels::{Backend, Blocking, Elem, Proof, Shares, available};

/// Bytes of lhs that stay in L2 while panels of rhs pass.
const LHS_IN_L2: usize = 384 << 10;
/// The same of lhs widened to i16: its kernels take longer for a row, so that panels that pass more often cost them less,
/// and the CPUs that need them have as little as 512 KiB of L2 (Zen 3: 2 to 4 % faster than with 384 KiB).
const WIDENED_IN_L2: usize = 192 << 10;
/// Bytes of packed lhs that stay in L1 beside a whole small rhs.
const LHS_IN_L1: usize = 12 << 10;
/// Bytes of gathered rows that are still in L1 when they are multiplied.
const GATHERED_IN_L1: usize = 24 << 10;
/// Bytes of lines of an image whose windows are read in place. On Zen 4, 16 to 256 KiB are within 2 %, in five networks.
const STRIP: usize = 32 << 10;
/// Bytes of lines that depthwise convolutions copy at a time. On Zen 4, all of a small network: 8 KiB 46.0 us, 16 44.5, 32 43.3, 64
/// 43.5; with no more than one line of outputs sees, 52.
const RING: usize = 32 << 10;
/// The same of woven lines, where all lines of outputs that come at once share the constants of a vector of channels. On Zen 3, 14 x 14 x 512:
/// 32 KiB 50.8 us, 64 50.5, 96 45.1; 28 x 28 x 192 73.4, 64.7, 64.0.
const WOVEN_RING: usize = 96 << 10;
/// Bytes of a plan that windows leave unused, and rows that are enough for any.
const LHS_UNUSED: usize = 48 << 10;
const FEWEST_WINDOWS: usize = 72;
/// K times N up to which reading windows in place saves more than a proof. Zen 3, bell-shaped weights, us: 144 x 16 54 to 37, 144 x 32 36.8 to
/// 35.1, 288 x 64 17.0 to 17.1, 576 x 64 32.9 to 34.0.
const BEFORE_PROOF: usize = 20 << 10;
/// Bytes of packed rhs that count as small.
const RHS_IN_L1: usize = 16 << 10;
/// Bytes of a rhs panel, or of a piece of it, that rows of lhs pass: more would crowd lhs out of L2.
const PANEL_IN_L2: usize = 192 << 10;
/// Strides, in bytes, of rows that are packed although they could be read in place: they crowd few sets of L1.
const PACKED_STRIDES: usize = 1024;
/// Tiles that are read in place before the last rows of a K with a tail are packed: a block more must pay.
const TILES_BEFORE_TAIL: usize = 4;
/// Rows that are so few that memory decides, not the shape of a tile.
const FEW_ROWS: usize = 4;
/// Rows that are so few that reading weights decides, where they do not stay in L2, and the bytes of weights which do
/// not. Over i8, on Zen 3, 16 x 4096 x 4096 is 1.4 times as fast as over i16, and 49 x 1024 x 1024 as fast, but a third faster
/// in turns with other products, which leave less in L3.
const STREAMED_ROWS: usize = 64;
const STREAMED_BYTES: usize = 1 << 20;
/// K that is so small that storing decides.
const SMALL_K: usize = 48;
/// K up to which a wide tile pays, whose panels L1 does not hold: 49 x 4608 x 512 is 13 % slower by it, 128 x 3072 x 768 18 % where
/// others use L2, too.
const WIDE_K: usize = 640;
/// The K and the rows from which tile registers win over vectors. On Emerald Rapids, 12544 x 32 x 64 is as fast by both in u8, a
/// tenth faster by tiles with the default rule, and a quarter slower in i32; 12544 x 27 x 32 half as fast again by tiles.
const TILES_FROM_K: usize = 16;
const TILES_FROM_ROWS: usize = 2;
/// Rows of lhs whose sums are taken at a time for kernels that go across: fewer leave more last tiles that nothing follows.
const ROWS_ACROSS: usize = 256;
/// Bytes of a rhs that stays in L2 beside the rest of a product.
const FAR: usize = 1150 << 10;
/// Bytes from where few rows multiply weights from afar to where they fetch them: a page, where the fetching that the CPU does by
/// itself ends. On Emerald Rapids, one read being 28 GB/s: M = 4 23 to 27 GB/s, 8 16 to 25.
const AHEAD: usize = 4096;
/// Bytes of an output that stay in L2, of a product or of fake quantization. On Emerald Rapids, i32 stored past the caches: 3136 x 576 x 64, 2.6 MB, 1768 to 2286
/// GOP/s; 3136 x 128 x 128, 2.0 MB, 1297 to 1115.
const CACHED: usize = 2300 << 10;
/// Elements of a run of floats, 32 lines, of which those at its ends are few.
const LINES_APART: usize = 512;
/// Bytes of panels that rows pass in L2, for kernels that go across. On Emerald Rapids, L2 2 MiB, of 2048 x 2048 x 2048: 128
/// KiB 2137 GOP/s, 448 2195, 1,024 2096, all 1360.
const PANELS_IN_L2: usize = 640 << 10;
/// What sixteen columns of three rows cost a kernel with a proof beyond its steps, and if lhs is shuffled, on the scale of
/// [`Shares::cost`]: about twelve cycles each.
const STRIP_MORE: usize = 130;
const STRIP_SHUFFLED: usize = 120;
/// The columns from which single pairs in 16 bits pay: each saves an instruction a row and 16 k, and u8 activations are packed
/// for it by about as many.
const PAIRS_FROM: usize = 8;
/// Blocks a thread gets, so that a slow thread holds up little, unless they take less time than this. On Zen 4, two threads that stay
/// awake, against four blocks always and twice the handover: keyword spotting 33 to 25 us, visual wake words 100 to 89.
const BLOCKS_A_THREAD: usize = 4;
const BLOCK_NS: usize = 2000;
/// More blocks are taken if they take longer by up to one part in so many, since they do not come out even or each prepares something. Zen 3,
/// two threads, against one part in eight of blocks that cost nothing by themselves: keyword spotting 48 to 44 us, MobileNet v2 3.16 to 3.08 ms.
const UNEVEN: usize = 32;
/// Bytes of weights that every block may read. On Emerald Rapids, two threads against one: 49 x 4608 x 512 with rows split
/// 1.70, with columns 1.91; 784 x 128 x 256 1.75 and 0.85.
const WEIGHTS_READ_AGAIN: usize = 1200 << 10;

/// The kernel for weights of K x N and about `rows` rows of activations, of some that can run, best first.
pub(crate) fn kernel(
    candidates: impl Iterator<Item = Backend> + Clone,
    k: usize,
    n: usize,
    rows: Option<usize>,
) -> Option<Backend> {
    let rows = rows.unwrap_or(usize::MAX);
    let candidates = candidates.filter(|row| !row.is_proven());
    let first = candidates
        .clone()
        .find(|row| row.name() != "amx-int8" || (k >= TILES_FROM_K && rows >= TILES_FROM_ROWS))?;
    // Of the same backend: the one that pads N less, if much, since a narrow tile reads more of lhs; then the smallest
    // weights, where they are read from afar for few rows.
    let same = candidates.filter(|row| row.name() == first.name());
    let padded = |row: &Backend| n.div_ceil(row.nr()).saturating_mul(row.nr());
    let bytes = |row: &Backend| padded(row).saturating_mul(k).saturating_mul(row.rhs().elem.size());
    same.reduce(|best, row| {
        let streamed = rows <= STREAMED_ROWS && bytes(&best) > STREAMED_BYTES;
        let wins = match padded(&row).cmp(&padded(&best)) {
            Ordering::Less => padded(&row).saturating_mul(10) <= padded(&best).saturating_mul(9),
            Ordering::Equal => streamed && bytes(&row) < bytes(&best),
            Ordering::Greater => false,
        };
        if wins { row } else { best }
    })
}

/// What becomes of sums.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// They are the output.
    Sums,
    Fixed,
    Float,
}

/// The kernel for a product with weights that were packed for `packed`, of those that read the same panels. On Emerald
/// Rapids, AVX-512 VNNI, 6 x 64 against 14 x 32, weights in L2: sums 2 to 10 % faster, the float rule as fast, and a tenth faster beside
/// busy neighbours, fixed point 2 % slower; weights read once 5 to 10 % faster.
pub(crate) fn tile(packed: Backend, k: usize, n: usize, rows: Option<usize>, finish: Finish) -> Backend {
    let rows = rows.unwrap_or(usize::MAX);
    let wide = match finish {
        _ if rows <= FEW_ROWS => true,
        Finish::Sums | Finish::Float => k <= WIDE_K,
        Finish::Fixed => false,
    };
    let alike = |row: &Backend| {
        row.name() == packed.name() && row.reads_panels_of(packed) && row.columns(n) == packed.columns(n)
    };
    let widest = available().filter(alike).max_by_key(|row| row.nr());
    widest.filter(|_| wide).unwrap_or(packed)
}

/// How many weights less their zero point may fail to fit i8 for the difference to be packed: each costs about as much
/// as 1/40 of a row sum, and not more than a few may wait for it (limits.md 6.3).
pub(crate) const fn outliers(k: usize) -> usize {
    2 + k / 40
}

/// The kernel of a backend for weights that carry a proof, if it has one.
pub(crate) fn proven(backend: Backend) -> Option<Backend> {
    available().find(|other| other.name() == backend.name() && other.is_proven())
}

/// Whether weights multiplied as `shares` says by `proof` are faster than on `backend`, whose kernel needs none.
pub(crate) fn proof_pays(backend: Backend, proof: Proof, shares: Shares, k: usize, n: usize) -> bool {
    if proof == Proof::Pairs {
        return shares.pairs.saturating_mul(n) > shares.steps().saturating_mul(PAIRS_FROM);
    }
    // Steps of eight k and sixteen columns, where padding counts.
    let [k, n] = [(k, backend.k_step()), (n, backend.nr())].map(|(size, unit)| size.next_multiple_of(unit));
    let shuffled = STRIP_SHUFFLED * shares.shuffled / shares.steps().max(1);
    let more = (STRIP_MORE + shuffled).saturating_mul(n.div_ceil(16));
    shares.cost().saturating_add(more) < (k / 8).saturating_mul(n).saturating_mul(Shares::ALWAYS_EXACT) / 16
}

/// The kernel for depthwise convolutions, of some that can run, best first: they differ in lanes only.
pub(crate) fn depthwise(mut candidates: impl Iterator<Item = Backend>) -> Option<Backend> {
    candidates.find(|row| !row.is_proven())
}

/// Lines of so many bytes that depthwise convolutions copy before they multiply them.
pub(crate) fn ring(line: usize, woven: bool) -> usize {
    if woven { WOVEN_RING / line.max(1) } else { RING / line.max(1) }
}

/// Pixels of a line that a row of a convolution makes: as many as fill a tile with outputs.
pub(crate) fn pixels(backend: Backend, outputs: usize) -> usize {
    (backend.nr() / outputs.max(1)).max(1)
}

/// Lines of output in a strip, of `lines` in all that threads share.
pub(crate) fn strip(lines: usize, threads: usize, nanoseconds: usize) -> usize {
    if threads < 2 { lines } else { even([lines, 1, lines], threads, rounds(threads, nanoseconds)) }
}

/// Blocks that each thread gets, of work that takes one thread so long.
fn rounds(threads: usize, nanoseconds: usize) -> usize {
    (nanoseconds / threads.saturating_mul(BLOCK_NS).max(1)).clamp(1, BLOCKS_A_THREAD)
}

/// Of `count` members in all, how many make a block: at most `most`, and whole units but in the last one, so that threads that take no more
/// than so many blocks each are done about as soon as by any number of blocks.
fn even([count, unit, most]: [usize; 3], threads: usize, rounds: usize) -> usize {
    let block = |rounds: usize| {
        let units = count.div_ceil(unit).div_ceil(threads.saturating_mul(rounds).max(1));
        units.max(1).saturating_mul(unit).min(most.max(1))
    };
    // Twice what the busiest thread has, and for each block a unit more, for what it prepares. The last block may be small.
    let longest = |rounds: usize| {
        let block = block(rounds);
        let cost = |members: usize| members.saturating_mul(2).saturating_add(unit);
        let full = count.saturating_sub(1) / block;
        let (each, left) = (full / threads.max(1), full % threads.max(1));
        let (each, last) = if left > 0 { (each + 1, 0) } else { (each, cost(count - full * block)) };
        each.saturating_mul(cost(block)).saturating_add(last)
    };
    let least = (1..=rounds).map(longest).min().unwrap_or(count);
    let enough = least.saturating_add(least / UNEVEN);
    block((1..=rounds).rev().find(|rounds| longest(*rounds) <= enough).unwrap_or(1))
}

/// How a product is cut for the caches of one core.
pub(crate) fn blocking(backend: Backend, n: usize, k: usize) -> Blocking {
    let size = |elem: Elem| elem.size();
    let lhs_row = k.saturating_mul(size(backend.lhs().elem)).max(1);
    let rhs = k.saturating_mul(n).saturating_mul(size(backend.rhs().elem));
    let room = match (rhs, backend.lhs().elem) {
        (..=RHS_IN_L1, _) => LHS_IN_L1,
        (_, Elem::I16) => WIDENED_IN_L2,
        _ => LHS_IN_L2,
    };
    let panel = backend.nr() * size(backend.rhs().elem);
    let (fewest, most, panels) = if backend.goes_across() {
        (2 * backend.mr(), ROWS_ACROSS, PANELS_IN_L2 / panel.saturating_mul(k).max(1))
    } else {
        // Narrow panels of sums are stored in pairs.
        (4 * backend.mr(), 4096, if k <= SMALL_K { 2 } else { 1 })
    };
    let rows = (room / lhs_row).clamp(fewest, most).next_multiple_of(backend.mr());
    let depth = if backend.goes_across() { usize::MAX } else { (PANEL_IN_L2 / panel).max(256) };
    // Equal pieces, so that none is a sliver.
    let pieces = k.div_ceil(depth).max(1);
    let depth = if pieces == 1 { usize::MAX } else { k.div_ceil(pieces).next_multiple_of(backend.k_step()) };
    let rows_before_tail = TILES_BEFORE_TAIL * backend.mr();
    Blocking {
        rows,
        depth,
        packed_strides: PACKED_STRIDES,
        rows_before_tail,
        panels,
        cached: CACHED,
        fetched: CACHED / 4 * 3,
        far: FAR,
        ahead: AHEAD,
    }
}

/// Elements of an output of fake quantization that the caches keep, whose runs of a channel have so many: of shorter ones all, since two
/// runs share the lines at their ends; not of single elements, whose channels are side by side.
pub(crate) const fn cached_floats(run: usize) -> usize {
    if 1 < run && run < LINES_APART { usize::MAX } else { CACHED / size_of::<f32>() }
}

/// About how long a product takes one thread, in nanoseconds: from the area of a tile, of which the better half is
/// multiplied in one, and eight outputs finished.
pub(crate) fn product_ns(backend: Backend, [m, k, n]: [usize; 3]) -> usize {
    let outputs = m.saturating_mul(n);
    (outputs.saturating_mul(k) / (backend.mr() * backend.nr() / 2).max(1)).saturating_add(outputs / 8)
}

/// The same of a depthwise convolution.
pub(crate) fn depthwise_ns(outputs: usize, taps: usize) -> usize {
    outputs.saturating_mul(taps) / 16
}

/// The same of a layer that makes outputs one by one.
pub(crate) fn outputs_ns(outputs: usize) -> usize {
    outputs / 2
}

/// Rows of lhs, `step` bytes apart, that are gathered at a time, of at most `most`.
pub(crate) fn gathered(backend: Backend, step: usize, most: usize) -> usize {
    (GATHERED_IN_L1 / step.max(1)).max(2 * backend.mr()).next_multiple_of(backend.mr()).min(most)
}

/// Whether windows are read in place, in a copy of lines, rather than gathered: where they overlap, and do not grow much by
/// weights of 0. A line of a kernel is so many codes, and so many with those.
pub(crate) fn windows_pay(kernel: [usize; 2], stride: [usize; 2], [line, padded]: [usize; 2]) -> bool {
    let area = |[a, b]: [usize; 2]| a.saturating_mul(b);
    area(kernel) > area(stride) && padded.saturating_mul(2) <= line.saturating_mul(3)
}

/// Whether windows of `k` codes that are read in place by a kernel without a proof, for `n` columns, beat gathered ones that might have one.
pub(crate) const fn windows_beat_proof(k: usize, n: usize) -> bool {
    k.saturating_mul(n) <= BEFORE_PROOF
}

/// Rows of windows at a time: what they would take if they were packed is room that nothing uses.
pub(crate) fn window_rows(backend: Backend, k: usize) -> usize {
    match backend.lhs().elem {
        Elem::I16 => (LHS_UNUSED / k.saturating_mul(2).max(1)).max(FEWEST_WINDOWS),
        Elem::U8 | Elem::I8 => usize::MAX,
    }
}

/// Bytes of lines that are copied at a time, where what one window sees takes so many.
pub(crate) const fn strip_bytes(least: usize) -> usize {
    if least > STRIP { least } else { STRIP }
}

/// Rows and columns of the blocks that threads share, of a product of `m` x `k` x `n`: M in whole tiles, or multiples of `whole`
/// rows if these are more than one, N in whole panels, K never. No block has more than `most` rows. M is split first; N where M has
/// too few tiles, or where that makes blocks read fewer bytes of weights from beyond L2.
pub(crate) fn shares(
    backend: Backend,
    [m, k, n]: [usize; 3],
    threads: usize,
    [most, whole]: [usize; 2],
) -> (usize, usize) {
    let unit = if whole > 1 { whole } else { backend.mr() };
    let rounds = rounds(threads, product_ns(backend, [m, k, n]));
    let wanted = threads.saturating_mul(rounds).max(1);
    let [tiles, panels] = [m.div_ceil(backend.mr()), n.div_ceil(backend.nr())].map(|count| count.max(1));
    let bytes = |elem: Elem, count: usize| count.saturating_mul(k).saturating_mul(elem.size());
    let [lhs, rhs] = [bytes(backend.lhs().elem, m), bytes(backend.rhs().elem, n)];
    // Blocks one below the other, if there are `across` beside each other, and their rows.
    let down = |across: usize| {
        let rows = match across {
            1 => even([m, unit, most], threads, rounds),
            _ => tiles.div_ceil(wanted.div_ceil(across).min(tiles)).saturating_mul(backend.mr()).min(most).max(1),
        };
        (m.div_ceil(rows).max(1), rows)
    };
    let across = if rhs > WEIGHTS_READ_AGAIN {
        let read = |&across: &usize| {
            let (down, _) = down(across);
            let few = down.saturating_mul(across) < wanted;
            (few, rhs.saturating_mul(down).saturating_add(lhs.saturating_mul(across)))
        };
        (1..=wanted.min(panels)).min_by_key(read).unwrap_or(1)
    } else if down(1).0 >= threads {
        1
    } else {
        wanted.div_ceil(down(1).0).min(panels)
    };
    (down(across).1, panels.div_ceil(across) * backend.nr())
}

#[cfg(test)]
mod tests {
    use super::even;

    #[test]
    fn blocks_are_even() {
        // Lines of an image; rows in tiles of six, of which the last has one; no more than fit.
        assert_eq!(even([7, 1, 7], 2, 4), 4);
        assert_eq!(even([49, 6, 1000], 2, 4), 12);
        assert_eq!(even([144, 6, 48], 2, 4), 36);
        for count in [0, 1, 5, 48, 1000, usize::MAX] {
            for (threads, rounds) in [(0, 1), (2, 4), (3, 2), (usize::MAX, 4)] {
                for unit in [1, 6] {
                    let block = even([count, unit, 480], threads, rounds);
                    assert!(
                        block.is_multiple_of(unit) && (1..=480).contains(&block),
                        "{count}, {threads}, {block}"
                    );
                }
            }
        }
    }
}
