//! Writes the first files of the corpus, one an operator: `cargo run --bin seeds corpus/load`.

use std::path::PathBuf;
use std::{env, fs};

use zeropoint_tflite_fuzz::network::{Input, Params, Sliding, Step, Weights, What};

fn window() -> Sliding {
    Sliding { kernel: [2, 2], stride: [0, 1], dilation: [0, 0], same: true }
}

fn weights(signed: bool) -> Weights {
    let params = Params { scale: -112, zero_point: if signed { 0 } else { 131 } };
    Weights { outputs: 4, signed, per_channel: signed, params, seed: 1, bias: Some(100) }
}

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).expect("a folder"));
    fs::create_dir_all(&folder)?;
    for signed in [false, true] {
        let all = [
            What::Conv { window: window(), weights: weights(signed) },
            What::Depthwise { window: window(), weights: weights(signed), multiplier: 0 },
            What::Connected { weights: weights(signed), keep_dims: true },
            What::Add { other: 0 },
            What::Sub { other: 1 },
            What::Mul { other: 2 },
            What::AveragePool { window: window() },
            What::MaxPool { window: window() },
            What::Mean { axes: vec![1, 2], keep_dims: true },
            What::Reshape { flat: true },
            What::Softmax { beta: 32 },
            What::Quantize,
            What::Pad { pads: vec![0, 0, 1, 1, 2, 2] },
            What::Logistic,
            What::Tanh,
            What::Relu,
            What::Relu6,
        ];
        let params = Params { scale: -64, zero_point: 128 };
        for (index, what) in all.into_iter().enumerate() {
            let step = Step { what, activation: 1, params, turned: false, wrong: None };
            let input = Input { image: [3, 4, 2], signed, params, steps: vec![step], damage: Vec::new() };
            let file = input.model().write().expect("all numbers are small");
            let kind = if signed { "i8" } else { "u8" };
            fs::write(folder.join(format!("{kind}-{index:02}")), file)?;
        }
    }
    Ok(())
}
