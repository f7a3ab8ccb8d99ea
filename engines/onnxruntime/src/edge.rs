//! Where ONNX Runtime calls Rust, and Rust it: all that relies on what the engine promises.
//!
//! # The contract
//! What the engine promises, by the documentation of its C interface.
//!
//! * **Functions**: those of the interface that it hands over are there as long as the process, and do what they say.
//! * **Arguments**: pointers that it calls with are valid until the call returns; an `OrtCustomOp` is one that was
//!   registered; a kernel is one that was created and not destroyed. Contexts of a call stay on its thread.
//! * **Tensors**: data of a tensor are as many elements as its shape says, of the type that it says, aligned, one after
//!   another, and stay until the call returns. An output overlaps no input, and nobody else uses it.
//! * **Threads**: `KernelContext_ParallelFor` calls its function while it runs and not later.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::{ptr, slice};

use ort_sys::{
    ONNXTensorElementDataType as Element, ORT_API_VERSION, OrtApi, OrtApiBase, OrtCustomOp, OrtCustomOpDomain,
    OrtCustomOpInputOutputCharacteristic as Characteristic, OrtErrorCode, OrtKernelContext, OrtKernelInfo,
    OrtMemType, OrtSessionOptions, OrtStatusPtr, OrtTensorTypeAndShapeInfo, OrtValue,
};

use crate::failure::{Failure, refuse};
use crate::operators;
use crate::tensor::{Data, Source, Tensor, Type, count};
use crate::threads::Count;

/// Calls a function of the engine that gives a status.
macro_rules! ask {
    ($api:expr, $function:ident($($argument:expr),*)) => {
        // SAFETY: Functions, Arguments: pointers are the engine's, or to what lives longer and is as long as it says.
        check($api, unsafe { ($api.$function)($($argument),*) })
    };
}

/// The interface of the engine.
type Api = &'static OrtApi;

/// An input of an operator.
pub(crate) struct Input {
    pub name: &'static str,
    pub element: Type,
    pub optional: bool,
}

/// What runs a node.
pub(crate) trait Kernel: Send + Sync {
    fn run(&self, call: Call<'_>) -> Result<(), Failure>;
}

type Create = fn(&Info<'_>) -> Result<Box<dyn Kernel>, Failure>;

/// An operator with one combination of types.
#[repr(C)]
pub(crate) struct Op {
    /// First, so that a pointer to it is one to the whole.
    raw: OrtCustomOp,
    name: &'static CStr,
    inputs: &'static [Input],
    output: Type,
    create: Create,
}

impl Op {
    pub const fn new(name: &'static CStr, inputs: &'static [Input], output: Type, create: Create) -> Self {
        let raw = OrtCustomOp {
            version: ORT_API_VERSION,
            CreateKernel: None,
            GetName: Some(op_name),
            GetExecutionProviderType: Some(op_provider),
            GetInputType: Some(op_input_type),
            GetInputTypeCount: Some(op_inputs),
            GetOutputType: Some(op_output_type),
            GetOutputTypeCount: Some(op_outputs),
            KernelCompute: None,
            KernelDestroy: Some(destroy),
            GetInputCharacteristic: Some(op_input_characteristic),
            GetOutputCharacteristic: Some(op_output_characteristic),
            GetInputMemoryType: Some(op_memory),
            GetVariadicInputMinArity: Some(op_one),
            GetVariadicInputHomogeneity: Some(op_one),
            GetVariadicOutputMinArity: Some(op_one),
            GetVariadicOutputHomogeneity: Some(op_one),
            CreateKernelV2: Some(create_kernel),
            KernelComputeV2: Some(compute),
            InferOutputShapeFn: None,
            GetStartVersion: Some(op_one),
            GetEndVersion: Some(op_last_version),
        };
        Self { raw, name, inputs, output, create }
    }
}

/// Functions that the engine asks an operator by.
macro_rules! answers {
    ($(fn $name:ident($op:ident $(, $index:ident)?) -> $result:ty { $answer:expr })*) => {$(
        unsafe extern "system" fn $name(op: *const OrtCustomOp $(, $index: usize)?) -> $result {
            // SAFETY: Arguments: registered, so the first field of an `Op` that is there as long as the process.
            let $op: &Op = unsafe { &*op.cast() };
            $answer
        }
    )*};
}
answers! {
    fn op_name(op) -> *const c_char { op.name.as_ptr() }
    fn op_provider(_op) -> *const c_char { ptr::null() } // the CPU's
    fn op_inputs(op) -> usize { op.inputs.len() }
    fn op_input_type(op, index) -> Element {
        op.inputs.get(index).map_or(Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, |input| input.element.theirs())
    }
    fn op_input_characteristic(op, index) -> Characteristic {
        if op.inputs.get(index).is_some_and(|input| input.optional) {
            Characteristic::INPUT_OUTPUT_OPTIONAL
        } else {
            Characteristic::INPUT_OUTPUT_REQUIRED
        }
    }
    fn op_outputs(_op) -> usize { 1 }
    fn op_output_type(op, _index) -> Element { op.output.theirs() }
    fn op_output_characteristic(_op, _index) -> Characteristic { Characteristic::INPUT_OUTPUT_REQUIRED }
    fn op_memory(_op, _index) -> OrtMemType { OrtMemType::OrtMemTypeDefault }
    fn op_one(_op) -> c_int { 1 }
    fn op_last_version(_op) -> c_int { c_int::MAX }
}

impl Type {
    const fn theirs(self) -> Element {
        match self {
            Self::U8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
            Self::I8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
            Self::I32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
            Self::F32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        }
    }
}

/// What the engine calls when it loads the library for a session.
#[unsafe(no_mangle)]
unsafe extern "system" fn RegisterCustomOps(
    options: *mut OrtSessionOptions,
    base: *const OrtApiBase,
) -> OrtStatusPtr {
    // SAFETY: Arguments.
    let get = unsafe { (*base).GetApi };
    // SAFETY: Functions.
    let api = unsafe { get(ORT_API_VERSION) };
    if api.is_null() {
        let message = c"zeropoint needs ONNX Runtime 1.17 or later";
        // SAFETY: Functions: any version has the first ones, of which this is the very first.
        return unsafe { ((*get(1)).CreateStatus)(OrtErrorCode::ORT_FAIL, message.as_ptr()) };
    }
    // SAFETY: Functions.
    let api: Api = unsafe { &*api };
    status(api, || {
        let domain = domain(api)?;
        ask!(api, AddCustomOpDomain(options, domain))
    })
}

/// The domain with all operators, made once and never freed, because sessions point to it.
fn domain(api: Api) -> Result<*mut OrtCustomOpDomain, Failure> {
    struct Domain(*mut OrtCustomOpDomain);
    // SAFETY: nothing changes it once it is made.
    unsafe impl Send for Domain {}
    // SAFETY: as above.
    unsafe impl Sync for Domain {}
    static DOMAIN: OnceLock<Result<Domain, String>> = OnceLock::new();
    let make = || {
        let mut domain = ptr::null_mut();
        ask!(api, CreateCustomOpDomain(c"zeropoint".as_ptr(), &mut domain))?;
        for op in operators::all() {
            ask!(api, CustomOpDomain_Add(domain, ptr::from_ref(op).cast()))?;
        }
        Ok(Domain(domain))
    };
    let made = DOMAIN.get_or_init(|| make().map_err(|failure| message(&failure)));
    made.as_ref().map(|domain| domain.0).map_err(|message| Failure::Refused(message.clone()))
}

fn message(failure: &Failure) -> String {
    match failure {
        Failure::Later => "zeropoint: an input that is no constant".to_owned(),
        Failure::Refused(message) => format!("zeropoint: {message}"),
    }
}

/// Runs what must not unwind; a failure, or a panic, becomes a status. The only place where panics are caught, but for
/// [`perform`].
fn status(api: Api, body: impl FnOnce() -> Result<(), Failure>) -> OrtStatusPtr {
    let caught = catch_unwind(AssertUnwindSafe(|| body().map_err(|failure| message(&failure))));
    let text = match caught {
        Ok(Ok(())) => return OrtStatusPtr(ptr::null_mut()),
        Ok(Err(message)) => CString::new(message).unwrap_or_default(),
        Err(_) => c"zeropoint: a fault of the library: it panicked".to_owned(),
    };
    // SAFETY: Functions; the text is copied.
    unsafe { (api.CreateStatus)(OrtErrorCode::ORT_INVALID_ARGUMENT, text.as_ptr()) }
}

/// What the engine says to a call.
fn check(api: Api, status: OrtStatusPtr) -> Result<(), Failure> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: Functions: a status that is not null has a text.
    let message = unsafe { CStr::from_ptr((api.GetErrorMessage)(status.0)) }.to_string_lossy().into_owned();
    // SAFETY: Functions: freed once.
    unsafe { (api.ReleaseStatus)(status.0) };
    refuse!("{message}")
}

/// What a kernel pointer of the engine points to.
struct Made {
    api: Api,
    op: &'static Op,
    kernel: Box<dyn Kernel>,
    count: Count,
}

unsafe extern "system" fn create_kernel(
    op: *const OrtCustomOp,
    api: *const OrtApi,
    info: *const OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> OrtStatusPtr {
    // SAFETY: Functions: of the version that the operator names, which is that of the types.
    let api: Api = unsafe { &*api };
    status(api, || {
        // SAFETY: Arguments: registered, so the first field of an `Op` that is there as long as the process.
        let op: &'static Op = unsafe { &*op.cast() };
        let info = Info { api, op, info: &info };
        let made = Box::new(Made { api, op, kernel: (op.create)(&info)?, count: Count::default() });
        // SAFETY: Arguments.
        unsafe { kernel.write(Box::into_raw(made).cast()) };
        Ok(())
    })
}

unsafe extern "system" fn destroy(kernel: *mut c_void) {
    if !kernel.is_null() {
        // SAFETY: Arguments: from `create_kernel`, and not used again. What is dropped does not panic.
        drop(unsafe { Box::<Made>::from_raw(kernel.cast()) });
    }
}

unsafe extern "system" fn compute(kernel: *mut c_void, context: *mut OrtKernelContext) -> OrtStatusPtr {
    // SAFETY: Arguments: from `create_kernel`; shared by calls on many threads.
    let made = unsafe { &*kernel.cast::<Made>() };
    let (api, op) = (made.api, made.op);
    status(api, || {
        let inputs = Inputs { api, op, context: &context };
        let threads = Lent { api, context: &context, count: &made.count, threads: OnceLock::new() };
        made.kernel.run(Call { inputs, out: Out { api, op, context: &context }, threads })
    })
}

/// What is known of a node while the model is loaded. The pointer is valid for `'c`.
pub(crate) struct Info<'c> {
    api: Api,
    op: &'static Op,
    info: &'c *const OrtKernelInfo,
}

/// A run of a kernel.
pub(crate) struct Call<'c> {
    pub inputs: Inputs<'c>,
    pub out: Out<'c>,
    pub threads: Lent<'c>,
}

/// The inputs of a run. The pointer is valid for `'c`, as for the next two.
pub(crate) struct Inputs<'c> {
    api: Api,
    op: &'static Op,
    context: &'c *mut OrtKernelContext,
}

/// The output of a run, not made yet.
pub(crate) struct Out<'c> {
    api: Api,
    op: &'static Op,
    context: &'c *mut OrtKernelContext,
}

/// The threads of the session.
pub(crate) struct Lent<'c> {
    api: Api,
    context: &'c *mut OrtKernelContext,
    pub count: &'c Count,
    /// How many there are for this run.
    pub threads: OnceLock<usize>,
}

impl Info<'_> {
    /// The sizes of an input, as far as they are known while the model is loaded: others are below 0.
    pub fn sizes(&self, index: usize) -> Result<Vec<i64>, Failure> {
        let (api, mut info, mut tensor) = (self.api, ptr::null_mut(), ptr::null());
        ask!(api, KernelInfo_GetInputTypeInfo(*self.info, index, &mut info))?;
        let result = ask!(api, CastTypeInfoToTensorInfo(info, &mut tensor));
        let sizes = result.and_then(|()| if tensor.is_null() { Ok(vec![]) } else { sizes(api, tensor) });
        // SAFETY: Functions: freed once; what was cast is a part of it.
        unsafe { (api.ReleaseTypeInfo)(info) };
        sizes
    }

    /// An attribute; `None` if it is not there.
    pub fn int(&self, name: &CStr) -> Option<i64> {
        let mut value = 0;
        ask!(self.api, KernelInfoGetAttribute_int64(*self.info, name.as_ptr(), &mut value)).ok().map(|()| value)
    }

    /// An attribute of several numbers.
    pub fn ints(&self, name: &CStr) -> Option<Vec<i64>> {
        let get = |to, size: &mut usize| {
            // Null asks for the size; else there are as many elements.
            ask!(self.api, KernelInfoGetAttributeArray_int64(*self.info, name.as_ptr(), to, size)).ok()
        };
        let mut size = 0;
        get(ptr::null_mut(), &mut size)?;
        let mut values = vec![0; size];
        get(values.as_mut_ptr(), &mut size)?;
        Some(values)
    }

    /// An attribute that is a text.
    pub fn text(&self, name: &CStr) -> Option<String> {
        sized(self.api, |to, size| {
            // SAFETY: Functions, Arguments; `sized` says the rest.
            unsafe { (self.api.KernelInfoGetAttribute_string)(*self.info, name.as_ptr(), to, size) }
        })
        .ok()
    }
}

/// A text of the engine, by a function that tells the size if it is given null.
fn sized(api: Api, get: impl Fn(*mut c_char, &mut usize) -> OrtStatusPtr) -> Result<String, Failure> {
    let mut size = 0;
    check(api, get(ptr::null_mut(), &mut size))?;
    let mut text = vec![0u8; size];
    check(api, get(text.as_mut_ptr().cast(), &mut size))?;
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(end);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Source for Info<'_> {
    fn get(&self, index: usize) -> Result<Option<Tensor<'_>>, Failure> {
        let (api, info, mut inputs) = (self.api, *self.info, 0);
        ask!(api, KernelInfo_GetInputCount(info, &mut inputs))?;
        // An input that is left out has no name.
        // SAFETY: Functions, Arguments; `sized` says the rest.
        let name = |to, size: &mut usize| unsafe { (api.KernelInfo_GetInputName)(info, index, to, size) };
        if index >= inputs || sized(api, name)?.is_empty() {
            return Ok(None);
        }
        let (mut constant, mut value) = (0, ptr::null());
        ask!(api, KernelInfoGetConstantInput_tensor(info, index, &mut constant, &mut value))?;
        if constant == 0 || value.is_null() {
            return Err(Failure::Later);
        }
        // SAFETY: Tensors: of a constant, until this call is over, which `self` does not outlive.
        unsafe { read(api, self.op, index, value) }.map(Some)
    }
}

impl Source for Inputs<'_> {
    fn get(&self, index: usize) -> Result<Option<Tensor<'_>>, Failure> {
        let (api, context, mut inputs, mut value) = (self.api, *self.context, 0, ptr::null());
        ask!(api, KernelContext_GetInputCount(context, &mut inputs))?;
        if index >= inputs {
            return Ok(None);
        }
        ask!(api, KernelContext_GetInput(context, index, &mut value))?;
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: Tensors: of an input, until this call is over, which `self` does not outlive.
        unsafe { read(api, self.op, index, value) }.map(Some)
    }
}

/// The sizes that the engine says.
fn sizes(api: Api, info: *const OrtTensorTypeAndShapeInfo) -> Result<Vec<i64>, Failure> {
    let mut count = 0;
    ask!(api, GetDimensionsCount(info, &mut count))?;
    let mut sizes = vec![0; count];
    ask!(api, GetDimensions(info, sizes.as_mut_ptr(), count)).map(|()| sizes)
}

/// An input of an operator.
///
/// # Safety
/// The value is a tensor that stays for `'c`.
unsafe fn read<'c>(api: Api, op: &Op, index: usize, value: *const OrtValue) -> Result<Tensor<'c>, Failure> {
    let Some(Input { name, element, .. }) = op.inputs.get(index) else {
        return refuse!("there is no input {index}");
    };
    let mut info = ptr::null_mut();
    ask!(api, GetTensorTypeAndShape(value, &mut info))?;
    let mut got = Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    let shape = ask!(api, GetTensorElementType(info, &mut got)).and_then(|()| sizes(api, info));
    // SAFETY: Functions: freed once.
    unsafe { (api.ReleaseTensorTypeAndShapeInfo)(info) };
    if got != element.theirs() {
        return refuse!("{name} has elements of {got:?}; expected {element:?}");
    }
    // Sizes are never negative.
    let shape: Vec<usize> = shape?.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    let (count, mut data) = (count(name, &shape)?, ptr::null_mut());
    ask!(api, GetTensorMutableData(value.cast_mut(), &mut data))?;
    if !data.addr().is_multiple_of(element.size()) {
        return refuse!("{name} is not aligned to {} bytes", element.size());
    }
    // SAFETY: Tensors: of the type that was just compared, and aligned.
    let data = unsafe {
        match element {
            Type::U8 | Type::I8 => Data::Codes { signed: *element == Type::I8, bytes: elements(data, count) },
            Type::I32 => Data::I32(elements(data, count)),
            Type::F32 => Data::F32(elements(data, count)),
        }
    };
    Ok(Tensor { name, shape, data })
}

/// Elements; none, if there are none.
///
/// # Safety
/// As many are there for `'c`, aligned.
unsafe fn elements<'c, T: Plain>(data: *const c_void, count: usize) -> &'c [T] {
    if count == 0 || data.is_null() {
        return &[];
    }
    // SAFETY: the caller promises it; a `Plain` may be any bits.
    unsafe { slice::from_raw_parts(data.cast(), count) }
}

/// A type of which every pattern of bits is a value.
///
/// # Safety
/// As it says.
pub(crate) unsafe trait Plain: Copy {}
macro_rules! plain {
    ($($t:ty),*) => {$(
        // SAFETY: a number.
        unsafe impl Plain for $t {}
    )*};
}
plain!(u8, i8, i32, f32);

impl<'c> Out<'c> {
    /// The output with this shape, as elements of the size that it has; what is in it is not specified.
    pub fn make<T: Plain>(self, shape: &[usize]) -> Result<&'c mut [T], Failure> {
        let (count, api) = (count("the output", shape)?, self.api);
        if size_of::<T>() != self.op.output.size() || count > isize::MAX as usize / size_of::<T>() {
            return refuse!("an output of {count} elements of {} bytes", size_of::<T>());
        }
        let dims: Vec<i64> = shape.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
        let (mut value, mut data) = (ptr::null_mut(), ptr::null_mut());
        ask!(api, KernelContext_GetOutput(*self.context, 0, dims.as_ptr(), dims.len(), &mut value))?;
        ask!(api, GetTensorMutableData(value, &mut data))?;
        if count == 0 || data.is_null() {
            return Ok(&mut []);
        }
        if !data.addr().is_multiple_of(align_of::<T>()) {
            return refuse!("the output is not aligned to {} bytes", align_of::<T>());
        }
        // SAFETY: Tensors: as many, of that size, any bits, ours alone: `self` is gone, and there is one a run.
        Ok(unsafe { slice::from_raw_parts_mut(data.cast(), count) })
    }
}

// SAFETY: the context is only used by the thread of the run: `perform` is not called from within a task.
unsafe impl Sync for Lent<'_> {}

impl Lent<'_> {
    /// Calls `task(i)` for every `i < tasks` on threads of the session, and returns when all calls have.
    pub fn perform(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        type Task<'t> = &'t (dyn Fn(usize) + Sync);
        unsafe extern "C" fn call(task: *mut c_void, index: usize) {
            // SAFETY: Threads: called while `perform` runs, with the pointer that it gave.
            let task: &Task<'_> = unsafe { &*task.cast_const().cast() };
            // A task that panics is one that was not done, which the library notices.
            drop(catch_unwind(AssertUnwindSafe(|| task(index))));
        }
        let data = ptr::from_ref::<Task<'_>>(&task).cast_mut().cast();
        // SAFETY: Functions, Arguments, Threads. No number of batches: one task is one.
        let status = unsafe { (self.api.KernelContext_ParallelFor)(*self.context, call, tasks, 0, data) };
        // Tasks that were not done are noticed, too.
        drop(check(self.api, status));
    }
}
