//! The command, run as a user does.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{from_environment, npz};
use zeropoint::available;
use zeropoint::layers::{Activation, Padding};
use zeropoint_tflite::{Kind, Model, Operation, Tensor};

/// The command with these arguments.
fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zeropoint-tflite")).args(arguments).output().unwrap()
}

/// What it prints, if it succeeds.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = command(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says against these arguments.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = command(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    assert!(errors.starts_with("zeropoint-tflite: ") && errors.lines().count() == 1, "{errors}");
    errors
}

/// Files of one test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }

    /// A picture of one colour.
    fn picture(&self, name: &str, colour: [u8; 3]) -> String {
        let path = self.path(name);
        image::RgbImage::from_pixel(5, 4, image::Rgb(colour)).save(&path).unwrap();
        path
    }

    /// Three classes, red, green and blue, whose outputs are twice the mean of the channel.
    fn colours(&self) -> String {
        let codes = |name: &str, shape: &[usize]| Tensor::new(name, Kind::U8, shape).quantized(1.0, 0);
        let mut model = Model::default();
        let picture = model.add(codes("picture", &[1, 2, 2, 3]));
        let weights = Tensor::new("weights", Kind::U8, &[3, 1, 1, 3]).quantized(0.5, 3);
        let weights = model.add(weights.holding([5u8, 3, 3, 3, 5, 3, 3, 3, 5]));
        let (stride, padding, activation) = ([1, 1], Padding::Valid, Activation::None);
        let convolution = Operation::Conv2d { stride, dilation: [1, 1], padding, activation };
        let same = model.apply(convolution, &[Some(picture), Some(weights)], codes("same", &[1, 2, 2, 3]));
        let twice =
            model.apply(Operation::Add { activation }, &[Some(same), Some(same)], codes("twice", &[1, 2, 2, 3]));
        let pool = Operation::AveragePool2d { kernel: [2, 2], stride, padding, activation };
        let mean = model.apply(pool, &[Some(twice)], codes("mean", &[1, 1, 1, 3]));
        let classes = model.apply(Operation::Reshape, &[Some(mean)], codes("classes", &[1, 3]));
        (model.inputs, model.outputs) = (vec![picture], vec![classes]);
        self.write("colours.tflite", model.write().unwrap())
    }

    /// What that network does with a picture, by hand; the last byte of one array is one too large.
    fn golden(&self, name: &str, wrong: Option<&str>) -> String {
        let picture = vec![1, 2, 3, 5, 6, 7, 9, 10, 11, 121, 122, 123];
        let twice: Vec<u8> = picture.iter().map(|code| 2 * code).collect();
        let mean = vec![68, 70, 72];
        let (image, pixel) = (vec![1, 2, 2, 3], vec![1, 1, 1, 3]);
        let mut arrays = vec![
            ("op00_conv_2d_in", Kind::U8, image.clone(), picture.clone()),
            ("op00_conv_2d_out", Kind::U8, image.clone(), picture.clone()),
            ("op01_add_in0", Kind::U8, image.clone(), picture.clone()),
            ("op01_add_in1", Kind::U8, image.clone(), picture),
            ("op01_add_out", Kind::U8, image.clone(), twice.clone()),
            ("op02_average_pool_2d_in", Kind::U8, image, twice),
            ("op02_average_pool_2d_out", Kind::U8, pixel.clone(), mean.clone()),
            ("op03_reshape_in", Kind::U8, pixel, mean.clone()),
            ("op03_reshape_out", Kind::U8, vec![1, 3], mean),
        ];
        for (key, _, _, data) in &mut arrays {
            if Some(*key) == wrong {
                *data.last_mut().unwrap() += 1;
            }
        }
        self.write(name, npz(&arrays))
    }
}

#[test]
fn run_prints_the_best_classes() {
    let files = Files::new("run");
    let (model, labels) = (files.colours(), files.write("labels.txt", "red\ngreen\nblue\n"));
    for name in ["picture.png", "picture.bmp"] {
        let picture = files.picture(name, [10, 100, 50]);
        let run = |more: &[&str]| printed(&[&["run", &model, "--image", &picture], more].concat());
        let lines = |text: String| -> Vec<String> {
            text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        assert_eq!(lines(run(&[])), ["1 200 200.000000", "2 100 100.000000", "0 20 20.000000"]);
        let best = ["1 200 200.000000 green", "2 100 100.000000 blue"];
        assert_eq!(lines(run(&["--labels", &labels, "--top", "2", "--threads", "2"])), best);
        for backend in available() {
            assert_eq!(lines(run(&["--labels", &labels, "--top=2", "--backend", backend.name()])), best);
        }
    }
    // JPEG loses a little.
    let picture = files.picture("picture.jpeg", [10, 100, 50]);
    let text = printed(&["run", &model, "--image", &picture, "--labels", &labels, "--top", "1"]);
    assert!(text.lines().count() == 2 && text.contains("green"), "{text}");
}

#[test]
fn bench_prints_each_layer_and_the_whole() {
    let files = Files::new("bench");
    let model = files.colours();
    let backend = available().next().unwrap().name();
    let output =
        command(&["bench", &model, "--threads", "2", "--warmup", "1", "--runs", "3", "--backend", backend]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "no terminal, no progress: {text}");
    for (line, operator) in text.lines().skip(1).zip(["CONV_2D", "ADD", "AVERAGE_POOL_2D", "RESHAPE"]) {
        assert!(line.contains(operator), "{text}");
    }
    assert!(text.contains("latency: min ") && text.contains("of 3 whole runs on 2 threads"), "{text}");
    // 12 bytes each: the picture and the sum share a place.
    assert!(text.contains("bytes = arena 128 + packed weights "), "{text}");
    let percents = text.lines().skip(1).take(4).map(|line| line.split_whitespace().nth(5).unwrap());
    let sum: f64 = percents.map(|percent| percent.parse::<f64>().unwrap()).sum();
    assert!((sum - 100.0).abs() < 0.3, "{sum}: {text}");
}

#[test]
fn bench_says_the_same_to_programs() {
    let files = Files::new("bench-json");
    let text = printed(&["bench", &files.colours(), "--json", "--threads", "2", "--runs", "3"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    let bench: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&bench["threads"], &bench["runs"], &bench["arena"]),
        (&2.into(), &3.into(), &128.into()),
        "{text}"
    );
    let layers = bench["layers"].as_array().unwrap();
    let names: Vec<_> = layers.iter().map(|layer| layer["operator"].as_str().unwrap()).collect();
    assert_eq!(names, ["CONV_2D", "ADD", "AVERAGE_POOL_2D", "RESHAPE"]);
    assert_eq!(bench["macs"], layers.iter().map(|layer| layer["macs"].as_u64().unwrap()).sum::<u64>());
    let (least, median) = (bench["min_us"].as_f64().unwrap(), bench["median_us"].as_f64().unwrap());
    assert!(0.0 < least && least <= median, "{text}");
}

#[test]
fn compare_finds_one_wrong_byte() {
    let files = Files::new("compare");
    let model = files.colours();
    let right = files.golden("right.npz", None);
    for how in [&[][..], &["--whole"], &["--threads", "2"], &["--rounding", "single_even"]] {
        let text = printed(&[&["compare", &model, "--golden", &right], how].concat());
        assert!(text.ends_with("\n4 layers compared, 0 bytes differ\n"), "{text}");
        assert_eq!(text.lines().count(), 6, "{text}");
    }
    let wrongs = [
        ("op00_conv_2d_out", "operator 0 (CONV_2D)"),
        ("op01_add_out", "operator 1 (ADD)"),
        ("op02_average_pool_2d_out", "operator 2 (AVERAGE_POOL_2D)"),
        ("op03_reshape_out", "operator 3 (RESHAPE)"),
    ];
    for (index, (key, name)) in wrongs.into_iter().enumerate() {
        let golden = files.golden("wrong.npz", Some(key));
        for how in [&[][..], &["--whole"]] {
            let output = command(&[&["compare", &model, "--golden", &golden], how].concat());
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(1), "{key}: {text}");
            assert!(text.contains(&format!("1 bytes differ, the first in {name}\n")), "{key}: {text}");
            let row = text.lines().nth(index + 1).unwrap();
            let numbers: Vec<_> = row.split_whitespace().rev().take(2).collect();
            assert_eq!(numbers, ["1", "1"], "{key}: {row}");
        }
    }
    // A wrong input: alone, its layer differs; in the whole, all others do.
    let golden = files.golden("wrong.npz", Some("op00_conv_2d_in"));
    let output = command(&["compare", &model, "--golden", &golden, "--whole"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("operator 0"), "{text}");
    let row = text.lines().nth(2).unwrap();
    assert!(row.trim_end().ends_with(" 2") && row.contains("ADD"), "twice one: {text}");
}

#[test]
fn inspect_prints_operators_tensors_and_places() {
    let model = Files::new("inspect").colours();
    let text = printed(&["inspect", &model]);
    for part in ["Conv2d { stride: [1, 1]", "[3, 1, 1, 3]", "constant  weights", "arena 128 bytes", "1 to 2"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn wrong_arguments_are_named() {
    let files = Files::new("arguments");
    let model = files.colours();
    let m = model.as_str();
    let picture = files.picture("picture.png", [1, 2, 3]);
    let (p, none) = (picture.as_str(), "no/such/file");
    let short = files.write("short.txt", "red\n");
    let text = files.write("text.txt", "neither model nor picture nor archive");
    let text = text.as_str();
    let golden = files.golden("golden.npz", None);
    let empty = files.write("empty.npz", npz(&[]));
    let foreign = files.write("foreign.npz", npz(&[("op00_add_out", Kind::U8, vec![1], vec![1])]));
    let lonely = npz(&[("op01_add_out", Kind::U8, vec![1, 2, 2, 3], vec![1; 12])]);
    let lonely = files.write("lonely.npz", lonely);
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &["COMMAND", "run, bench, compare, inspect"]),
        (&["walk"], &["COMMAND", "\"walk\""]),
        (&["--frob"], &["--frob"]),
        (&["run"], &["MODEL"]),
        (&["run", m], &["--image: missing"]),
        (&["run", m, "--image"], &["--image"]),
        (&["run", none, "--image", p], &["MODEL no/such/file"]),
        (&["run", text, "--image", p], &["MODEL", "text.txt", "TFL3"]),
        (&["run", m, "--image", none], &["--image no/such/file"]),
        (&["run", m, "--image", text], &["--image", "text.txt"]),
        (&["run", m, "--image", p, "--labels", none], &["--labels no/such/file"]),
        (&["run", m, "--image", p, "--labels", &short], &["--labels", "1 lines, but there are 3 classes"]),
        (&["run", m, "--image", p, "--top", "0"], &["--top", "\"0\"", "1 or more"]),
        (&["run", m, "--image", p, "--top", "many"], &["--top", "\"many\""]),
        (&["run", m, p, "--image", p], &["run", "picture.png", "--image"]),
        (&["run", m, "--image", p, "--golden", &golden], &["run", "--golden"]),
        (&["bench", m, "--threads", "0"], &["--threads", "1 to 256"]),
        (&["bench", m, "--runs", "-3"], &["--runs", "\"-3\""]),
        (&["bench", m, "--json=yes"], &["--json"]),
        (&["run", m, "--image", p, "--json"], &["run", "--json"]),
        (&["bench", m, "--warmup", "1.5"], &["--warmup", "\"1.5\""]),
        (&["bench", m, "--backend", "abacus"], &["--backend: \"abacus\" is unknown", "scalar"]),
        (&["bench", m, "--rounding", "up"], &["--rounding", "\"up\"", "litert-reference", "single_even"]),
        (&["bench", m, "--rounding", "int_mul_shift"], &["--rounding", "\"int_mul_shift\""]),
        (&["compare", m], &["--golden: missing"]),
        (&["compare", m, "--golden", none], &["--golden no/such/file"]),
        (&["compare", m, "--golden", text], &["--golden", "text.txt", "not an .npz file"]),
        (&["compare", m, "--golden", &empty], &["--golden", "empty.npz", "no layer"]),
        (&["compare", m, "--golden", &foreign], &["--golden", "\"op00_conv_2d_out\"", "\"op00_add_out\""]),
        (&["compare", m, "--golden", &lonely], &["--golden", "\"op01_add_in\""]),
        (&["compare", m, "--golden", &lonely, "--whole"], &["--golden", "\"op00_conv_2d_in\""]),
        (&["compare", m, "--golden", &golden, "--whole=yes"], &["--whole"]),
        (&["inspect", m, "--top", "3"], &["inspect", "--top", "no options"]),
        (&["inspect", none], &["MODEL no/such/file"]),
    ];
    for (arguments, parts) in cases {
        let message = refused(arguments);
        for part in *parts {
            assert!(message.contains(part), "{arguments:?}: {part} is not in {message}");
        }
    }
    for help in ["--help", "-h", "help"] {
        assert!(printed(&[help]).contains("zeropoint-tflite compare MODEL --golden FILE.npz"));
    }
    assert!(printed(&["run", "--help"]).contains("--image PICTURE"));
}

/// Networks that have no picture as input, or none as output, are refused, not met by a panic.
#[test]
fn networks_without_a_picture_are_refused() {
    let files = Files::new("pictureless");
    let picture = files.picture("picture.png", [1, 2, 3]);
    let codes = |shape: &[usize]| Tensor::new("codes", Kind::U8, shape).quantized(1.0, 0);
    for (shape, part) in [(&[1, 4][..], "U8 [1, 4]"), (&[1, 2, 2, 4], "U8 [1, 2, 2, 4]")] {
        let mut model = Model::default();
        let input = model.add(codes(shape));
        let output = model.apply(Operation::Relu, &[Some(input)], codes(shape));
        (model.inputs, model.outputs) = (vec![input], vec![output]);
        let path = files.write("model.tflite", model.write().unwrap());
        let message = refused(&["run", &path, "--image", &picture]);
        assert!(message.contains("MODEL") && message.contains(part), "{message}");
        (model.inputs, model.outputs) = (vec![input], vec![output, output]);
        let path = files.write("model.tflite", model.write().unwrap());
        let message = refused(&["run", &path, "--image", &picture]);
        assert!(message.contains("2 outputs, not 1"), "{message}");
    }
}

/// Class and code of the best, for each of two pictures.
type Answers = [&'static [(usize, i32)]; 2];

/// Of the README of the sample networks.
const ANSWERS: [(&str, Answers); 6] = [
    ("mobilenet_v1_0.25_128_quant", [&[(401, 91), (668, 28), (835, 22)], &[(286, 32), (283, 28), (282, 19)]]),
    ("mobilenet_v2_1.0_224_quant", [&[(653, 239), (458, 2), (753, 2)], &[(286, 205), (282, 26), (283, 9)]]),
    ("tf2_mobilenet_v2_1.0_224_ptq", [&[(653, 186), (440, 14), (668, 8)], &[(286, 160), (282, 31), (283, 17)]]),
    ("pretrainedResnet_quant", [&[(9, 111)], &[(3, 103), (5, -103)]]),
    ("kws_ref_model", [&[(11, 121)], &[(11, 127)]]),
    ("vww_96_int8", [&[(1, 102)], &[(0, 116)]]),
];

#[test]
fn sample_pictures_have_the_recorded_classes() {
    let Some(models) = from_environment("ZEROPOINT_MODELS") else { return };
    let path = |name: &str| models.join(name).to_str().unwrap().to_owned();
    for (name, answers) in ANSWERS {
        for (picture, expected) in ["grace_hopper.bmp", "cat.bmp"].into_iter().zip(answers) {
            let (model, picture) = (path(&format!("{name}.tflite")), path(picture));
            let top = expected.len().to_string();
            let text = printed(&["run", &model, "--image", &picture, "--top", &top]);
            let found = text.lines().skip(1).map(|line| {
                let mut words = line.split_whitespace();
                let mut next = || words.next().unwrap();
                (next().parse().unwrap(), next().parse().unwrap())
            });
            assert_eq!(found.collect::<Vec<(usize, i32)>>(), expected, "{name}, {picture}");
        }
    }
}

#[test]
fn recorded_layers_are_met() {
    let (Some(models), Some(golden)) =
        (from_environment("ZEROPOINT_MODELS"), from_environment("ZEROPOINT_GOLDEN_NPZ"))
    else {
        return;
    };
    for (name, layers) in
        [("mobilenet_v1_0.25_128_quant", 31), ("pretrainedResnet_quant", 16), ("kws_ref_model", 13)]
    {
        let file =
            |folder: &Path, ending: &str| folder.join(format!("{name}.{ending}")).to_str().unwrap().to_owned();
        let (model, golden) = (file(&models, "tflite"), file(&golden, "npz"));
        for how in [&[][..], &["--whole"]] {
            let text = printed(&[&["compare", &model, "--golden", &golden], how].concat());
            assert!(text.ends_with(&format!("\n{layers} layers compared, 0 bytes differ\n")), "{text}");
        }
    }
    // Another rule is found out, and where.
    let golden = golden.join("pretrainedResnet_quant.npz");
    let model = models.join("pretrainedResnet_quant.tflite");
    let [model, golden] = [&model, &golden].map(|path| path.to_str().unwrap());
    let output = command(&["compare", model, "--golden", golden, "--rounding", "double_away"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("1 bytes differ, the first in operator 14 (FULLY_CONNECTED)"), "{text}");
}
