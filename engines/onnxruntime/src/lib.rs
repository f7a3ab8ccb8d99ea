//! Exact `QLinearMatMul`, `MatMulInteger` and `QLinearConv` for ONNX Runtime, in a domain of their own: `zeropoint`.
//!
//! ```text
//! edge.rs       the only `unsafe` code: what the engine calls, and what is called of it
//! operators.rs  the table of operators, one a combination of types
//! matmul.rs     QLinearMatMul, MatMulInteger
//! conv.rs       QLinearConv;  window.rs  its attributes
//! tensor.rs     inputs, with their names
//! scratch.rs    memory that is kept from run to run
//! transpose.rs  NCHW to NHWC and back
//! threads.rs    the threads that the session lends
//! failure.rs    messages
//! ```

mod conv;
mod edge;
mod failure;
mod matmul;
mod operators;
mod scratch;
mod tensor;
mod threads;
mod transpose;
mod window;
