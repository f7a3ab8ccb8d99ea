//! A picture's classes.

use core::cmp::Reverse;
use std::fs;
use std::io::Write;
use std::process::ExitCode;

use zeropoint_tflite::Picture;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::setup;

/// Prints the classes with the largest outputs.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let image = arguments.image.as_ref().ok_or_else(|| Failure::of("--image", "missing"))?;
    let model = setup::model(arguments)?;
    let (input, input_tensor) = setup::only(&model, "inputs", &model.inputs)?;
    let (output, output_tensor) = setup::only(&model, "outputs", &model.outputs)?;
    if !setup::is_coded(output_tensor.kind) {
        return Err(Failure::of("MODEL", format_args!("its output is {:?}, not U8 or I8", output_tensor.kind)));
    }
    let classes: usize = output_tensor.shape.iter().product();
    let labels = labels(arguments, classes)?;
    let picture = Picture::read(image).map_err(Failure::file("--image", image))?;
    let mut network = setup::network(&model, arguments)?;
    let codes = picture.codes(input_tensor).map_err(|error| Failure::of("MODEL", error))?;
    setup::write(&mut network, input, &codes)?;
    network.run(&*setup::threads(arguments)?)?;

    let codes = network.tensor(output).unwrap_or_default();
    let codes: Vec<i32> = codes.iter().map(|byte| output_tensor.kind.code(*byte)).collect();
    let mut best: Vec<usize> = (0..codes.len()).collect();
    // Stable: of equal ones the first.
    best.sort_by_key(|class| Reverse(codes[*class]));
    writeln!(out, "{:>5}  {:>5}  {:>10}  label", "class", "code", "value")?;
    for class in best.into_iter().take(arguments.top) {
        let code = codes[class];
        let value = output_tensor.quantization.as_ref().and_then(|quantization| {
            let (scale, zero_point) = (quantization.scales.first()?, quantization.zero_points.first()?);
            Some(f64::from(*scale) * f64::from(code - zero_point))
        });
        let value = value.map_or("-".into(), |value| format!("{value:.6}"));
        let label = labels.get(class).map_or("", String::as_str);
        writeln!(out, "{class:>5}  {code:>5}  {value:>10}  {label}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One a line and one a class; none if no file was named.
fn labels(arguments: &Arguments, classes: usize) -> Result<Vec<String>, Failure> {
    let Some(path) = &arguments.labels else { return Ok(Vec::new()) };
    let text = fs::read_to_string(path).map_err(Failure::file("--labels", path))?;
    let labels: Vec<String> = text.lines().map(str::to_owned).collect();
    if labels.len() != classes {
        let lines = format_args!("{} lines, but there are {classes} classes", labels.len()).to_string();
        return Err(Failure::file("--labels", path)(lines));
    }
    Ok(labels)
}
