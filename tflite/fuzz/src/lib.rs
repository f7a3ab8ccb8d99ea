//! What the fuzz target does with a file, and the files it begins with.

pub mod network;

use zeropoint::{Backend, Threads, available};
use zeropoint_tflite::{Error, Model, Network, Operation, Options, Plan};

/// Whether bytes have the identifier of a file: others are refused at once, and may mean something else.
pub fn is_file(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"TFL3")
}

/// Reads, writes, reads again; then prepares and runs what is not too large, on the best backend and on another.
pub fn check(file: &[u8]) {
    let model = match Model::read(file) {
        Ok(model) => model,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let written = model.write().expect("it had room in a file");
    assert_eq!(Model::read(&written).as_ref(), Ok(&model), "written and read again");
    if is_large(&model) {
        return;
    }
    let other = available().cycle().nth(file.len());
    let (first, second) = (run(&model, None), run(&model, other));
    assert_eq!(first, second, "{:?}", other.map(Backend::kernel));
}

/// The outputs of one run; what was refused, if anything was.
fn run(model: &Model, backend: Option<Backend>) -> Result<Vec<Vec<u8>>, Error> {
    let mut network = Network::new(model, &Options { backend, ..Options::default() })?;
    for input in network.inputs().to_vec() {
        let bytes = network.tensor_mut(input).expect("inputs have a place").iter_mut().enumerate();
        bytes.for_each(|(index, byte)| *byte = (index as u8).wrapping_mul(37));
    }
    network.run(&One)?;
    let outputs = network.outputs().iter();
    Ok(outputs.map(|output| network.tensor(*output).unwrap_or_default().to_vec()).collect())
}

/// Whether it would take much memory or time. Either is what a file may ask for.
fn is_large(model: &Model) -> bool {
    const MOST: usize = 1 << 20;
    let elements = |tensor: usize| model.tensors[tensor].shape.iter().product::<usize>();
    Plan::new(model).is_ok_and(|plan| plan.arena > MOST)
        || model.operators.iter().any(|operator| {
            let steps = match operator.operation {
                Operation::AveragePool2d { kernel, .. } | Operation::MaxPool2d { kernel, .. } => {
                    elements(operator.outputs[0]).saturating_mul(kernel[0]).saturating_mul(kernel[1])
                }
                _ => model.macs(operator),
            };
            steps > 4 * MOST
        })
}

/// The caller's thread and no other.
struct One;

impl Threads for One {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}
