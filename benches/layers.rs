//! Layers without weights, in ns an element, on the backend that is selected: `ZEROPOINT_BACKEND=avx2 cargo bench --bench layers`.
//! See `benches/README.md`.

mod common;

use common::{Bench, Rng, Table, number};
use zeropoint::layers::{Add, AveragePool2d, AveragePool2dSpec, BinarySpec, Mean, MeanSpec, Mul, Sub};
use zeropoint::{Code, Error, OutputCode, QuantParams, Rounding, TensorMut, TensorRef};

/// The block of a MobileNet, small enough for L1 with both operands, and a larger image.
const SHAPES: [[usize; 4]; 2] = [[1, 14, 14, 64], [1, 56, 56, 24]];

/// Runs of layers with one operand, and with two.
type One<'a> = dyn Fn(TensorRef<'_, u8>, TensorMut<'_, u8>) -> Result<(), Error> + 'a;
type Two<'a, C> = dyn Fn(TensorRef<'_, C>, TensorRef<'_, C>, TensorMut<'_, C>) -> Result<(), Error> + 'a;

fn main() {
    let mut bench = Bench::new();
    let backend = zeropoint::selected().expect("a backend").name();
    let mut table =
        Table::new(format!("{backend}, ns an element of the (larger) input"), &["layer", "shape", "ns"]);
    for shape in SHAPES {
        elementwise::<u8>(&mut bench, &mut table, "u8", shape);
        elementwise::<i8>(&mut bench, &mut table, "i8", shape);
        pooling(&mut bench, &mut table, shape);
    }
    table.print();
    bench.finish();
}

fn params<C: Code + OutputCode>(scale: f32, zero: u8) -> QuantParams<C> {
    let first = if C::SIGNED { -128 } else { 0 };
    QuantParams::new(scale, i32::from(zero) + first).expect("a scale")
}

fn codes<C: Code + TryFrom<i32>>(count: usize) -> Vec<C> {
    let mut rng = Rng::new(1);
    let first = if C::SIGNED { -128 } else { 0 };
    (0..count).map(|_| C::try_from(i32::from(rng.bits() as u8) + first).ok().expect("a code")).collect()
}

/// Sums, differences and products of two images, and of an image and channels or a code that are repeated.
fn elementwise<C>(bench: &mut Bench, table: &mut Table, code: &str, shape: [usize; 4])
where
    C: Code + OutputCode + TryFrom<i32>,
{
    let spec = BinarySpec::new(params::<C>(0.04, 120), params(0.03, 131), params(0.05, 117));
    let single = BinarySpec { rounding: Rounding::SingleEven, ..spec };
    let [_, _, _, channels] = shape;
    let (add, sub, mul) = (Add::new(&spec), Sub::new(&spec), Mul::new(&spec));
    let (add, sub, mul) = (add.expect("a layer"), sub.expect("a layer"), mul.expect("a layer"));
    let even = Add::new(&single).expect("a layer");
    let mut time = |what: &str, rhs: [usize; 4], run: &Two<'_, C>| {
        let count = |shape: [usize; 4]| shape.into_iter().product::<usize>();
        let ns = bench.ns(&format!("layers/{what}/{code}/{}", count(shape)), || {
            let (a, b) = (codes::<C>(count(shape)), codes::<C>(count(rhs)));
            let mut out = codes::<C>(count(shape));
            move || {
                let a = TensorRef::nhwc(&a, shape).expect("a view");
                let b = TensorRef::nhwc(&b, rhs).expect("a view");
                run(a, b, TensorMut::nhwc(&mut out, shape).expect("a view")).expect("runs");
            }
        });
        let Some(ns) = ns else { return };
        table.row([format!("{what}, {code}"), format!("{shape:?}"), number(Some(ns / count(shape) as f64), 3)]);
    };
    time("add", shape, &|a, b, out| add.run(a, b, out));
    time("add_channels", [1, 1, 1, channels], &|a, b, out| add.run(a, b, out));
    time("add_code", [1, 1, 1, 1], &|a, b, out| add.run(a, b, out));
    time("add_single_even", shape, &|a, b, out| even.run(a, b, out));
    time("sub", shape, &|a, b, out| sub.run(a, b, out));
    time("mul", shape, &|a, b, out| mul.run(a, b, out));
}

/// Averages of 3 x 3 windows, and of the whole image.
fn pooling(bench: &mut Bench, table: &mut Table, shape: [usize; 4]) {
    let count: usize = shape.into_iter().product();
    let [batch, height, width, channels] = shape;
    let pool = AveragePool2d::new(&AveragePool2dSpec::new([3, 3], params::<u8>(0.04, 120))).expect("a layer");
    let mean = Mean::new(&MeanSpec::new(params::<u8>(0.04, 120), params(0.03, 131))).expect("a layer");
    let mut time = |what: &str, out: [usize; 4], run: &One<'_>| {
        let ns = bench.ns(&format!("layers/{what}/u8/{count}"), || {
            let image = codes::<u8>(count);
            let mut to = vec![0; out.into_iter().product()];
            move || {
                let image = TensorRef::nhwc(&image, shape).expect("a view");
                run(image, TensorMut::nhwc(&mut to, out).expect("a view")).expect("runs");
            }
        });
        let Some(ns) = ns else { return };
        table.row([format!("{what}, u8"), format!("{shape:?}"), number(Some(ns / count as f64), 3)]);
    };
    time("average_3x3", [batch, height - 2, width - 2, channels], &|image, out| pool.run(image, out));
    time("mean", [batch, 1, 1, channels], &|image, out| mean.run(image, out));
}
