//! No two tensors that live at the same time overlap; the arena is between the bound and the sum.

mod common;

use common::{NETWORKS, every_operation, network};
use proptest::prelude::*;
use zeropoint::layers::Activation;
use zeropoint_tflite::{ALIGN, Error, Kind, Model, Operation, Plan, Tensor};

fn is_reshape_of(model: &Model, a: usize, b: usize) -> bool {
    let source = |tensor: usize| {
        model
            .operators
            .iter()
            .find(|operator| operator.operation == Operation::Reshape && operator.outputs[0] == tensor)
            .and_then(|operator| operator.inputs[0])
    };
    let comes_from = |mut late: usize, early: usize| {
        while let Some(from) = source(late) {
            if from == early {
                return true;
            }
            late = from;
        }
        false
    };
    comes_from(a, b) || comes_from(b, a)
}

/// Returns the sum of all sizes.
fn check(model: &Model, plan: &Plan) -> usize {
    let mut sum = 0;
    for (a, place) in plan.places.iter().enumerate() {
        let Some(place) = place else { continue };
        sum += place.bytes.next_multiple_of(ALIGN);
        assert_eq!(place.offset % ALIGN, 0, "{a}");
        assert_eq!(Some(place.bytes), model.tensors[a].bytes(), "{a}");
        assert!(place.offset + place.bytes <= plan.arena, "{a}: {place:?}");
        for (b, other) in plan.places.iter().enumerate().skip(a + 1) {
            let Some(other) = other else { continue };
            let live = place.steps.start() <= other.steps.end() && other.steps.start() <= place.steps.end();
            let apart = place.offset + place.bytes <= other.offset || other.offset + other.bytes <= place.offset;
            if is_reshape_of(model, a, b) && place.offset == other.offset {
                // They share bytes: all that the first needs of them must be over when the second begins to be read.
                let meet =
                    place.steps.end().min(other.steps.end()) == place.steps.start().max(other.steps.start());
                assert!(meet || !live, "{a} {place:?}, {b} {other:?}");
            } else {
                assert!(apart || !live, "{a} {place:?} overlaps {b} {other:?}");
            }
        }
    }
    for (operator, place) in plan.workspaces.iter().enumerate() {
        sum += place.bytes.next_multiple_of(ALIGN);
        assert_eq!((place.offset % ALIGN, &place.steps), (0, &(operator + 1..=operator + 1)), "{operator}");
        assert!(place.offset + place.bytes <= plan.arena, "{operator}: {place:?}");
        for (tensor, other) in plan.places.iter().enumerate() {
            let Some(other) = other.as_ref().filter(|other| other.steps.contains(&(operator + 1))) else {
                continue;
            };
            let apart = place.offset + place.bytes <= other.offset || other.offset + other.bytes <= place.offset;
            assert!(apart || place.bytes == 0, "workspace {operator} {place:?} overlaps {tensor} {other:?}");
        }
    }
    // Written here a second time, from the steps alone; those that share bytes count once.
    let steps = model.operators.len() + 2;
    let most = (0..steps).map(|step| {
        let mut live: Vec<(usize, usize)> = plan
            .places
            .iter()
            .flatten()
            .chain(&plan.workspaces)
            .filter(|place| place.steps.contains(&step))
            .map(|place| (place.offset, place.bytes.next_multiple_of(ALIGN)))
            .collect();
        live.sort_unstable();
        live.dedup();
        live.iter().map(|(_, bytes)| bytes).sum::<usize>()
    });
    assert_eq!(most.max(), Some(plan.bound));
    assert!(plan.bound <= plan.arena && plan.arena <= sum, "{} {} {sum}", plan.bound, plan.arena);
    sum
}

#[test]
fn known_networks() {
    println!("{:30}{:>10}{:>10}{:>10}", "network", "arena", "bound", "sum");
    for name in NETWORKS {
        let Some(bytes) = network(name) else { continue };
        let model = Model::read(&bytes).expect(name);
        let plan = Plan::new(&model).expect(name);
        let sum = check(&model, &plan);
        println!("{name:30}{:10}{:10}{sum:10}", plan.arena, plan.bound);
    }
}

#[test]
fn reshape_moves_nothing() {
    let build = |keep: bool| {
        let mut model = Model::default();
        let input = model.add(Tensor::new("input", Kind::U8, &[2, 100]));
        let a = model.apply(Operation::Relu, &[Some(input)], Tensor::new("a", Kind::U8, &[2, 100]));
        let b = model.apply(Operation::Reshape, &[Some(a)], Tensor::new("b", Kind::U8, &[200]));
        let c = model.apply(Operation::Reshape, &[Some(b)], Tensor::new("c", Kind::U8, &[100, 2]));
        (model.inputs, model.outputs) = (vec![input], if keep { vec![a, c] } else { vec![c] });
        let plan = Plan::new(&model).expect("a valid model");
        check(&model, &plan);
        [a, b, c].map(|tensor| plan.places[tensor].as_ref().expect("an activation").offset)
    };
    let [a, b, c] = build(false);
    assert!(a == b && b == c);
    let [a, b, c] = build(true);
    assert!(a != b && b == c, "what the caller reads is not shared");
}

#[test]
fn faults_have_names() {
    let mut model = every_operation();
    check(&model, &Plan::new(&model).expect("a valid model"));
    model.operators[0].outputs[0] = 99;
    assert!(matches!(Plan::new(&model), Err(Error::TensorIndex { index: 99, count: 21, .. })));
    let mut model = every_operation();
    model.tensors[2].shape = vec![usize::MAX, 2];
    assert!(matches!(Plan::new(&model), Err(Error::TooLarge { tensor: 2, .. })));
    let mut model = every_operation();
    for tensor in [2, 3, 4] {
        model.tensors[tensor].kind = Kind::U8;
        model.tensors[tensor].shape = vec![isize::MAX as usize - 127];
    }
    assert_eq!(Plan::new(&model), Err(Error::Arena));
    for bytes in [usize::MAX, isize::MAX as usize] {
        assert_eq!(Plan::with_workspaces(&every_operation(), &[0, bytes]), Err(Error::Arena));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Graphs with long-lived tensors, reshapes that may share and reshapes that may not.
    #[test]
    fn live_tensors_lie_apart(
        nodes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1usize..2000, 0..3), 1..30),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        workspaces in prop::collection::vec(prop_oneof![Just(0usize), 1usize..3000], 0..40),
    ) {
        let mut model = Model::default();
        for bytes in [300, 1] {
            let input = model.add(Tensor::new("input", Kind::U8, &[bytes]));
            model.inputs.push(input);
        }
        for (a, b, bytes, what) in nodes {
            let count = model.tensors.len();
            let (a, b) = (a.index(count), b.index(count));
            let last = count - 1;
            match what {
                0 => {
                    let output = Tensor::new("sum", Kind::U8, &[bytes]);
                    model.apply(Operation::Add { activation: Activation::None }, &[Some(a), Some(b)], output)
                }
                1 => model.apply(Operation::Relu, &[Some(last)], Tensor::new("relu", Kind::U8, &[bytes])),
                _ => {
                    let shape = model.tensors[last].shape.clone();
                    model.apply(Operation::Reshape, &[Some(last)], Tensor::new("reshaped", Kind::U8, &shape))
                }
            };
        }
        for end in ends {
            let end = end.index(model.tensors.len());
            model.outputs.push(end);
        }
        let bare = Plan::new(&model).expect("a valid model");
        check(&model, &bare);
        let plan = Plan::with_workspaces(&model, &workspaces).expect("a valid model");
        check(&model, &plan);
        prop_assert_eq!(plan.workspaces.len(), workspaces.len().min(model.operators.len()));
        prop_assert!(plan.places.len() == bare.places.len() && bare.workspaces.is_empty());
    }
}
