//! What commands begin with: a model, a network made of it, threads to run it.

use core::time::Duration;
use std::fs;

use zeropoint::{RayonAwake, Threads};
use zeropoint_tflite::{Kind, Model, Network, Tensor};

use crate::arguments::Arguments;
use crate::failure::Failure;

/// Reads the model.
pub fn model(arguments: &Arguments) -> Result<Model, Failure> {
    let path = &arguments.model;
    let file = fs::read(path).map_err(Failure::file("MODEL", path))?;
    Model::read(&file).map_err(Failure::file("MODEL", path))
}

/// Prepares the network.
pub fn network(model: &Model, arguments: &Arguments) -> Result<Network, Failure> {
    Network::new(model, &arguments.options).map_err(Failure::file("MODEL", &arguments.model))
}

/// The threads that were asked for.
pub fn threads(arguments: &Arguments) -> Result<Box<dyn Threads>, Failure> {
    /// Layers follow each other within less.
    const AWAKE: Duration = Duration::from_micros(200);
    let threads = arguments.options.threads;
    if threads == 1 {
        return Ok(Box::new(Alone));
    }
    // This thread is one of them: another one would be in the way of those that wait awake.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global();
    pool.map_err(|error| Failure::of("--threads", error))?;
    Ok(Box::new(RayonAwake(AWAKE)))
}

/// The caller's thread and no other.
struct Alone;

impl Threads for Alone {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// The tensor of a list of one.
pub fn only<'m>(model: &'m Model, which: &str, tensors: &[usize]) -> Result<(usize, &'m Tensor), Failure> {
    match *tensors {
        [index] => Ok((index, &model.tensors[index])),
        _ => Err(Failure::of("MODEL", format_args!("{} {which}, not 1", tensors.len()))),
    }
}

/// Whether bytes are codes of an output.
pub fn is_coded(kind: Kind) -> bool {
    matches!(kind, Kind::U8 | Kind::I8)
}

/// The bytes of a tensor that the caller gives, to be written: one that nothing reads has none.
pub fn input(network: &mut Network, index: usize) -> Result<&mut [u8], Failure> {
    network.tensor_mut(index).ok_or_else(|| nowhere(index))
}

/// Writes any activation.
pub fn write(network: &mut Network, index: usize, bytes: &[u8]) -> Result<(), Failure> {
    if network.write(index, bytes) { Ok(()) } else { Err(nowhere(index)) }
}

fn nowhere(index: usize) -> Failure {
    Failure::of("MODEL", format_args!("tensor {index} is not an activation"))
}
