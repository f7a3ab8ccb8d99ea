//! The digits, trained briefly: what 8 bits cost, and that integers do what was simulated.

use candle_core::{Device, Tensor};
use zeropoint::layers::Activation;
use zeropoint_qat::data;
use zeropoint_qat::experiment::{Bits, Experiment};
use zeropoint_qat::integer::Network;
use zeropoint_qat::network::{Kind, Plan, Precision};
use zeropoint_qat::rng::Rng;
use zeropoint_qat::train::{self, Schedule};

#[test]
fn eight_bits_cost_less_than_a_point() {
    let sets = data::digits(1).unwrap();
    let float = Schedule { batch: 32, steps: 42 * 25, rate: 1e-2 };
    let tune = Schedule { steps: 42 * 4, rate: 2e-3, ..float };
    let experiment = Experiment { float, tune, tune_fewer: tune, stretched: None, bits: Bits::Eight };
    let outcome = experiment.run(&sets, 1, |_| ()).unwrap();
    assert_eq!(outcome.rows.len(), 2);
    for row in outcome.rows {
        println!("{row:?}");
        assert!(row.float >= 96.0, "float: {}", row.float);
        assert!(row.integer.integer_accuracy >= row.float - 1.0, "{row:?}");
        assert!(row.integer.same_class >= 99.5, "{row:?}");
        // Each layer by itself, and behind the whole network.
        assert!(row.integer.farthest_of_a_layer <= 1 && row.integer.farthest_score <= 1, "{row:?}");
    }
}

/// A channel whose weights are all 0, as there are in 3 bits, is nothing but its bias: integers round that as the simulation does.
#[test]
fn channels_of_nothing_do_what_was_simulated() {
    let sets = data::digits(1).unwrap();
    let [training, test] = &sets;
    let schedule = Schedule { batch: 32, steps: 42 * 2, rate: 1e-2 };
    let plan = Plan::new(training.side, Activation::Relu6);
    let network = train::float(plan, training, schedule, &mut Rng::new(1)).unwrap();
    // Weights of every layer but the first and the last: half of the channels.
    let layers = network.plan.layers.clone();
    for (layer, weights) in layers.iter().zip(network.variables()).take(layers.len() - 1).skip(1) {
        let each = weights.elem_count() / layer.outputs;
        let channel = |i: usize| if layer.kind == Kind::Depthwise { i % layer.outputs } else { i / each };
        let kept = (0..weights.elem_count()).map(|i| if channel(i) % 2 == 0 { 1.0f32 } else { 0.0 });
        let kept = Tensor::from_vec(kept.collect(), weights.dims(), &Device::Cpu).unwrap();
        weights.set(&weights.mul(&kept).unwrap()).unwrap();
    }
    for per_channel in [false, true] {
        let precision = Precision { weight_bits: 3, activation_bits: 3, per_channel };
        let simulation = train::calibrate(&network, precision, training).unwrap();
        let comparison = Network::convert(&simulation).unwrap().compare(&simulation, test).unwrap();
        println!("{comparison:?}");
        assert!(comparison.same_class >= 99.5 && comparison.farthest_score <= 1, "{comparison:?}");
        assert!(comparison.farthest_of_a_layer <= 1, "{comparison:?}");
    }
}
