//! Which signed activations are kept as unsigned ones: codes 128 higher, and the zero point, too.
//!
//! They are the same numbers, and the same bits come out of every layer here that has them. Kernels that multiply unsigned codes read
//! them where they lie.

use crate::{Kind, Model, Operation, Quantization, Tensor};

/// What separates the two forms of a code: a sum, or exclusive or.
pub(crate) const RAISE: u8 = 0x80;

/// What an operator asks of the forms of its activations.
enum Asks {
    /// Any form of each.
    Nothing,
    /// The same of all.
    Same,
    /// Those of the model: it rounds codes themselves, or has tables of them.
    Model,
}

impl Asks {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Conv2d { .. } | Operation::DepthwiseConv2d { .. } | Operation::FullyConnected { .. } => {
                Self::Nothing
            }
            Operation::Add { .. }
            | Operation::Sub { .. }
            | Operation::Mul { .. }
            | Operation::Concatenation { .. }
            | Operation::MaxPool2d { .. }
            | Operation::Pad
            | Operation::Relu
            | Operation::Relu6
            | Operation::Reshape => Self::Same,
            _ => Self::Model,
        }
    }
}

/// For each tensor, what it is if it is kept raised. What comes from a caller and what goes to one is as the model says.
pub(crate) fn raised(model: &Model) -> Vec<Option<Tensor>> {
    let of_one_scale = |tensor: &Tensor| {
        matches!(&tensor.quantization, Some(Quantization { scales, zero_points, .. })
            if scales.len() == 1 && zero_points.len() == 1)
    };
    let mut is_raised: Vec<bool> = model
        .tensors
        .iter()
        .map(|tensor| tensor.kind == Kind::I8 && tensor.data.is_none() && of_one_scale(tensor))
        .collect();
    for tensor in model.inputs.iter().chain(&model.outputs) {
        is_raised[*tensor] = false;
    }
    loop {
        let mut changed = false;
        for operator in &model.operators {
            let all = || operator.inputs.iter().flatten().chain(&operator.outputs).copied();
            let keeps = match Asks::of(&operator.operation) {
                Asks::Nothing => true,
                // Constants are not raised.
                Asks::Same => all().all(|i| is_raised[i] || model.tensors[i].kind != Kind::I8),
                Asks::Model => false,
            };
            if !keeps {
                for i in all() {
                    changed |= std::mem::take(&mut is_raised[i]);
                }
            }
        }
        if !changed {
            break;
        }
    }
    let raise = |(tensor, is_raised): (&Tensor, bool)| {
        is_raised.then(|| {
            let mut tensor = tensor.clone();
            tensor.kind = Kind::U8;
            for zero in tensor.quantization.iter_mut().flat_map(|by| &mut by.zero_points) {
                *zero = zero.saturating_add(RAISE.into());
            }
            tensor
        })
    };
    model.tensors.iter().zip(is_raised).map(raise).collect()
}
