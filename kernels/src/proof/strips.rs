//! The panels of [`super::Proof::Strips`]: where the proof holds, `vpmaddubsw`, which adds two products in 16 bits and
//! saturates, cannot saturate for any lhs (limits.md 8).
//!
//! Weights are i8. A panel is cut into strips of 16 columns, a strip into blocks of 32 k: two windows of 16. Inside
//! their window the k of a block are reordered, and the lhs with them, one byte shuffle for 32 k. A block has four
//! steps; each multiplies four k of one window and four of the other by all columns of the strip:
//! ```text
//! places of a block: window A  0  1  2  3 | 4  5  6  7 | 8 ...      window B 16 17 18 19 | 20 ...
//! step 0, one column: A0 A1  A2 A3  and  B16 B17  B18 B19, as two dwords
//!   run    lanes A0 A1 B16 B17 and A2 A3 B18 B19     the products of a lane are added in 16 bits
//!   pair   lanes A0 A1, A2 A3, B16 B17, B18 B19
//!   wide   no proof needed: widened to 16 bits before they are multiplied
//!   four   lanes of two steps, 8 weights each; a block has only such steps, or none
//! ```
//! A lane passes if its positive weights add up to 128 at most and its negative ones to -128 at least.
//!
//! ```text
//! strip:   groups 68 | road 4 | order 4 a block | table 32 a block | kind a block | to a line | weights 512 a block
//! weights: step: A, 16 columns x 4 k | B, 16 columns x 4 k
//! ```
//! Blocks are stored in groups of one kind; `order` says which block lies where, `table` the place of each k.

use super::Shares;
use crate::matching::{self, Effort, IN_PLACE, Parts, Places};
use crate::packing::{PackRun, Source};
use crate::panel::Elem;

/// The largest sum of the positive weights of a lane, and of the negative ones, negated.
pub(crate) const LIMIT: i16 = 128;
/// k that a byte shuffle can reorder.
pub(crate) const WINDOW: usize = 16;
/// k of a block.
pub(crate) const BLOCK: usize = 2 * WINDOW;
/// Columns of a strip, and of a panel: two strips.
pub(crate) const STRIP: usize = 16;
pub(crate) const PANEL: usize = 2 * STRIP;
/// Steps of a block.
pub(crate) const STEPS: usize = 4;
/// Kinds there are, and so groups.
pub(crate) const KINDS: usize = 17;
/// Bytes of the weights of a step and of a block.
pub(crate) const STEP_BYTES: usize = 2 * 4 * STRIP;
pub(crate) const BLOCK_BYTES: usize = STEPS * STEP_BYTES;
/// Blocks that a group can count.
const MOST_BLOCKS: usize = 1 << 24;

/// How the steps of a block multiply. Any byte is a kind: steps beyond the fourth are none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(pub u8);

impl Kind {
    /// All steps are runs of four.
    pub const FOURS: Self = Self(0x40);
    /// All steps are runs of two.
    pub const RUNS: Self = Self::new(STEPS, 0);

    /// Weights of 0, of columns that are padding: no steps at all.
    pub const NONE: Self = Self(0x80);

    /// `runs` steps that are runs of two, then `pairs` steps of pairs; the rest is wide.
    pub const fn new(runs: usize, pairs: usize) -> Self {
        Self((runs | pairs << 3) as u8)
    }

    #[inline(always)]
    pub const fn is_fours(self) -> bool {
        self.0 & Self::FOURS.0 != 0
    }

    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 & Self::NONE.0 != 0
    }

    #[inline(always)]
    pub const fn runs(self) -> usize {
        let runs = (self.0 & 7) as usize;
        if runs < STEPS { runs } else { STEPS }
    }

    #[inline(always)]
    pub const fn pairs(self) -> usize {
        let (pairs, left) = ((self.0 >> 3 & 7) as usize, STEPS - self.runs());
        if pairs < left { pairs } else { left }
    }

    #[inline(always)]
    pub const fn wides(self) -> usize {
        STEPS - self.runs() - self.pairs()
    }

    /// What a block costs, on the scale of [`Shares::cost`].
    pub fn cost(self) -> usize {
        let mut shares = Shares::default();
        shares.add(self);
        shares.cost()
    }

    /// The kinds in the order of their groups.
    fn all() -> impl Iterator<Item = Self> {
        let mixed = (0..=STEPS).rev().flat_map(|runs| (0..=STEPS - runs).rev().map(move |pairs| (runs, pairs)));
        [Self::NONE, Self::FOURS].into_iter().chain(mixed.map(|(runs, pairs)| Self::new(runs, pairs)))
    }
}

/// Where the lhs of a strip is read.
pub(crate) mod road {
    /// Where it is: no k has moved.
    pub const IN_PLACE: u32 = 0;
    /// From a shuffled copy.
    pub const OWN: u32 = 1;
    /// From the copy that the strip before has made.
    pub const SHARED: u32 = 2;
}

/// Where things lie in a strip, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    pub blocks: usize,
    pub order: usize,
    pub tables: usize,
    pub kinds: usize,
    pub weights: usize,
    pub bytes: usize,
}

impl Strip {
    pub const ROAD: usize = 4 * KINDS;

    /// The strip of a (padded) K.
    #[inline(always)]
    pub const fn of(padded_k: usize) -> Self {
        let blocks = padded_k / BLOCK;
        let order = Self::ROAD + 4;
        let tables = order + 4 * blocks;
        let kinds = tables + BLOCK * blocks;
        let weights = (kinds + blocks).next_multiple_of(64);
        Self { blocks, order, tables, kinds, weights, bytes: weights + BLOCK_BYTES * blocks }
    }
}

/// Bytes that panels take for `members` columns; `None` on overflow.
pub(crate) const fn bytes(members: usize, padded_k: usize) -> Option<usize> {
    if members == 0 {
        return Some(0);
    }
    if padded_k / BLOCK > MOST_BLOCKS {
        return None;
    }
    match (members.div_ceil(PANEL) * (PANEL / STRIP)).checked_mul(Strip::of(padded_k).bytes) {
        Some(bytes) if bytes <= isize::MAX as usize / 2 => Some(bytes),
        _ => None,
    }
}

/// Bytes from a row of a tile's buffer to the next: not all in the same cache sets.
#[inline(always)]
pub(crate) const fn buffer_step(padded_k: usize) -> usize {
    padded_k + 64
}

impl Shares {
    /// Counts the steps of a block.
    fn add(&mut self, kind: Kind) {
        if kind.is_fours() {
            self.fours += STEPS;
        } else if !kind.is_none() {
            self.runs += kind.runs();
            self.pairs += kind.pairs();
            self.wides += kind.wides();
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]))
}

fn set_word(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

/// Where the weight of a place and a column lies in a block.
const fn weight_at(place: usize, column: usize) -> usize {
    let (window, place) = (place / WINDOW, place % WINDOW);
    place / 4 * STEP_BYTES + window * (STEP_BYTES / 2) + column * 4 + place % 4
}

/// Groups of blocks by kind: calls `place(where, block)` for each block; returns the groups, or `None` if a kind is none.
fn grouped(kinds: &[u8], mut place: impl FnMut(usize, usize)) -> Option<[u32; KINDS]> {
    let mut groups = [0; KINDS];
    let (mut used, mut start) = (0, 0);
    for kind in Kind::all() {
        let mut count = 0;
        for (block, _) in kinds.iter().enumerate().filter(|(_, byte)| **byte == kind.0) {
            place(start + count, block);
            count += 1;
        }
        if count > 0 {
            groups[used] = u32::from(kind.0) | (count as u32) << 8;
            used += 1;
        }
        start += count;
    }
    (start == kinds.len()).then_some(groups)
}

/// Whether every lane of a block passes as its kind claims.
fn holds(kind: Kind, weights: &[u8]) -> bool {
    let passes = |places: &[usize]| {
        (0..STRIP).all(|column| {
            let (mut above, mut below) = (0, 0);
            for &place in places {
                let weight = i16::from(weights[weight_at(place, column)] as i8);
                above += weight.max(0);
                below -= weight.min(0);
            }
            above <= LIMIT && below <= LIMIT
        })
    };
    // The lanes of a step have four places each: two of either window.
    let lane = |step: usize, half: usize| {
        let first = 4 * step + 2 * half;
        [first, first + 1, WINDOW + first, WINDOW + first + 1]
    };
    let mut lanes = (0..STEPS).flat_map(|step| [lane(step, 0), lane(step, 1)].map(|lane| (step, lane)));
    if kind.is_none() {
        return weights.iter().all(|weight| *weight == 0);
    }
    if kind.is_fours() {
        return [0, 2].iter().all(|step| {
            [0, 1].iter().all(|half| {
                let (a, b) = (lane(*step, *half), lane(step + 1, *half));
                passes(&[a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
            })
        });
    }
    lanes.all(|(step, lane)| {
        if step < kind.runs() {
            passes(&lane)
        } else if step < kind.runs() + kind.pairs() {
            passes(&lane[..2]) && passes(&lane[2..])
        } else {
            true
        }
    })
}

/// Checks the strips of whole panels: the proof, and that order and tables are what they should be.
/// Returns the shares, or what is wrong.
pub(crate) fn verify(panels: &[u8], padded_k: usize) -> Result<Shares, &'static str> {
    let strip = Strip::of(padded_k);
    let mut shares = Shares::default();
    // The order of the strip before, if it is that of a copy.
    let mut before: Option<&[u8]> = None;
    for (index, bytes) in panels.chunks_exact(strip.bytes).enumerate() {
        let moved = &bytes[strip.order..strip.kinds];
        let mut sorted = true;
        let groups = grouped(&bytes[strip.kinds..strip.kinds + strip.blocks], |at, block| {
            sorted &= word(bytes, strip.order + 4 * at) as usize == block;
        });
        let stated = core::array::from_fn(|i| word(bytes, 4 * i));
        if groups != Some(stated) || !sorted {
            return Err("order of blocks");
        }
        let tables = &bytes[strip.tables..strip.kinds];
        let complete = |window: &[u8]| window.iter().fold(0u32, |set, k| set | 1 << (k & 31)) == 0xffff;
        if !tables.chunks(WINDOW).all(complete) || tables.iter().any(|k| usize::from(*k) >= WINDOW) {
            return Err("order of k");
        }
        let natural = (0..strip.blocks).all(|i| word(bytes, strip.order + 4 * i) as usize == i);
        match word(bytes, Strip::ROAD) {
            road::IN_PLACE if natural && tables.chunks(BLOCK).all(|table| table == IN_PLACE) => {}
            road::SHARED if !index.is_multiple_of(PANEL / STRIP) && before == Some(moved) => {}
            road::OWN => shares.shuffled += STEPS * strip.blocks,
            _ => return Err("road of lhs"),
        }
        before = (word(bytes, Strip::ROAD) == road::OWN).then_some(moved);
        for (at, weights) in bytes[strip.weights..].chunks_exact(BLOCK_BYTES).enumerate() {
            let kind = Kind(bytes[strip.kinds + word(bytes, strip.order + 4 * at) as usize]);
            if !holds(kind, weights) {
                return Err("sum of weights");
            }
            shares.add(kind);
        }
    }
    Ok(shares)
}

/// The codes of a strip, or of several.
#[derive(Clone, Copy)]
struct Columns {
    source: Source,
    count: usize,
    k: usize,
    /// Added to a code to make it a weight.
    offset: i32,
}

impl Columns {
    /// The weight of a column at k; 0 where there is none.
    #[inline(always)]
    unsafe fn weight(&self, column: usize, k: usize) -> i8 {
        if column >= self.count || k >= self.k {
            return 0;
        }
        let Source { codes, member_stride, k_stride, signed } = self.source;
        // SAFETY: Source: the member and the k exist.
        let code = unsafe { *codes.wrapping_add(column * member_stride + k * k_stride) };
        let code = if signed { i32::from(code as i8) } else { i32::from(code) };
        (code + self.offset) as i8
    }

    /// The parts of a block, of `D / 2` columns.
    #[inline(always)]
    unsafe fn parts<const D: usize>(&self, block: usize) -> Parts<D> {
        let mut parts = [[0; D]; BLOCK];
        for (k, parts) in parts.iter_mut().enumerate() {
            for column in 0..D / 2 {
                // SAFETY: Source.
                let weight = i16::from(unsafe { self.weight(column, BLOCK * block + k) });
                parts[column] = weight.max(0);
                parts[D / 2 + column] = (-weight).max(0);
            }
        }
        parts
    }

    #[inline(always)]
    fn from(self, column: usize) -> Self {
        Self { source: self.source.member(column), count: self.count.saturating_sub(column), ..self }
    }
}

/// What sharing an order may cost a block: less than a second copy of lhs costs it.
const EXTRA: usize = 4 * 3;

/// Packs columns into panels of two strips with proofs.
///
/// # Safety
/// The clauses of `packing::pack`.
#[inline(always)]
pub(crate) unsafe fn pack(run: &PackRun) {
    let PackRun { source, members, k, padded_k, out, sums, effort, .. } = *run;
    let strip = Strip::of(padded_k);
    let columns = Columns { source, count: members, k, offset: Elem::I8.offset(source.signed) };
    // SAFETY: Source, Room: whole panels, and a sum a member.
    unsafe {
        let room = PANEL / STRIP * strip.bytes * members.div_ceil(PANEL);
        out.write_bytes(0, room);
        let out = core::slice::from_raw_parts_mut(out, room);
        for (panel, out) in out.chunks_exact_mut(2 * strip.bytes).enumerate() {
            let columns = columns.from(panel * PANEL);
            let (first, second) = out.split_at_mut(strip.bytes);
            let right = columns.from(STRIP);
            let still = [stay(&columns, &strip, first), stay(&right, &strip, second)];
            if still == [false; 2] && arrange::<{ 4 * STRIP }>(&columns, &strip, first, effort, EXTRA) {
                second[strip.order..strip.weights].copy_from_slice(&first[strip.order..strip.weights]);
                set_word(first, Strip::ROAD, road::OWN);
                set_word(second, Strip::ROAD, road::SHARED);
            } else {
                for (still, columns, out) in [(still[0], &columns, &mut *first), (still[1], &right, &mut *second)]
                {
                    if !still {
                        arrange::<{ 2 * STRIP }>(columns, &strip, out, effort, usize::MAX);
                        set_word(out, Strip::ROAD, road::OWN);
                    }
                }
            }
            for (index, (columns, out)) in [(columns, first), (right, second)].into_iter().enumerate() {
                let at = panel * PANEL + index * STRIP;
                let sums = if sums.is_null() || at >= members {
                    &mut []
                } else {
                    core::slice::from_raw_parts_mut(sums.add(at), STRIP.min(members - at))
                };
                write(&columns, &strip, out, sums);
            }
        }
    }
}

/// Writes kinds and tables of a strip whose k all stay where they are; returns false if they cannot.
#[inline(always)]
unsafe fn stay(columns: &Columns, strip: &Strip, out: &mut [u8]) -> bool {
    let mut kind = if columns.count == 0 { Kind::NONE } else { Kind::FOURS };
    for block in 0..strip.blocks {
        // SAFETY: Source.
        match matching::in_place(&unsafe { columns.parts::<{ 2 * STRIP }>(block) }) {
            // One kind, or the blocks would change places.
            Some(Kind::RUNS) => kind = Kind::RUNS,
            Some(_) => {}
            None => return false,
        }
    }
    out[strip.kinds..strip.kinds + strip.blocks].fill(kind.0);
    out[strip.tables..strip.kinds].chunks_mut(BLOCK).for_each(|table| table.copy_from_slice(&IN_PLACE));
    set_word(out, Strip::ROAD, road::IN_PLACE);
    true
}

/// Writes kinds and tables of one strip, or of two with the same order. Gives up, and returns false, once blocks
/// cost more than runs of two, by `extra` each.
#[inline(always)]
unsafe fn arrange<const D: usize>(
    columns: &Columns,
    strip: &Strip,
    out: &mut [u8],
    effort: Effort,
    extra: usize,
) -> bool {
    let mut spent = Shares::default();
    for block in 0..strip.blocks {
        // SAFETY: Source.
        let (places, kind): (Places, Kind) = matching::best(&unsafe { columns.parts::<D>(block) }, effort);
        spent.add(kind);
        // What is to come may be all runs of two.
        if spent.cost().saturating_sub(100 * spent.steps()) > extra.saturating_mul(strip.blocks) {
            return false;
        }
        out[strip.kinds + block] = kind.0;
        out[strip.tables + BLOCK * block..][..BLOCK].copy_from_slice(&places);
    }
    true
}

/// Sorts the blocks of a strip whose kinds and tables are there, and writes their weights; sums them.
#[inline(always)]
unsafe fn write(columns: &Columns, strip: &Strip, out: &mut [u8], sums: &mut [i32]) {
    let (head, weights) = out.split_at_mut(strip.weights);
    let (order, kinds) = head.split_at_mut(strip.kinds);
    let groups = grouped(&kinds[..strip.blocks], |at, block| set_word(order, strip.order + 4 * at, block as u32));
    for (i, group) in groups.iter().flatten().enumerate() {
        set_word(order, 4 * i, *group);
    }
    let mut all = [0i32; STRIP];
    for (at, weights) in weights.chunks_exact_mut(BLOCK_BYTES).enumerate() {
        let block = word(order, strip.order + 4 * at) as usize;
        let table = &order[strip.tables + BLOCK * block..][..BLOCK];
        for (place, from) in table.iter().enumerate() {
            let k = BLOCK * block + place / WINDOW * WINDOW + usize::from(*from);
            for (column, sum) in all.iter_mut().enumerate() {
                // SAFETY: Source.
                let weight = unsafe { columns.weight(column, k) };
                weights[weight_at(place, column)] = weight as u8;
                *sum = sum.wrapping_add(weight.into());
            }
        }
    }
    sums.copy_from_slice(&all[..sums.len()]);
}
