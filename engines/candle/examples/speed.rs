//! What candle takes in floats, and what the same layers take in integers: minima of runs in turns, on the threads of
//! rayon's pool.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear};
use zeropoint::QuantParams;
use zeropoint::layers::Activation;
use zeropoint_candle::{Output, QuantizedConv2d, QuantizedLinear, quantize};

/// For each line of a table.
const TIME: Duration = Duration::from_millis(1500);

/// The least microseconds of each, in turns.
fn fastest<const N: usize>(runs: [&dyn Fn() -> Result<Tensor>; N]) -> Result<[f64; N]> {
    let (start, mut least) = (Instant::now(), [f64::INFINITY; N]);
    while start.elapsed() < TIME {
        for (run, least) in runs.iter().zip(&mut least) {
            let start = Instant::now();
            run()?;
            *least = least.min(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(least)
}

fn random(shape: &[usize]) -> Result<Tensor> {
    Tensor::rand(-1f32, 1., shape, &Device::Cpu)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    println!("{}\n", zeropoint::explain());
    let range = QuantParams::from_range(-1.0, 1.0)?;
    let codes = Output::Codes(QuantParams::from_range(-16.0, 16.0)?, Activation::Relu);

    println!("Microseconds; candle is f32.\n");
    println!("| rows x inputs x outputs | candle | u8 to u8 | u8 to f32 | f32 to u8, `quantize` | candle / u8 |");
    println!("|---|--:|--:|--:|--:|--:|");
    for [m, k, n] in [[1, 1024, 1024], [16, 1024, 1024], [128, 768, 3072], [512, 512, 512]] {
        let float = Linear::new(random(&[n, k])?, Some(random(&[n])?));
        let ours = [codes, Output::Reals].map(|output| QuantizedLinear::from_float(&float, &range, output));
        let [to_codes, to_reals] = ours;
        let (to_codes, to_reals, x) = (to_codes?, to_reals?, random(&[m, k])?);
        let q = quantize(&x, &range)?;
        let [candle, u8s, f32s, quantized] =
            fastest([&|| float.forward(&x), &|| to_codes.forward(&q), &|| to_reals.forward(&q), &|| {
                quantize(&x, &range)
            }])?;
        let times = candle / u8s;
        println!("| {m} x {k} x {n} | {candle:.1} | {u8s:.1} | {f32s:.1} | {quantized:.1} | {times:.1} |");
    }

    println!(
        "\n| image, kernel | candle | u8, channels together | candle's order | the same, not copied | candle / u8 |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    for (side, [outputs, channels, kernel, groups], stride) in [
        (224, [32, 3, 3, 1], 2),
        (56, [64, 64, 3, 1], 1),
        (28, [128, 128, 1, 1], 1),
        (14, [256, 256, 3, 1], 1),
        (14, [256, 64, 3, 4], 1),
        (56, [128, 1, 3, 128], 1),
    ] {
        let config = Conv2dConfig { padding: kernel / 2, stride, groups, ..Conv2dConfig::default() };
        let bias = Some(random(&[outputs])?);
        let float = Conv2d::new(random(&[outputs, channels, kernel, kernel])?, bias, config);
        let ours = QuantizedConv2d::from_float(&float, &range, codes)?;
        let x = random(&[1, channels * groups, side, side])?;
        let q = quantize(&x, &range)?;
        let last = q.permute([0, 2, 3, 1])?.contiguous()?.permute([0, 3, 1, 2])?;
        assert_eq!((q.dtype(), last.dims()), (DType::U8, q.dims()));
        let permuted = q.permute([0, 2, 3, 1])?;
        let [candle, together, copied, gathered] =
            fastest([&|| float.forward(&x), &|| ours.forward(&last), &|| ours.forward(&q), &|| {
                permuted.apply_op1_no_bwd(&ours)
            }])?;
        let times = candle / together;
        let shape = format!(
            "{} x {side} x {side}, {outputs} x {channels} x {kernel} x {kernel}, stride {stride}",
            channels * groups
        );
        println!("| {shape} | {candle:.0} | {together:.0} | {copied:.0} | {gathered:.0} | {times:.1} |");
    }
    Ok(())
}
