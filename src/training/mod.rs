//! Training with simulated quantization: the other half of the paper (section 3), on slices, for any framework.
//!
//! The network is trained in floats. Where integers will round, [`FakeQuant`] rounds, forward; back, gradients pass straight through. Then
//! the layers are converted, and run in integers.
//!
//! ```text
//! weights      Fold: batch normalization into the layer before it (eq. 14)          fold.rs
//!              ranges -> Range -> Grid, at every step                                observe.rs, grid.rs
//!              FakeQuant (eq. 12), Gradients                                         fake_quant.rs, gradients.rs
//! activations  MovingAverage, MinMax, Histogram: ranges of what passes               observe.rs, histogram.rs
//!              Activations: averages, and quantizes after a delay                    delayed.rs
//! conversion   TrainedLayer -> ConvertedLayer -> Conv2d, DepthwiseConv2d, FullyConnected   convert.rs
//! ```
//!
//! Quantize weights before the layer, after folding; activations behind the activation function, or behind the sum or concatenation of a
//! bypass; biases not at all (paper 3).
//!
//! ```
//! use zeropoint::layers::Activation;
//! use zeropoint::training::*;
//! use zeropoint::{MatMut, MatRef, Rounding};
//! let codes = Levels::bits(8)?;
//!
//! // A step: the range of the weights, their fake quantization, and back.
//! let mut weights = [0.31f32, -0.72, 0.18, 0.55]; // two outputs of two inputs
//! let mut range = [Range::default()];
//! ranges(&weights, Axis::Tensor, &mut range)?;
//! let grid = range[0].symmetric(codes)?;
//! let fake = FakeQuant::new(&FakeQuantSpec::new(&[grid]))?;
//! let (mut seen, mut dw, mut gradients) = ([0.0; 4], [0.0; 4], Gradients::new(&fake)?);
//! fake.forward(&weights, &mut seen)?; // what the layer multiplies by
//! fake.backward(&weights, &[0.1, 0.2, 0.3, 0.4], &mut dw, &mut gradients)?;
//! weights.iter_mut().zip(dw).for_each(|(w, dw)| *w -= 0.01 * dw);
//!
//! // In the end: integers.
//! let trained = TrainedLayer {
//!     name: "dense",
//!     layout: WeightLayout::FullyConnected,
//!     weights: &weights,
//!     bias: &[0.1, -0.2],
//!     grids: &[grid],
//!     input: Grid::from_range(0.0, 1.0, codes)?,
//!     output: Grid::from_range(0.0, 2.0, codes)?,
//!     activation: Activation::Relu,
//!     rounding: Rounding::DoubleAway,
//! };
//! let layer = trained.convert()?.fully_connected::<u8, u8>()?;
//! let (input, mut out) = ([255u8, 51], [0u8; 2]); // 1.0 and 0.2
//! layer.run(MatRef::row_major(&input, 1, 2)?, MatMut::row_major(&mut out, 1, 2)?, &mut layer.workspace())?;
//! assert_eq!(out, [34, 11]); // 0.266 and 0.086
//! # Ok::<(), zeropoint::Error>(())
//! ```
//!
//! # The paper, item by item
//! Each with the tests that hold it; `kernels/` stands for those of the kernels' crate.
//!
//! | item | feature | tests |
//! |---|---|---|
//! | eq. 1, 2 | [`QuantParams`](crate::QuantParams), [`Grid`] | `quant::codes_survive_a_round_trip`, `observers::zero_is_exact_in_a_million_ranges` |
//! | eq. 3 to 5 | products, requantized | `properties::u8_codes_are_those_of_the_reference`, `properties::i8_codes_are_those_of_the_reference` |
//! | eq. 6 | multipliers of any size | `kernels/golden::multipliers`, `kernels/golden::multipliers_from_scales` |
//! | multipliers of 16 bits | [`Multiplier::to_int16`](crate::Multiplier::to_int16) | `convert::multipliers_of_16_bits_have_14_that_are_right` |
//! | eq. 7 to 9 | sums while packing, any zero points | `kernels/check::packing`, `bounds::the_longest_k_without_a_wrap` |
//! | eq. 10 | sums of 32 bits, and where they wrap | `kernels/check::longest_sums`, `bounds::sums_wrap_beyond_it` |
//! | eq. 11 | biases of scale S1 * S2 | `convert::integers_do_what_was_simulated`, `convert::groups_and_multipliers_are_converted`, `convert::what_integers_cannot_hold_is_named`, `quant::biases_are_rounded_and_saturated` |
//! | 2.4 | the output stage, fused | `kernels/check::block_stages`, `layers_golden::layers_of_real_networks_are_those_on_record` |
//! | appendix B, multiply and shift | rounding rules | `kernels/golden::q31`, `functions::products_are_those_of_appendix_b`, `convert::division_by_a_power_of_two_rounds_away_from_zero` |
//! | appendix B, never -128 | narrow weights, and proofs of what was packed | `observers::weights_are_never_the_smallest_code`, `convert::converted_weights_are_the_codes_of_their_grid`, `proven::only_pairs_of_least_weights_wrap` |
//! | u8 and i8 | the same results | `equivalence::signs_and_backends_change_no_bits` |
//! | eq. 12 | [`FakeQuant`] | `training::tensorflow_gives_the_same_bits`, `training::forward_is_dequantize_of_quantize`, `training::every_backend_has_the_bits_of_the_definition`, `training::every_real_is_rounded_as_defined` |
//! | eq. 13 | nudged ranges | `observers::zero_is_exact_in_a_million_ranges`, `observers::grids_of_ranges`, `quant::ranges` |
//! | straight-through gradients | [`Gradient`] | `training::tensorflow_gives_the_same_bits`, `training::gradients_are_differences_of_the_clamp`, `training::learned_gradients_are_those_of_held_codes`, `training::sums_have_the_order_of_tensorflow`, `training::long_sums_have_the_bits_of_the_definition` |
//! | 3.1, weights | [`ranges`], [`MinMax`], per tensor and per channel | `observers::ranges_are_the_ends_of_each_channel`, `observers::weights_are_never_the_smallest_code` |
//! | 3.1, activations | [`MovingAverage`] | `observers::averages_are_those_of_the_closed_form` |
//! | calibration | [`Histogram`] | `observers::percentiles_leave_out_what_they_say`, `observers::searches_are_as_good_as_all_pairs_of_ends`, `observers::histograms_do_not_depend_on_the_order_of_batches` |
//! | 3.1, delay | [`Activations`] | `observers::quantization_starts_at_its_step` |
//! | eq. 14 | [`Fold::inference`], three layouts | `observers::folded_layers_are_those_with_batch_normalization` |
//! | figures C.7, C.8 | [`Fold::weights`], [`Fold::correction`] | `observers::folded_layers_are_those_with_batch_normalization` |
//! | algorithm 1 | [`TrainedLayer::convert`] | `convert::integers_do_what_was_simulated`; of a whole network, `digits::eight_bits_cost_less_than_a_point` of `examples/qat` |
//! | figures C.3, C.4; A.2 | sums of codes | `layers_reals::sums_and_products_of_all_codes_are_next_to_the_real_ones`, `layers_pointwise::sums_and_products_of_all_codes_are_those_of_the_reference`, `layers_golden::layers_of_real_networks_are_those_on_record` |
//! | A.3 | concatenation | `layers_pointwise::moved_codes_are_those_of_the_reference`, `layers_errors::layers_without_weights` |
//! | A.1 | exp, logistic, tanh, softmax in integers | `functions::errors_in_16_bits_are_within_their_bounds_for_every_argument`, `functions::logistic_and_tanh_are_nearest_for_every_code`, `functions::softmax_is_nearest_at_any_length` |
//! | pooling | averages, means, maxima | `layers_reals::windows_of_all_sums_are_pooled_exactly`, `layers_reals::averages_between_two_codes_are_those_of_the_table`, `layers_pointwise::pools_are_those_of_the_reference` |
//! | table 4.6 | threads | `threads::bits_do_not_depend_on_threads` |
//! | tables 4.1, 4.7, 4.8 | accuracy of networks, over bits | measured by `examples/qat`; of 8 bits, `digits::eight_bits_cost_less_than_a_point` there |
//! | figure 1.1c | latency and accuracy of networks | measured: latency by `benches/peers/networks.py`, accuracy by `examples/qat` |

mod axis;
mod convert;
mod delayed;
mod fake_quant;
mod fold;
mod gradients;
mod grid;
mod histogram;
mod observe;

pub use axis::Axis;
pub use convert::{ConvertedLayer, TrainedLayer};
pub use delayed::Activations;
pub use fake_quant::{FakeQuant, FakeQuantSpec, Form, Gradient, TensorFlowSpec};
pub use fold::{BatchNorm, Fold, Statistics, WeightLayout, fold_batch_norm, moments};
pub use gradients::Gradients;
pub use grid::{Grid, Levels};
pub use histogram::Histogram;
pub use observe::{MinMax, MovingAverage, Range, Start, ranges};
