//! What is in a file.

use std::io::Write;
use std::process::ExitCode;

use zeropoint_tflite::{Plan, Quantization, Tensor};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::setup;

/// Prints operators, tensors, and the plan of the memory.
pub fn inspect(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let model = setup::model(arguments)?;
    let plan = Plan::new(&model).map_err(Failure::file("MODEL", &arguments.model))?;
    writeln!(out, "operators")?;
    writeln!(out, "{:>3}  {:<16} {:<10} {:>8}  operation", "#", "inputs", "output", "MMAC")?;
    let mut macs = 0;
    for (index, operator) in model.operators.iter().enumerate() {
        let inputs = operator.inputs.iter().map(|input| input.map_or("-".into(), |tensor| tensor.to_string()));
        let inputs = inputs.collect::<Vec<_>>().join(",");
        let outputs = operator.outputs.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        macs += model.macs(operator);
        let mmac = model.macs(operator) as f64 / 1e6;
        writeln!(out, "{index:>3}  {inputs:<16} {outputs:<10} {mmac:>8.3}  {:?}", operator.operation)?;
    }
    writeln!(out, "{:.3} MMAC\n\ntensors", macs as f64 / 1e6)?;
    writeln!(
        out,
        "{:>3}  {:<4} {:<18} {:>13} {:>10} {:>10}  {:>9}  name",
        "#", "type", "shape", "scale", "zero point", "bytes", "from"
    )?;
    for (index, tensor) in model.tensors.iter().enumerate() {
        let shape = format!("{:?}", tensor.shape);
        let kind = format!("{:?}", tensor.kind);
        let (scale, zero_point) = numbers(tensor);
        let bytes = tensor.bytes().unwrap_or_default();
        let from = if tensor.data.is_some() {
            "constant"
        } else if model.inputs.contains(&index) {
            "caller"
        } else if plan.places[index].is_some() {
            "operator"
        } else {
            "nothing"
        };
        writeln!(
            out,
            "{index:>3}  {kind:<4} {shape:<18} {scale:>13} {zero_point:>10} {bytes:>10}  {from:>9}  {}",
            tensor.name.escape_debug()
        )?;
    }
    writeln!(out, "\nmemory plan: operator i runs in step i + 1")?;
    writeln!(out, "{:>6}  {:>10} {:>10}  {:>9}", "tensor", "offset", "bytes", "steps")?;
    for (index, place) in plan.places.iter().enumerate() {
        let Some(place) = place else { continue };
        let steps = format!("{} to {}", place.steps.start(), place.steps.end());
        writeln!(out, "{index:>6}  {:>10} {:>10}  {steps:>9}", place.offset, place.bytes)?;
    }
    writeln!(out, "arena {} bytes without workspaces; no plan needs less than {}", plan.arena, plan.bound)?;
    Ok(ExitCode::SUCCESS)
}

/// The scale and the zero point; how many where there is more than one.
fn numbers(tensor: &Tensor) -> (String, String) {
    match &tensor.quantization {
        None => ("-".into(), "-".into()),
        Some(Quantization { scales, zero_points, axis }) => {
            let scale = match scales[..] {
                [one] => one.to_string(),
                _ => format!("{} on axis {axis}", scales.len()),
            };
            let zero_point = match zero_points[..] {
                [one, ref rest @ ..] if rest.iter().all(|zero| *zero == one) => one.to_string(),
                _ => "various".into(),
            };
            (scale, zero_point)
        }
    }
}
