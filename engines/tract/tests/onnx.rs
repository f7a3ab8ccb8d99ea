//! A quantized ONNX graph in tract, with zeropoint's kernels and without: the same bytes, and how long each takes.

mod graph;

use std::time::{Duration, Instant};

use graph::{Graph, Int, Rng};
use tract_onnx::prelude::*;
use zeropoint_tract::{enable, enabled, explain, tiles};

type Plan = std::sync::Arc<TypedRunnableModel>;

/// Loads the file as anybody would.
fn load(file: &[u8], with: bool) -> TractResult<Plan> {
    enable(with);
    assert_eq!(enabled(), with);
    let model = tract_onnx::onnx().model_for_read(&mut &*file)?.into_optimized()?;
    enable(true);
    model.into_runnable()
}

/// The least time of a run, in turns.
fn times(plans: [&Plan; 2], inputs: &TVec<TValue>) -> TractResult<[Duration; 2]> {
    let mut least = [Duration::MAX; 2];
    for _ in 0..if cfg!(debug_assertions) { 2 } else { 30 } {
        for (plan, least) in plans.iter().zip(&mut least) {
            let start = Instant::now();
            plan.run(inputs.clone())?;
            *least = start.elapsed().min(*least);
        }
    }
    Ok(least)
}

/// Runs a graph both ways; says how many tiles were zeropoint's.
fn compare(name: &str, graph: Graph, inputs: TVec<TValue>) -> TractResult<u64> {
    let file = graph.encode();
    let plans = [load(&file, false)?, load(&file, true)?];
    let before = tiles();
    let expected = plans[0].run(inputs.clone())?;
    assert_eq!(tiles(), before, "{name}: zeropoint ran where it was not enabled");
    let got = plans[1].run(inputs.clone())?;
    let count = tiles() - before;
    assert_eq!(got, expected, "{name}");
    let distinct: std::collections::BTreeSet<_> = expected[0].as_bytes().iter().collect();
    assert!(distinct.len() > 16, "{name}: outputs of {} bytes say little", distinct.len());
    let [without, with] = times([&plans[0], &plans[1]], &inputs)?;
    println!("{name}: tract {without:?}, with zeropoint {with:?}, {count} tiles");
    Ok(count)
}

/// Layers of a transformer: tokens of 512, to 2,048 and back, with every node for products that ONNX has. Of larger
/// weights tract takes the sums at every run, which takes longer than all else.
fn perceptron<A: Int, W: Int>(tokens: usize) -> (Graph, TVec<TValue>) {
    let (inner, outer, mut rng) = (512, 2_048, Rng(7));
    let mut graph = Graph::new();
    graph.input::<A>("x", &[tokens, inner]);
    graph.q_linear_mat_mul::<A, W>("h", "x", [inner, outer], &mut rng);
    graph.q_linear_mat_mul::<A, W>("y", "h", [outer, inner], &mut rng);
    graph.mat_mul_integer::<A, W>("z", "y", [inner, inner], &mut rng);
    graph.output::<i32>("z", &[tokens, inner]);
    (graph, tvec![rng.tensor::<A>(&[tokens, inner]).into()])
}

/// The start of a residual network on 56 x 56 pixels: 3 x 3, 1 x 1 and strided convolutions, per channel and not.
fn convolutions<A: Int, W: Int>() -> (Graph, TVec<TValue>) {
    let mut rng = Rng(9);
    let mut graph = Graph::new();
    graph.input::<A>("x", &[1, 64, 56, 56]);
    graph.q_linear_conv::<A, W>("a", "x", [64, 64, 3, 3], 1, &mut rng);
    graph.q_linear_conv::<A, W>("b", "a", [128, 64, 1, 1], 1, &mut rng);
    graph.q_linear_conv::<A, W>("c", "b", [128, 128, 3, 3], 2, &mut rng);
    graph.conv_integer::<A, W>("z", "c", [256, 128, 3, 3], &mut rng);
    graph.output::<i32>("z", &[1, 256, 28, 28]);
    (graph, tvec![rng.tensor::<A>(&[1, 64, 56, 56]).into()])
}

#[test]
fn products() -> TractResult<()> {
    println!("{}", explain()?);
    for tokens in [128, 13, 2] {
        let count =
            |name: &str, (graph, inputs)| compare(&format!("products, {tokens} tokens, {name}"), graph, inputs);
        assert!(count("u8 x i8", perceptron::<u8, i8>(tokens))? > 0);
        assert!(count("u8 x u8", perceptron::<u8, u8>(tokens))? > 0);
        assert!(count("i8 x i8", perceptron::<i8, i8>(tokens))? > 0);
    }
    // One token is a product by a vector, which is left to tract.
    let (graph, inputs) = perceptron::<u8, i8>(1);
    assert_eq!(compare("products, 1 token, u8 x i8", graph, inputs)?, 0);
    Ok(())
}

/// One layer of 3 x 3, whose columns tract writes.
fn columns<A: Int, W: Int>() -> (Graph, TVec<TValue>) {
    let mut rng = Rng(11);
    let mut graph = Graph::new();
    graph.input::<A>("x", &[1, 64, 28, 28]);
    graph.conv_integer::<A, W>("z", "x", [100, 64, 3, 3], &mut rng);
    graph.output::<i32>("z", &[1, 100, 28, 28]);
    (graph, tvec![rng.tensor::<A>(&[1, 64, 28, 28]).into()])
}

#[test]
fn convolution() -> TractResult<()> {
    let text = explain()?;
    println!("{text}");
    let count = |name: &str, (graph, inputs)| compare(&format!("convolutions, {name}"), graph, inputs);
    // Those of 1 x 1 are products to tract, on every backend.
    assert!(count("u8 x i8", convolutions::<u8, i8>())? > 0);
    assert!(count("u8 x u8", convolutions::<u8, u8>())? > 0);
    assert!(count("i8 x i8", convolutions::<i8, i8>())? > 0);
    let written = !text.contains("left to tract");
    assert_eq!(count("3 x 3 alone, u8 x i8", columns::<u8, i8>())? > 0, written);
    assert_eq!(count("3 x 3 alone, i8 x i8", columns::<i8, i8>())? > 0, written);
    Ok(())
}
