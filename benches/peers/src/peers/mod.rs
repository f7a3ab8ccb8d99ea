//! The list of peers; a new one is a new file and a new line.

mod gemm_f32;
mod gemmkit;
mod litert;
mod mkl;
mod onednn;
mod onnxruntime;
mod rten;
mod tract;
mod zeropoint;

use crate::peer::Peer;

/// The name of the library that the others are compared with.
pub const OURS: &str = "zeropoint";
/// oneDNN with a weight zero point: reported beside the others, not among the rivals.
pub const WITH_WEIGHT_ZERO: &str = "onednn-wzp";

/// All peers, ours first.
pub fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(zeropoint::Zeropoint),
        Box::new(onednn::OneDnn::plain()),
        Box::new(onednn::OneDnn::with_weight_zero()),
        Box::new(mkl::Mkl::default()),
        Box::new(onnxruntime::OnnxRuntime::u8i8()),
        Box::new(onnxruntime::OnnxRuntime::u8u8()),
        Box::new(litert::LiteRt::i8i8()),
        Box::new(litert::LiteRt::u8u8()),
        Box::new(rten::Rten),
        Box::new(gemmkit::Gemmkit),
        Box::new(tract::Tract),
        Box::new(gemm_f32::GemmF32),
    ]
}
