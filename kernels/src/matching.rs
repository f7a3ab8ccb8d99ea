//! Orders of 32 k in which `vpmaddubsw` cannot saturate: large weights meet small or opposite ones.
//!
//! A search over the parts of weights: the positive parts of all columns, then the negative ones, both as numbers from
//! 0 to 128. A lane passes if each of its sums of parts is at most [`LIMIT`] (limits.md 8). The answer is exact
//! whatever is found; searching longer only finds more lanes that pass.

use crate::proof::strips::{BLOCK, Kind, LIMIT, STEPS, WINDOW};

/// How long packing may look for good orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Effort {
    /// One search a block.
    Fast,
    /// A few searches a block where the first does not succeed.
    #[default]
    Normal,
    /// Many searches: for weights that are packed once and stored.
    Thorough,
}

impl Effort {
    const fn searches(self) -> u32 {
        match self {
            Self::Fast => 1,
            Self::Normal => 4,
            Self::Thorough => 32,
        }
    }
}

/// The parts of the weights of 32 k, for half as many columns as `D` says.
pub(crate) type Parts<const D: usize> = [[i16; D]; BLOCK];

/// The k at each place of a block, counted from the start of its window.
pub(crate) type Places = [u8; BLOCK];

/// Nothing moved.
pub(crate) const IN_PLACE: Places = {
    let mut places = [0; BLOCK];
    let mut p = 0;
    while p < BLOCK {
        places[p] = (p % WINDOW) as u8;
        p += 1;
    }
    places
};

/// The mean over columns of the sum of parts beyond which runs of four, or of two, are not worth a search. For bell
/// shapes these are deviations of 24 and 54.
const HOPE: [i32; 2] = [300, 690];

/// The lane of a place in a run of two: four weights, two of each window.
const fn lane_of_two(place: usize) -> usize {
    place % WINDOW / 2
}

/// The lane of a place in a run of four: eight weights.
const fn lane_of_four(place: usize) -> usize {
    place % WINDOW / 8 * 2 + place / 2 % 2
}

/// The k that a place holds.
const fn k_at(places: &Places, place: usize) -> usize {
    place / WINDOW * WINDOW + places[place] as usize
}

/// What the sums of a lane have above the limit, together.
fn excess<const D: usize>(sums: &[i16; D]) -> i32 {
    sums.iter().map(|sum| i32::from((*sum - LIMIT).max(0))).sum()
}

/// An order on its way to a better one.
struct Climb<'p, const D: usize> {
    parts: &'p Parts<D>,
    lane: fn(usize) -> usize,
    places: Places,
    sums: [[i16; D]; 8],
    excess: [i32; 8],
}

impl<'p, const D: usize> Climb<'p, D> {
    #[inline(always)]
    fn new(parts: &'p Parts<D>, lane: fn(usize) -> usize, places: Places) -> Self {
        let mut sums = [[0; D]; 8];
        for place in 0..BLOCK {
            let part = &parts[k_at(&places, place)];
            sums[lane(place)].iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let excess = core::array::from_fn(|lane| excess(&sums[lane]));
        Self { parts, lane, places, sums, excess }
    }

    fn passes(&self) -> bool {
        self.excess == [0; 8]
    }

    /// Lanes that pass, and the excess of the others: more of the first is better, less of the second.
    fn merit(&self) -> (usize, i32) {
        (self.excess.iter().filter(|excess| **excess == 0).count(), -self.excess.iter().sum::<i32>())
    }

    /// Exchanges two k of a window as long as that lowers the excess.
    #[inline(always)]
    fn climb(&mut self) {
        let mut better = true;
        while better && !self.passes() {
            better = false;
            for a in 0..BLOCK {
                for b in a + 1..(a / WINDOW + 1) * WINDOW {
                    better |= self.exchange(a, b);
                }
            }
        }
    }

    /// Exchanges the k of two places if that is better.
    #[inline(always)]
    fn exchange(&mut self, a: usize, b: usize) -> bool {
        let (la, lb) = ((self.lane)(a), (self.lane)(b));
        let before = self.excess[la] + self.excess[lb];
        if la == lb || before == 0 {
            return false;
        }
        let (pa, pb) = (&self.parts[k_at(&self.places, a)], &self.parts[k_at(&self.places, b)]);
        let (sa, sb) = (&self.sums[la], &self.sums[lb]);
        let mut over = [0; D];
        for i in 0..D {
            let moved = pb[i] - pa[i];
            over[i] = (sa[i] + moved - LIMIT).max(0) + (sb[i] - moved - LIMIT).max(0);
        }
        if over.iter().map(|over| i32::from(*over)).sum::<i32>() >= before {
            return false;
        }
        for i in 0..D {
            let moved = pb[i] - pa[i];
            self.sums[la][i] += moved;
            self.sums[lb][i] -= moved;
        }
        self.places.swap(a, b);
        self.excess[la] = excess(&self.sums[la]);
        self.excess[lb] = excess(&self.sums[lb]);
        true
    }
}

/// A small generator of orders to start from: the same weights always give the same bytes.
struct Dice(u32);

impl Dice {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % end
    }

    fn shuffle(&mut self, places: &mut Places) {
        for window in places.chunks_mut(WINDOW) {
            for i in (1..WINDOW).rev() {
                window.swap(i, self.below(i + 1));
            }
        }
    }
}

/// What a block allows with nothing moved: runs of four, runs of two, or neither.
#[inline(always)]
pub(crate) fn in_place<const D: usize>(parts: &Parts<D>) -> Option<Kind> {
    if Climb::new(parts, lane_of_four, IN_PLACE).passes() {
        return Some(Kind::FOURS);
    }
    Climb::new(parts, lane_of_two, IN_PLACE).passes().then_some(Kind::RUNS)
}

/// Looks for the order of a block that allows the fastest steps.
#[inline(always)]
pub(crate) fn best<const D: usize>(parts: &Parts<D>, effort: Effort) -> (Places, Kind) {
    let mut totals = [0; D];
    for part in parts {
        totals.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    let mean = totals.iter().map(|total| i32::from(*total)).sum::<i32>() / D as i32;
    let largest = totals.iter().fold(0, |largest: i16, total| largest.max(*total));
    // Four lanes hold 4 * 128. Of eight lanes, one that passes holds 128, and one that does not 4 * 128, at most.
    let all_fours = largest <= 4 * LIMIT;
    let some_runs = largest <= 2 * LIMIT + 6 * 4 * LIMIT;
    let searches = effort.searches();
    if all_fours && mean <= HOPE[0] {
        let fours = search(parts, lane_of_four, searches);
        if fours.passes() {
            return (fours.places, Kind::FOURS);
        }
    }
    if !some_runs || mean > HOPE[1] {
        return with_pairs(parts, &IN_PLACE, 0);
    }
    let Climb { places, excess, .. } = search(parts, lane_of_two, searches);
    // Lanes that pass to the front; two make a step.
    let passing = (0..8).filter(|lane| excess[*lane] == 0);
    let failing = (0..8).filter(|lane| excess[*lane] != 0);
    let mut sorted = IN_PLACE;
    for (to, from) in passing.clone().chain(failing).enumerate() {
        for (to, from) in [0, 1, WINDOW, WINDOW + 1].map(|i| (2 * to + i, 2 * from + i)) {
            sorted[to] = places[from];
        }
    }
    match passing.count() / 2 {
        STEPS => (sorted, Kind::RUNS),
        // Fewer runs may leave more for pairs.
        runs => (0..=runs)
            .rev()
            .map(|runs| with_pairs(parts, &sorted, runs))
            .min_by_key(|(_, kind)| kind.cost())
            .unwrap_or((IN_PLACE, Kind::new(0, 0))),
    }
}

/// The best of several climbs.
#[inline(always)]
fn search<const D: usize>(parts: &Parts<D>, lane: fn(usize) -> usize, searches: u32) -> Climb<'_, D> {
    let mut dice = Dice(0x9e37_79b9);
    let mut best = Climb::new(parts, lane, IN_PLACE);
    best.climb();
    for _ in 1..searches {
        if best.passes() {
            break;
        }
        let mut places = IN_PLACE;
        dice.shuffle(&mut places);
        let mut other = Climb::new(parts, lane, places);
        other.climb();
        if other.merit() > best.merit() {
            best = other;
        }
    }
    best
}

/// Matches the k behind the first `runs` steps in pairs, those that pass in front.
#[inline(always)]
fn with_pairs<const D: usize>(parts: &Parts<D>, places: &Places, runs: usize) -> (Places, Kind) {
    let mut places = *places;
    let mut steps = STEPS - runs;
    for (window, places) in places.chunks_mut(WINDOW).enumerate() {
        let parts = &parts[window * WINDOW..(window + 1) * WINDOW];
        // A step has two pairs of each window.
        steps = steps.min(match_pairs(parts, &mut places[4 * runs..]) / 2);
    }
    (places, Kind::new(runs, steps))
}

/// Reorders `ks` so that pairs that pass come first; returns how many. Who has fewest partners chooses first, and takes
/// the partner with fewest others.
#[inline(always)]
fn match_pairs<const D: usize>(parts: &[[i16; D]], ks: &mut [u8]) -> usize {
    let mut partners = [0u16; WINDOW];
    for (i, &a) in ks.iter().enumerate() {
        for &b in &ks[i + 1..] {
            let (a, b) = (usize::from(a), usize::from(b));
            let over = parts[a].iter().zip(&parts[b]).fold(0, |over: i16, (a, b)| over.max(a + b));
            if over <= LIMIT {
                partners[a] |= 1 << b;
                partners[b] |= 1 << a;
            }
        }
    }
    let mut free = ks.iter().fold(0u16, |set, k| set | 1 << k);
    let fewest = |among: u16, free: u16| {
        let members = (0..WINDOW).filter(|k| among >> k & 1 != 0 && partners[*k] & free != 0);
        members.min_by_key(|k| (partners[*k] & free).count_ones())
    };
    let mut count = 0;
    while let Some(a) = fewest(free, free) {
        let Some(b) = fewest(partners[a] & free, free) else { break };
        free &= !(1 << a | 1 << b);
        (ks[2 * count], ks[2 * count + 1]) = (a as u8, b as u8);
        count += 1;
    }
    let rest = (0..WINDOW as u8).filter(|k| free >> k & 1 != 0);
    ks[2 * count..].iter_mut().zip(rest).for_each(|(to, k)| *to = k);
    count
}
