//! oneDNN: the matmul primitive, u8 x i8, with weights reordered once to the format that it asks for.

mod api;

use std::cell::OnceCell;
use std::ffi::CStr;
use std::ptr;

use api::*;

use crate::case::{Aligned, BOTH, Case, LHS_ONLY, OUT_ZERO, Output, Room, Rule, Variant, Zeros, aligned};
use crate::isa::Isa;
use crate::library::Handle;
use crate::peer::{Held, Peer, Product, Ready, switch};
use crate::shape::Shape;

pub struct OneDnn {
    name: &'static str,
    zeros: Zeros,
    engine: OnceCell<Result<Engine, String>>,
}

impl OneDnn {
    /// With the easier zero point of the weights: none.
    pub fn plain() -> Self {
        Self { name: "onednn", zeros: LHS_ONLY, engine: OnceCell::new() }
    }

    pub fn with_weight_zero() -> Self {
        Self { name: super::WITH_WEIGHT_ZERO, zeros: BOTH, engine: OnceCell::new() }
    }
}

impl Peer for OneDnn {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_rival(&self) -> bool {
        self.zeros == LHS_ONLY
    }

    fn has(&self, variant: Variant) -> bool {
        match variant {
            Variant::I32 => self.zeros == LHS_ONLY,
            Variant::U8 => true,
            Variant::U8Q31 => false,
        }
    }

    fn hold(&self, isa: Isa) -> Held {
        let names = ["AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"];
        switch("ONEDNN_MAX_CPU_ISA", isa, names.map(Some))
    }

    fn prepare<'c>(&'c self, case: &'c Case, variant: Variant, _: usize) -> Ready<'c> {
        let engine = self.engine.get_or_init(Engine::new).as_ref().map_err(Clone::clone)?;
        Ok(Box::new(Prepared::new(engine, case, self.zeros, Room::new(case.shape, variant))?))
    }
}

/// The engine and its stream; both live as long as the process.
struct Engine {
    dnnl: Functions,
    engine: Handle,
    stream: Handle,
}

impl Engine {
    fn new() -> Result<Self, String> {
        let dnnl = Functions::load()?;
        let (mut engine, mut stream) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: both handles are written, the engine before it is used.
        unsafe {
            done("engine", (dnnl.engine_create)(&mut engine, CPU, 0))?;
            done("stream", (dnnl.stream_create)(&mut stream, engine, IN_ORDER))?;
        }
        Ok(Self { dnnl, engine, stream })
    }

    /// The description of a dense tensor.
    fn tensor(&self, sizes: &[usize], element: i32, format: i32) -> Result<Owned, String> {
        let sizes: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
        let (create, count) = (self.dnnl.memory_desc_create_with_tag, sizes.len() as i32);
        Owned::new(self.dnnl.memory_desc_destroy, |handle| {
            // SAFETY: there are `count` sizes.
            done("tensor", unsafe { create(handle, count, sizes.as_ptr(), element, format) })
        })
    }

    /// Memory at `data`, which must hold what `tensor` describes and outlive it.
    fn memory<T>(&self, tensor: Handle, data: *const T) -> Result<Owned, String> {
        let (create, data) = (self.dnnl.memory_create, data.cast_mut().cast());
        Owned::new(self.dnnl.memory_destroy, |handle| {
            // SAFETY: the tensor is one of this engine's.
            done("memory", unsafe { create(handle, tensor, self.engine, data) })
        })
    }

    fn primitive(&self, what: &str, description: &Owned) -> Result<Owned, String> {
        Owned::new(self.dnnl.primitive_destroy, |handle| {
            // SAFETY: the description is one of this library's.
            done(what, unsafe { (self.dnnl.primitive_create)(handle, description.handle) })
        })
    }

    fn execute(&self, primitive: &Owned, arguments: &[Argument]) {
        // SAFETY: primitive and memory are this engine's and alive.
        let status = unsafe {
            (self.dnnl.primitive_execute)(
                primitive.handle,
                self.stream,
                arguments.len() as i32,
                arguments.as_ptr(),
            ) | (self.dnnl.stream_wait)(self.stream)
        };
        assert_eq!(status, 0, "oneDNN runs");
    }
}

struct Prepared<'c> {
    engine: &'c Engine,
    description: Owned,
    primitive: Owned,
    arguments: Vec<Argument>,
    zeros: Zeros,
    out: Room,
    /// What the arguments point to.
    _memories: Vec<Owned>,
    _weights: Aligned<u8>,
    _bias: Vec<f32>,
    _zeros: Box<[i32; 3]>,
}

impl<'c> Prepared<'c> {
    fn new(engine: &'c Engine, case: &'c Case, zeros: Zeros, mut out: Room) -> Result<Self, String> {
        let Shape { m, k, n } = case.shape;
        let dnnl = &engine.dnnl;
        let codes = matches!(out, Room::Codes(_));
        let lhs = engine.tensor(&[m, k], U8, AB)?;
        let rhs = engine.tensor(&[k, n], S8, AB)?;
        let any = engine.tensor(&[k, n], S8, ANY)?;
        let bias = engine.tensor(&[1, n], F32, AB)?;
        let scales = engine.tensor(&[n], F32, A)?;
        let zero = engine.tensor(&[1], S32, A)?;
        let dst = engine.tensor(&[m, n], if codes { U8 } else { S32 }, AB)?;

        // SAFETY: the attributes are this library's.
        let attributes = Owned::new(dnnl.primitive_attr_destroy, |handle| unsafe {
            let mut status = (dnnl.primitive_attr_create)(handle);
            if codes {
                // One scale a column, one zero point for all.
                status |= (dnnl.primitive_attr_set_scales_mask)(*handle, WEIGHTS, 2);
                status |= (dnnl.primitive_attr_set_zero_points_mask)(*handle, SRC, 0);
                status |= (dnnl.primitive_attr_set_zero_points_mask)(*handle, DST, 0);
            }
            if codes && zeros.rhs != 0 {
                status |= (dnnl.primitive_attr_set_zero_points_mask)(*handle, WEIGHTS, 0);
            }
            done("attributes", status)
        })?;
        let no_bias = ptr::null_mut();
        let description = Owned::new(dnnl.primitive_desc_destroy, |handle| {
            let (engine, bias) = (engine.engine, if codes { bias.handle } else { no_bias });
            let (create, attributes) = (dnnl.matmul_primitive_desc_create, attributes.handle);
            // SAFETY: all handles are this library's.
            let status = unsafe { create(handle, engine, lhs.handle, any.handle, bias, dst.handle, attributes) };
            done("matmul", status)
        })?;
        let primitive = engine.primitive("matmul", &description)?;

        // SAFETY: the description is alive, and so is the format that it owns.
        let (format, bytes) = unsafe {
            let format = (dnnl.primitive_desc_query_md)(description.handle, WEIGHTS_FORMAT, 0);
            (format, (dnnl.memory_desc_get_size)(format))
        };
        let mut packed = aligned(vec![0u8; bytes]);
        let plain = engine.memory(rhs.handle, case.rhs.as_ptr())?;
        let weights = engine.memory(format, packed.as_mut_ptr())?;
        let reorder = Owned::new(dnnl.primitive_desc_destroy, |handle| {
            let (create, engine) = (dnnl.reorder_primitive_desc_create, engine.engine);
            // SAFETY: all handles are this library's.
            done("reorder", unsafe { create(handle, rhs.handle, engine, format, engine, ptr::null_mut()) })
        })?;
        let ends =
            [Argument { which: SRC, memory: plain.handle }, Argument { which: DST, memory: weights.handle }];
        engine.execute(&engine.primitive("reorder", &reorder)?, &ends);

        // oneDNN adds the bias after scaling.
        let reals: Vec<f32> =
            case.bias.iter().zip(&case.scales).map(|(bias, scale)| *bias as f32 * scale).collect();
        let points = Box::new([zeros.lhs, OUT_ZERO, zeros.rhs]);
        let to = match &mut out {
            Room::Sums(out) => engine.memory(dst.handle, out.as_mut_ptr()),
            Room::Codes(out) => engine.memory(dst.handle, out.as_mut_ptr()),
        };
        let mut memories =
            vec![(SRC, engine.memory(lhs.handle, case.lhs.as_ptr())?), (WEIGHTS, weights), (DST, to?)];
        if codes {
            memories.push((BIAS, engine.memory(bias.handle, reals.as_ptr())?));
            memories.push((SCALES | WEIGHTS, engine.memory(scales.handle, case.scales.as_ptr())?));
            let sides = if zeros.rhs == 0 { &[SRC, DST][..] } else { &[SRC, DST, WEIGHTS] };
            for (side, point) in sides.iter().zip(points.iter()) {
                memories.push((ZERO_POINTS | side, engine.memory(zero.handle, point)?));
            }
        }
        let arguments = memories.iter().map(|(which, memory)| Argument { which: *which, memory: memory.handle });
        Ok(Self {
            engine,
            description,
            primitive,
            arguments: arguments.collect(),
            zeros,
            out,
            _memories: memories.into_iter().map(|(_, memory)| memory).collect(),
            _weights: packed,
            _bias: reals,
            _zeros: points,
        })
    }
}

impl Product for Prepared<'_> {
    fn run(&mut self) {
        self.engine.execute(&self.primitive, &self.arguments);
    }

    fn output(&self) -> Output<'_> {
        match &self.out {
            Room::Sums(out) => Output::plain(out),
            Room::Codes(out) => Output::codes(out, self.zeros, Rule::Rounded),
        }
    }

    fn kernel(&self) -> String {
        let mut text = ptr::null();
        // SAFETY: the description is alive and owns the text.
        unsafe {
            let query = self.engine.dnnl.primitive_desc_query;
            if query(self.description.handle, IMPLEMENTATION, 0, &mut text) != 0 {
                return String::new();
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}
