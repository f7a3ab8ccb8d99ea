//! A network, ready to run: layers prepared once, activations in one block of memory.

use core::ops::Range;

use zeropoint::{Backend, Rounding, Threads, Workspace};

use crate::prepare::Preparing;
use crate::raise::{RAISE, raised};
use crate::{ALIGN, Error, Model, Operation, Place, Plan};

/// By which rules layers round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Those of LiteRT's reference kernels: fully connected layers round once, all others twice.
    LitertReference,
    /// One for all.
    One(Rounding),
}

impl Rules {
    const LITERT_REFERENCE: &str = "litert-reference";

    /// `litert-reference`, or the name of a rule for all layers.
    pub fn named(name: &str) -> Option<Self> {
        if name == Self::LITERT_REFERENCE {
            return Some(Self::LitertReference);
        }
        Self::all().find(|rounding| rounding.name() == name).map(Self::One)
    }

    /// All that [`Rules::named`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        [Self::LITERT_REFERENCE].into_iter().chain(Self::all().map(Rounding::name))
    }

    /// No scale has a multiplier of the rule that is left out.
    fn all() -> impl Iterator<Item = Rounding> {
        Rounding::ALL.into_iter().filter(|rounding| *rounding != Rounding::IntMulShift)
    }

    pub(crate) fn of(self, operation: &Operation) -> Rounding {
        match (self, operation) {
            (Self::One(rounding), _) => rounding,
            (Self::LitertReference, Operation::FullyConnected { .. }) => Rounding::SingleAway,
            (Self::LitertReference, _) => Rounding::DoubleAway,
        }
    }
}

/// How to prepare a network.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// By which rules layers round.
    pub rules: Rules,
    /// The backend; if `None`, the one that suits each layer.
    pub backend: Option<Backend>,
    /// Threads that runs may use at most.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { rules: Rules::LitertReference, backend: None, threads: 1 }
    }
}

/// What an operator does with the bytes of its activations.
pub(crate) type Run = Box<
    dyn Fn(&dyn Threads, &[&[u8]], &mut [u8], &mut Workspace<'_>) -> Result<(), zeropoint::Error> + Send + Sync,
>;

/// A prepared operator.
struct Step {
    name: &'static str,
    inputs: Vec<usize>,
    output: usize,
    run: Run,
    explanation: String,
    packed: usize,
    /// What it uses of the arena beside its activations.
    workspace: Range<usize>,
}

/// Bytes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of all activations, which share one block.
    pub activations: usize,
    /// Of packed weights.
    pub packed: usize,
    /// Of what layers use and do not keep, as far as it does not fit between the activations.
    pub workspace: usize,
}

/// A prepared network with the memory of its activations.
///
/// One `Network` runs one picture at a time; make one for each that should run at the same time.
pub struct Network {
    steps: Vec<Step>,
    /// Where each tensor lies in the arena, if it is an activation.
    places: Vec<Option<Range<usize>>>,
    /// Whether it is kept raised.
    raised: Vec<bool>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    arena: Vec<u8>,
    /// How much longer the arena is for the sake of workspaces.
    workspace: usize,
}

impl Network {
    /// Packs all weights and places all activations.
    ///
    /// # Errors
    /// [`Error::Layer`] with the operator and what its layer refuses; [`Error::Unsupported`] for tensors of a type or a
    /// form that no layer takes; [`Error::Arena`], [`Error::Memory`].
    pub fn new(model: &Model, options: &Options) -> Result<Self, Error> {
        let bare = Plan::new(model)?.arena;
        let raised = raised(model);
        let (mut steps, mut workspaces) = (Vec::new(), Vec::new());
        for (index, operator) in model.operators.iter().enumerate() {
            let prepared = Preparing { model, raised: &raised, operator, index, options }.step()?;
            // The arena lies anywhere, a workspace aligns itself.
            workspaces.push(if prepared.workspace == 0 {
                0
            } else {
                prepared.workspace.saturating_add(ALIGN - 1)
            });
            let activations =
                operator.inputs.iter().flatten().copied().filter(|i| model.tensors[*i].data.is_none());
            steps.push(Step {
                name: operator.name,
                inputs: activations.collect(),
                output: operator.outputs.first().copied().unwrap_or_default(),
                run: prepared.run,
                explanation: prepared.explanation,
                packed: prepared.packed,
                workspace: 0..0,
            });
        }
        let plan = Plan::with_workspaces(model, &workspaces)?;
        let place = |place: &Place| place.offset..place.offset + place.bytes;
        steps.iter_mut().zip(&plan.workspaces).for_each(|(step, workspace)| step.workspace = place(workspace));
        let mut arena = Vec::new();
        arena.try_reserve_exact(plan.arena).map_err(|_| Error::Memory { bytes: plan.arena })?;
        arena.resize(plan.arena, 0);
        Ok(Self {
            steps,
            places: plan.places.iter().map(|tensor| tensor.as_ref().map(place)).collect(),
            raised: raised.iter().map(Option::is_some).collect(),
            inputs: model.inputs.clone(),
            outputs: model.outputs.clone(),
            workspace: arena.len().saturating_sub(bare),
            arena,
        })
    }

    /// How many operators there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no operator.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The tensors that the caller fills.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// The tensors that the caller reads.
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// The activations that an operator reads, and the one that it writes.
    pub fn activations(&self, operator: usize) -> Option<(&[usize], usize)> {
        self.steps.get(operator).map(|step| (&*step.inputs, step.output))
    }

    /// The name of an operator, and what was chosen for it.
    pub fn explain(&self, operator: usize) -> Option<(&'static str, &str)> {
        self.steps.get(operator).map(|step| (step.name, &*step.explanation))
    }

    /// What a network holds while it runs.
    pub fn memory(&self) -> Memory {
        let packed = self.steps.iter().map(|step| step.packed).sum();
        Memory { activations: self.arena.len() - self.workspace, packed, workspace: self.workspace }
    }

    /// The bytes of an activation; others may have taken their place since they were written. All inputs and outputs have some; signed
    /// activations between layers that take unsigned ones faster have none: [`Network::read`].
    pub fn tensor(&self, index: usize) -> Option<&[u8]> {
        if self.raised.get(index).copied()? { None } else { self.arena.get(self.places[index].clone()?) }
    }

    /// The bytes of an activation, to be written; as [`Network::tensor`].
    pub fn tensor_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        if self.raised.get(index).copied()? { None } else { self.arena.get_mut(self.places[index].clone()?) }
    }

    /// A copy of any activation, as the model has it; others may have taken its place since it was written.
    pub fn read(&self, index: usize) -> Option<Vec<u8>> {
        let bytes = self.arena.get(self.places.get(index)?.clone()?)?;
        Some(bytes.iter().map(|byte| byte ^ self.flip(index)).collect())
    }

    /// Writes any activation, as the model has it; returns whether there is one of so many bytes.
    pub fn write(&mut self, index: usize, bytes: &[u8]) -> bool {
        let flip = self.flip(index);
        let place = self.places.get(index).cloned().flatten().and_then(|place| self.arena.get_mut(place));
        let place = place.filter(|place| place.len() == bytes.len());
        place.map(|place| place.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte ^ flip)).is_some()
    }

    fn flip(&self, index: usize) -> u8 {
        if self.raised.get(index).copied().unwrap_or(false) { RAISE } else { 0 }
    }

    /// Runs one operator.
    ///
    /// # Errors
    /// [`Error::Layer`]; [`Error::NoOperator`] if there are not so many.
    pub fn step(&mut self, operator: usize, threads: &dyn Threads) -> Result<(), Error> {
        let count = self.steps.len();
        let step = self.steps.get(operator).ok_or(Error::NoOperator { operator, count })?;
        let layer = |error| Error::Layer { operator, name: step.name, error: Box::new(error) };
        let place = |tensor: usize| self.places[tensor].clone().unwrap_or(0..0);
        let to = place(step.output);
        if let [input] = step.inputs[..]
            && place(input) == to
        {
            // A view of the same bytes.
            return Ok(());
        }
        // No operator reads bytes that it writes, or works in: the plan keeps them apart.
        let beside = if step.workspace.is_empty() { to.end..to.end } else { step.workspace.clone() };
        let ([out, workspace], others) = split(&mut self.arena, [&to, &beside]).ok_or(Error::Arena)?;
        let mut inputs = Vec::with_capacity(step.inputs.len());
        for tensor in &step.inputs {
            let from = place(*tensor);
            let bytes = others.into_iter().find_map(|(start, bytes)| {
                let start = from.start.checked_sub(start)?;
                bytes.get(start..start.checked_add(from.len())?)
            });
            inputs.push(bytes.ok_or(Error::Arena)?);
        }
        (step.run)(threads, &inputs, out, &mut Workspace::borrow(workspace)).map_err(layer)
    }

    /// Runs all operators.
    ///
    /// # Errors
    /// [`Error::Layer`].
    pub fn run(&mut self, threads: &dyn Threads) -> Result<(), Error> {
        (0..self.steps.len()).try_for_each(|operator| self.step(operator, threads))
    }
}

/// Bytes of the arena from an offset on.
type Part<'a> = (usize, &'a [u8]);

/// Two parts of the arena, and the others, if those two lie apart.
fn split<'a>(arena: &'a mut [u8], parts: [&Range<usize>; 2]) -> Option<([&'a mut [u8]; 2], [Part<'a>; 3])> {
    let swapped = parts[1].start < parts[0].start;
    let [low, high] = if swapped { [parts[1], parts[0]] } else { parts };
    let (before, rest) = arena.split_at_mut_checked(low.start)?;
    let (first, rest) = rest.split_at_mut_checked(low.len())?;
    let (between, rest) = rest.split_at_mut_checked(high.start.checked_sub(low.end)?)?;
    let (second, behind) = rest.split_at_mut_checked(high.len())?;
    let parts = if swapped { [second, first] } else { [first, second] };
    Some((parts, [(0, before), (low.end, between), (high.end, behind)]))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn parts_are_split_in_any_order() {
        let mut arena = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let ([a, b], others) = split(&mut arena, [&(6..8), &(1..3)]).expect("apart");
        assert_eq!((&*a, &*b), (&[6, 7][..], &[1, 2][..]));
        assert_eq!(others, [(0, &[0][..]), (3, &[3, 4, 5]), (8, &[8, 9])]);
        let ([a, b], _) = split(&mut arena, [&(0..4), &(4..4)]).expect("apart");
        assert_eq!((a.len(), b.len()), (4, 0));
        for parts in [[0..4, 3..5], [3..5, 0..4], [0..4, 8..11]] {
            assert!(split(&mut arena, [&parts[0], &parts[1]]).is_none(), "{parts:?}");
        }
    }
}
