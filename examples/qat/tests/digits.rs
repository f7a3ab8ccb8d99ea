//! The digits, trained briefly: what 8 bits cost, and that integers do what was simulated.

use zeropoint_qat::data;
use zeropoint_qat::experiment::{Bits, Experiment};
use zeropoint_qat::train::Schedule;

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
