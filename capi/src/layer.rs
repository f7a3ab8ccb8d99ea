//! One handle for every layer: what it does with tensors, whatever their types.

use std::ffi::c_char;
use std::fmt::{self, Display};
use std::mem::MaybeUninit;

use zp::{Element, Error, Serial, TensorMut, TensorRef, Threads, Workspace};

use crate::edge::{Caller, Handle, Plain, call};
use crate::failure::{Failure, zeropoint_status};
use crate::gemm::{with_workspace, zeropoint_workspace};
use crate::info::Text;
use crate::threads::Lent;
use crate::types::*;
use crate::views::{addresses, apart, same, type_of};

/// A prepared layer. Any number of threads may run one at the same time.
pub struct zeropoint_layer(());

impl Handle for zeropoint_layer {
    type Value = Box<dyn Layer>;
    const TAG: u64 = u64::from_ne_bytes(*b"zp layr\x01");
    const NAME: &'static str = "zeropoint_layer";
}

/// What all layers can do.
pub(crate) trait Layer: Send + Sync {
    fn run(&self, images: &Images<'_>) -> Result<(), Failure>;

    fn output(&self, input: [usize; 4]) -> Result<[usize; 4], Failure> {
        Ok(input)
    }

    fn workspace_bytes(&self, _input: [usize; 4], _threads: usize) -> Result<usize, Failure> {
        Ok(0)
    }

    fn explain(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        write!(f, "there was nothing to choose")
    }
}

/// The tensors of a run.
pub(crate) struct Images<'c> {
    caller: &'c Caller,
    inputs: Vec<zeropoint_tensor>,
    out: zeropoint_tensor_mut,
    workspace: *const zeropoint_workspace,
    threads: Option<Lent>,
}

fn strides(shape: [usize; 4], strides: [usize; 4]) -> Result<[usize; 4], Failure> {
    if strides != [0; 4] {
        return Ok(strides);
    }
    let [_, h, w, c] = shape;
    let times = |a: usize, b: usize| a.checked_mul(b).ok_or(Error::Overflow { argument: "tensor", a, b });
    let line = times(w, c)?;
    Ok([times(h, line)?, line, c, 1])
}

/// A view of a tensor of `T`s, and its memory.
pub(crate) fn tensor<'c, T: Element + Plain>(
    caller: &'c Caller,
    argument: &'static str,
    tensor: &zeropoint_tensor,
) -> Result<(TensorRef<'c, T>, &'c [T]), Failure> {
    same(argument, tensor.elements, type_of::<T>())?;
    let data = caller.slice(argument, tensor.data.cast::<T>(), tensor.len)?;
    Ok((TensorRef::new(data, tensor.shape, strides(tensor.shape, tensor.strides)?)?, data))
}

impl<'c> Images<'c> {
    /// The threads to run on.
    pub fn threads(&self) -> &dyn Threads {
        self.threads.as_ref().map_or(&Serial, |threads| threads)
    }

    /// The only input.
    pub fn input<T: Element + Plain>(&self) -> Result<TensorRef<'c, T>, Failure> {
        let [input] = self.all()?;
        Ok(input)
    }

    /// All inputs, as many as there have to be.
    pub fn all<T: Element + Plain, const N: usize>(&self) -> Result<[TensorRef<'c, T>; N], Failure> {
        let inputs = self.list()?;
        let wrong = Error::Length { argument: "inputs", expected: N, got: inputs.len() };
        Ok(inputs.try_into().map_err(|_| wrong)?)
    }

    /// All inputs.
    pub fn list<T: Element + Plain>(&self) -> Result<Vec<TensorRef<'c, T>>, Failure> {
        self.inputs.iter().map(|input| Ok(tensor(self.caller, "inputs", input)?.0)).collect()
    }

    /// The output, whose memory is not that of an input of `I`s.
    pub fn out<I: Element + Plain, O: Element + Plain>(&self) -> Result<TensorMut<'c, O>, Failure> {
        same("out.elements", self.out.elements, type_of::<O>())?;
        let data: &mut [MaybeUninit<O>] = self.caller.slice_mut("out", self.out.data.cast(), self.out.len)?;
        for input in &self.inputs {
            let input = addresses(tensor::<I>(self.caller, "inputs", input)?.1);
            apart("out", data, "inputs", input)?;
        }
        let data = self.caller.initialized(data);
        Ok(TensorMut::new(data, self.out.shape, strides(self.out.shape, self.out.strides)?)?)
    }

    /// Input and output of the same shape without gaps, as codes in a row.
    pub fn flat<T: Element + Plain>(
        &self,
        body: impl FnOnce(&[T], &mut [T]) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let (input, out) = (self.input::<T>()?, self.out::<T, T>()?);
        let (expected, got) = (input.shape(), out.shape());
        if expected != got {
            return Err(Error::TensorShape { argument: "out", expected, got }.into());
        }
        let count = expected.iter().try_fold(1, |count: usize, size| count.checked_mul(*size)).unwrap_or(0);
        let row = [1, 1, 1, count];
        if count == 0 {
            return Ok(());
        }
        let (input, mut out) = (input.reshape(row)?, out.reshape(row)?);
        // What has no gaps is one run.
        match (input.run([0; 3], 1), out.run([0; 3], 1)) {
            (Some(input), Some(out)) => Ok(body(input, out)?),
            _ => Err(Failure::Panic),
        }
    }

    /// Calls a function with the workspace.
    pub fn with_workspace(
        &self,
        body: impl FnOnce(&mut Workspace<'_>) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        with_workspace(self.caller, self.workspace, |workspace| Ok(body(workspace)?))
    }
}

/// Runs a layer on `inputs_len` tensors: one, two of sums and products, any number of a concatenation.
///
/// `workspace` may be null where [`zeropoint_layer_workspace_bytes`] is 0; `run` may be null. Thread-safe, each
/// thread with a workspace and an output of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_layer_run(
    layer: *const zeropoint_layer,
    inputs: *const *const zeropoint_tensor,
    inputs_len: usize,
    out: *const zeropoint_tensor_mut,
    workspace: *mut zeropoint_workspace,
    run: *const zeropoint_run,
) -> zeropoint_status {
    call!(|caller| {
        let layer = caller.open("layer", layer)?;
        let pointers = caller.slice("inputs", inputs, inputs_len)?;
        let inputs = pointers.iter().map(|input| caller.read("inputs", *input)).collect::<Result<_, _>>()?;
        let threads = match caller.read_optional("run", run)? {
            None => None,
            Some(run) if run.stages.is_null() => Lent::read(caller, run.threads)?,
            Some(_) => return Err(Failure::Value { argument: "run.stages", value: 1, valid: "null, for layers" }),
        };
        layer.run(&Images { caller, inputs, out: caller.read("out", out)?, workspace, threads })
    })
}

/// The shape of the output for the shape of an input: four numbers each, batch, height, width, channels. Not of
/// layers with several inputs. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_layer_output(
    layer: *const zeropoint_layer,
    input: *const usize,
    output: *mut usize,
) -> zeropoint_status {
    call!(|caller| {
        let layer = caller.open("layer", layer)?;
        caller.write("output", output.cast(), layer.output(shape(caller, input)?)?)
    })
}

/// How large a workspace runs on inputs of a shape, four numbers, on up to `threads` threads need. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_layer_workspace_bytes(
    layer: *const zeropoint_layer,
    input: *const usize,
    threads: usize,
    bytes: *mut usize,
) -> zeropoint_status {
    call!(|caller| {
        let layer = caller.open("layer", layer)?;
        caller.write("bytes", bytes, layer.workspace_bytes(shape(caller, input)?, threads)?)
    })
}

fn shape(caller: &Caller, input: *const usize) -> Result<[usize; 4], Failure> {
    let sizes = caller.slice("input", input, 4)?;
    Ok(std::array::from_fn(|i| sizes[i]))
}

/// What was chosen for a layer, and why, as a text: see [`zeropoint_backend_name`]. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_layer_explain(
    layer: *const zeropoint_layer,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> zeropoint_status {
    struct Explained<'l>(&'l dyn Layer);
    impl Display for Explained<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.explain(f)
        }
    }
    call!(|caller| {
        let layer = caller.open("layer", layer)?;
        Text::write(caller, buffer, capacity, needed, &Explained(&**layer))
    })
}

/// Frees a layer that no thread is running. Null is allowed. Later use is undefined. Thread-safe, but for the handle itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zeropoint_layer_free(layer: *mut zeropoint_layer) -> zeropoint_status {
    call!(|caller| caller.take_back("layer", layer))
}
