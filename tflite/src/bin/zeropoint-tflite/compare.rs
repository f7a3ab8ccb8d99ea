//! Layers against what was recorded of them.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use zeropoint_tflite::{Kind, Model, Npz, Operator};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::setup;

/// Prints how many bytes of each layer differ, and by how much at most.
pub fn compare(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let path = arguments.golden.as_ref().ok_or_else(|| Failure::of("--golden", "missing"))?;
    let model = setup::model(arguments)?;
    let file = fs::read(path).map_err(Failure::file("--golden", path))?;
    let npz = Npz::read(file).map_err(Failure::file("--golden", path))?;
    let golden = Golden { npz, model: &model };
    let refuse = |what: String| Failure::file("--golden", path)(what);
    let mut network = setup::network(&model, arguments)?;
    let threads = setup::threads(arguments)?;
    if arguments.whole {
        for &input in &model.inputs {
            let bytes = golden.input(input).map_err(refuse)?;
            setup::write(&mut network, input, &bytes)?;
        }
    }
    writeln!(out, "{:>3}  {:<18} {:>9} {:>9} {:>8}", "#", "operator", "bytes", "differing", "largest")?;
    let (mut layers, mut differing, mut first) = (0, 0, None);
    for (index, operator) in model.operators.iter().enumerate() {
        let recorded = golden.output(index).map_err(refuse)?;
        if !arguments.whole && recorded.is_some() {
            for (position, tensor) in golden.activations(operator) {
                let bytes = golden.operand(index, position).map_err(refuse)?;
                setup::write(&mut network, tensor, &bytes)?;
            }
        }
        if arguments.whole || recorded.is_some() {
            network.step(index, &*threads)?;
        }
        let Some(expected) = recorded else {
            writeln!(out, "{index:>3}  {:<18} not recorded", operator.name)?;
            continue;
        };
        let output = operator.outputs[0];
        let found = network.read(output).unwrap_or_default();
        let Difference { bytes, largest } = Difference::new(&found, &expected, model.tensors[output].kind);
        writeln!(out, "{index:>3}  {:<18} {:>9} {bytes:>9} {largest:>8}", operator.name, expected.len())?;
        (layers, differing) = (layers + 1, differing + bytes);
        if bytes > 0 {
            first.get_or_insert((index, operator.name));
        }
    }
    if layers == 0 {
        return Err(refuse("no layer of this network is recorded".into()));
    }
    write!(out, "{layers} layers compared, {differing} bytes differ")?;
    if let Some((index, name)) = first {
        writeln!(out, ", the first in operator {index} ({name})")?;
        return Ok(ExitCode::from(1));
    }
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

/// How far two tensors lie apart.
struct Difference {
    bytes: usize,
    largest: u32,
}

impl Difference {
    fn new(found: &[u8], expected: &[u8], kind: Kind) -> Self {
        let apart = |(a, b): (&u8, &u8)| kind.code(*a).abs_diff(kind.code(*b));
        let apart = || found.iter().zip(expected).map(apart);
        Self { bytes: apart().filter(|apart| *apart > 0).count(), largest: apart().max().unwrap_or(0) }
    }
}

/// Recorded tensors, and the network they belong to. `opNN_<operator>_<role>` is the name of each: the role is `out`,
/// and `in` for the only activation or `in0`, `in1` for one of several.
struct Golden<'m> {
    npz: Npz,
    model: &'m Model,
}

impl Golden<'_> {
    fn key(&self, operator: usize, role: &str) -> String {
        format!("op{operator:02}_{}_{role}", self.model.operators[operator].name.to_lowercase())
    }

    fn tensor(&self, key: &str, tensor: usize) -> Result<Vec<u8>, String> {
        let tensor = &self.model.tensors[tensor];
        self.npz.array(key, tensor.kind, &tensor.shape).map_err(|error| error.to_string())
    }

    /// The output of an operator, if it is recorded. Another operator of the same number shows another network.
    fn output(&self, operator: usize) -> Result<Option<Vec<u8>>, String> {
        let key = self.key(operator, "out");
        if self.npz.has(&key) {
            return self.tensor(&key, self.model.operators[operator].outputs[0]).map(Some);
        }
        let number = format!("op{operator:02}_");
        match self.npz.keys().find(|key| key.starts_with(&number)) {
            Some(other) => Err(format!("array {key:?} is missing, but there is {other:?}")),
            None => Ok(None),
        }
    }

    /// Positions among an operator's inputs and tensors of those that are not constant.
    fn activations(&self, operator: &Operator) -> impl Iterator<Item = (usize, usize)> {
        let present = operator.inputs.iter().enumerate().filter_map(|(i, tensor)| Some((i, (*tensor)?)));
        present.filter(|(_, tensor)| self.model.tensors[*tensor].data.is_none())
    }

    /// What an operator has read at one of its inputs.
    fn operand(&self, operator: usize, position: usize) -> Result<Vec<u8>, String> {
        let tensor = self.model.operators[operator].inputs[position].unwrap_or_default();
        let numbered = self.key(operator, &format!("in{position}"));
        let single = self.key(operator, "in");
        let key = if position == 0 && !self.npz.has(&numbered) { single } else { numbered };
        self.tensor(&key, tensor)
    }

    /// What the network has read: an input of the first operator that reads it.
    fn input(&self, tensor: usize) -> Result<Vec<u8>, String> {
        let reads = self.model.operators.iter().enumerate().find_map(|(index, operator)| {
            let position = operator.inputs.iter().position(|input| *input == Some(tensor))?;
            Some((index, position))
        });
        let (operator, position) = reads.ok_or_else(|| format!("no operator reads tensor {tensor}"))?;
        self.operand(operator, position)
    }
}
