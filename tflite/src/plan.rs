//! One block of memory for all activations, and for what layers use and do not keep: whoever lives at the same time lies apart.
//!
//! ```text
//! step 0: the caller fills the inputs;  step i + 1: operator i runs;  last step: the caller reads the outputs
//! ```
//! One after the other (the largest first, the longest-lived first, or as they come: whichever needs least) takes the
//! first gap that fits among those that live while it does.

use core::cmp::Reverse;
use core::ops::RangeInclusive;

use crate::{Error, Model, Operation};

/// Activations begin at multiples of this.
pub const ALIGN: usize = 64;

/// Where an activation lies, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// First byte in the arena, a multiple of [`ALIGN`].
    pub offset: usize,
    /// The tensor's own bytes.
    pub bytes: usize,
    /// First step that writes and last step that reads it: operator i runs in step i + 1.
    pub steps: RangeInclusive<usize>,
}

/// A place for every activation of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One for each tensor; `None` for constants and for tensors that nobody writes.
    pub places: Vec<Option<Place>>,
    /// One for each workspace, as they were given.
    pub workspaces: Vec<Place>,
    /// Bytes that hold them all.
    pub arena: usize,
    /// The largest sum of bytes that live in one step: no plan needs less. Sizes are multiples of [`ALIGN`] here, too.
    pub bound: usize,
}

/// Tensors that share their memory: the output of a RESHAPE has its input's bytes.
struct Group {
    bytes: usize,
    first: usize,
    last: usize,
    offset: usize,
}

impl Group {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl Plan {
    /// Plans the memory of a network.
    ///
    /// # Errors
    /// For models that [`Model::read`] would refuse: tensors that do not exist, are read before they are written or
    /// written twice; and for sizes beyond an address.
    pub fn new(model: &Model) -> Result<Self, Error> {
        Self::with_workspaces(model, &[])
    }

    /// Plans memory for operators that use so many bytes beside, the first ones of the network.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    pub fn with_workspaces(model: &Model, workspaces: &[usize]) -> Result<Self, Error> {
        model.check_order()?;
        let lives = lives(model);
        let (mut groups, member) = groups(model, &lives)?;
        let activations = groups.len();
        for (operator, bytes) in workspaces.iter().take(model.operators.len()).enumerate() {
            let bytes = bytes.checked_next_multiple_of(ALIGN).ok_or(Error::Arena)?;
            groups.push(Group { bytes, first: operator + 1, last: operator + 1, offset: 0 });
        }
        let steps = model.operators.len() + 2;
        let bound = bound(&groups, steps).ok_or(Error::Arena)?;
        let arena = arrange(&mut groups).ok_or(Error::Arena)?;
        let place = |tensor: usize| {
            let (first, last) = lives[tensor]?;
            let offset = groups[member[tensor]?].offset;
            Some(Place { offset, bytes: model.tensors[tensor].bytes()?, steps: first..=last })
        };
        let beside = groups[activations..].iter().zip(workspaces);
        let workspaces = beside
            .map(|(group, bytes)| Place { offset: group.offset, bytes: *bytes, steps: group.first..=group.last })
            .collect();
        Ok(Self { places: (0..lives.len()).map(place).collect(), workspaces, arena, bound })
    }
}

/// First and last step of every activation.
fn lives(model: &Model) -> Vec<Option<(usize, usize)>> {
    let mut lives = vec![None; model.tensors.len()];
    for &tensor in &model.inputs {
        lives[tensor] = Some((0, 0));
    }
    let read = |lives: &mut Vec<Option<(usize, usize)>>, tensor: usize, step| {
        // Constants have no life.
        if let Some((_, last)) = &mut lives[tensor] {
            *last = step;
        }
    };
    for (index, operator) in model.operators.iter().enumerate() {
        for &tensor in operator.inputs.iter().flatten() {
            read(&mut lives, tensor, index + 1);
        }
        for &tensor in &operator.outputs {
            lives[tensor] = Some((index + 1, index + 1));
        }
    }
    for &tensor in &model.outputs {
        read(&mut lives, tensor, model.operators.len() + 1);
    }
    lives
}

/// What has to be placed, and the group of every activation.
fn groups(model: &Model, lives: &[Option<(usize, usize)>]) -> Result<(Vec<Group>, Vec<Option<usize>>), Error> {
    let mut groups: Vec<Group> = Vec::new();
    let mut member = vec![None; lives.len()];
    let size = |tensor: usize| {
        let too_large = || Error::TooLarge { tensor, name: model.tensors[tensor].name.clone() };
        let bytes = model.tensors[tensor].bytes().and_then(|bytes| bytes.checked_next_multiple_of(ALIGN));
        bytes.ok_or_else(too_large)
    };
    let begin = |groups: &mut Vec<Group>, tensor: usize| -> Result<Option<usize>, Error> {
        let Some((first, last)) = lives[tensor] else { return Ok(None) };
        groups.push(Group { bytes: size(tensor)?, first, last, offset: 0 });
        Ok(Some(groups.len() - 1))
    };
    for &tensor in &model.inputs {
        member[tensor] = begin(&mut groups, tensor)?;
    }
    for (index, operator) in model.operators.iter().enumerate() {
        let heir = match (&operator.operation, &operator.inputs[..], &operator.outputs[..]) {
            (Operation::Reshape, [Some(from), ..], [to]) => {
                let dies = lives[*from].is_some_and(|(_, last)| last == index + 1);
                let fits = model.tensors[*from].bytes() == model.tensors[*to].bytes();
                member[*from].filter(|_| dies && fits).zip(lives[*to])
            }
            _ => None,
        };
        for &tensor in &operator.outputs {
            member[tensor] = match heir {
                Some((group, (_, last))) => {
                    groups[group].last = last;
                    Some(group)
                }
                None => begin(&mut groups, tensor)?,
            };
        }
    }
    Ok((groups, member))
}

/// The largest sum of bytes in one step: what begins is added, what has ended is taken away.
fn bound(groups: &[Group], steps: usize) -> Option<usize> {
    let mut begins = vec![0usize; steps];
    let mut ends = vec![0usize; steps];
    for group in groups {
        begins[group.first] = begins[group.first].checked_add(group.bytes)?;
        ends[group.last] = ends[group.last].checked_add(group.bytes)?;
    }
    let (mut live, mut most) = (0usize, 0);
    for (begin, end) in begins.into_iter().zip(ends) {
        live = live.checked_add(begin)?;
        most = most.max(live);
        live -= end;
    }
    Some(most)
}

/// Gives every group an offset; returns the end of the last. The best of three orders: no one of them wins always.
fn arrange(groups: &mut [Group]) -> Option<usize> {
    type Key = fn(&Group) -> (Reverse<usize>, usize);
    let orders: [Key; 3] = [
        |group| (Reverse(group.bytes), group.first),
        |group| (Reverse(group.last - group.first), group.first),
        |group| (Reverse(0), group.first),
    ];
    let plans = orders.into_iter().map(|key| {
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|&index| key(&groups[index]));
        first_fit(groups, order)
    });
    let (arena, offsets) = plans.flatten().min_by_key(|(arena, _)| *arena)?;
    for (group, offset) in groups.iter_mut().zip(offsets) {
        group.offset = offset;
    }
    Some(arena)
}

/// The end of the last group, and every group's offset, if they are placed in this order.
fn first_fit(groups: &[Group], order: Vec<usize>) -> Option<(usize, Vec<usize>)> {
    let mut offsets = vec![0usize; groups.len()];
    // In the order of their offsets.
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    let mut arena = 0usize;
    for index in order {
        let mut offset = 0usize;
        for &other in placed.iter().filter(|&&other| groups[other].meets(&groups[index])) {
            if offsets[other].saturating_sub(offset) >= groups[index].bytes {
                break;
            }
            offset = offset.max(offsets[other] + groups[other].bytes);
        }
        offsets[index] = offset;
        arena = arena.max(offset.checked_add(groups[index].bytes)?);
        let at = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(at, index);
    }
    isize::try_from(arena).is_ok().then_some((arena, offsets))
}
