//! Pictures and recorded arrays, as the command reads them.

mod common;

use common::{from_environment, network, npz};
use zeropoint_tflite::{Kind, Model, Npz, NpzError, Picture, Tensor};

fn grey(width: usize, pixels: &[u8]) -> Picture {
    Picture::new([width, pixels.len() / width], 1, pixels.into()).unwrap()
}

#[test]
fn resizing_weighs_by_triangles() {
    // Of half the width: 3/7, 3/7, 1/7, and their mirror image. Of twice: 3/4 and 1/4, the ends alone.
    assert_eq!(grey(4, &[0, 70, 140, 210]).resized([2, 1]).pixels(), [50, 160]);
    assert_eq!(grey(1, &[0, 70, 140, 210]).resized([1, 2]).pixels(), [50, 160]);
    assert_eq!(grey(2, &[0, 100]).resized([4, 1]).pixels(), [0, 25, 75, 100]);
    // First across, with bytes in between: 0.5 and 1.5 become 1 and 2. First down, it would be 0 and 2.
    assert_eq!(grey(2, &[0, 1, 0, 3]).resized([1, 1]).pixels(), [2]);
    // A sixth of 3 is a tie, which the weight in 22 bits of fraction, rounded up, decides.
    assert_eq!(grey(6, &[0, 3, 0, 0, 0, 0]).resized([1, 1]).pixels(), [1]);
    assert_eq!(grey(1, &[255; 301]).resized([7, 5]).pixels(), [255; 35]);
    let colours = Picture::new([2, 1], 3, vec![0, 10, 20, 100, 110, 120]).unwrap();
    assert_eq!(colours.resized([4, 1]).pixels(), [0, 10, 20, 25, 35, 45, 75, 85, 95, 100, 110, 120]);
    assert_eq!(colours.resized([2, 1]), colours);
    assert_eq!(colours.resized([0, 1]).pixels(), []);
}

#[test]
fn codes_are_bytes_or_128_less() {
    let colours = Picture::new([2, 1], 3, vec![255, 255, 255, 255, 0, 0]).unwrap();
    let codes = |picture: &Picture, kind, shape: &[usize]| picture.codes(&Tensor::new("input", kind, shape));
    let (u8s, i8s) = (vec![255, 255, 255, 255, 0, 0], vec![127, 127, 127, 127, 128, 128]);
    assert_eq!(codes(&colours, Kind::U8, &[1, 1, 2, 3]).unwrap(), u8s);
    assert_eq!(codes(&colours, Kind::I8, &[1, 1, 2, 3]).unwrap(), i8s);
    assert_eq!(codes(&colours, Kind::U8, &[1, 1, 2, 1]).unwrap(), [255, 76]); // red: 0.299 * 255 = 76.2
    assert_eq!(codes(&grey(2, &[9, 200]), Kind::U8, &[1, 1, 2, 3]).unwrap(), [9, 9, 9, 200, 200, 200]);
    for (kind, shape) in [(Kind::F32, &[1, 1, 2, 3][..]), (Kind::U8, &[2, 1, 2, 3]), (Kind::I8, &[1, 2, 2])] {
        let message = codes(&colours, kind, shape).unwrap_err().to_string();
        assert!(message.contains(&format!("{kind:?} {shape:?}")), "{message}");
    }
    assert!(Picture::new([2, 1], 3, vec![0; 5]).is_none());
    assert!(Picture::new([1, 2], 2, vec![0; 4]).is_none());
}

#[test]
fn sample_pictures_are_the_recorded_inputs() {
    let (Some(models), Some(golden)) =
        (from_environment("ZEROPOINT_MODELS"), from_environment("ZEROPOINT_GOLDEN_NPZ"))
    else {
        return;
    };
    for (name, picture) in
        [("mobilenet_v1_0.25_128_quant", "grace_hopper.bmp"), ("pretrainedResnet_quant", "cat.bmp")]
    {
        let Some(model) = network(name) else { continue };
        let model = Model::read(&model).unwrap();
        let input = &model.tensors[model.inputs[0]];
        let npz = Npz::read(std::fs::read(golden.join(format!("{name}.npz"))).unwrap()).unwrap();
        let expected = npz.array("op00_conv_2d_in", input.kind, &input.shape).unwrap();
        let codes = Picture::read(&models.join(picture)).unwrap().codes(input).unwrap();
        assert!(codes == expected, "{picture} for {name}");
    }
}

#[test]
fn arrays_come_back() {
    let arrays = [("a", Kind::U8, vec![2, 3], vec![1, 2, 3, 4, 5, 6]), ("b", Kind::I8, vec![3], vec![7, 8, 200])];
    let npz = Npz::read(npz(&arrays)).unwrap();
    assert!(npz.keys().eq(["a", "b"]) && npz.has("b") && !npz.has("c"));
    for (key, kind, shape, data) in &arrays {
        assert_eq!(npz.array(key, *kind, shape).as_ref(), Ok(data));
    }
    let message = |key: &str, kind, shape: &[usize]| npz.array(key, kind, shape).unwrap_err().to_string();
    assert_eq!(message("c", Kind::U8, &[2]), "array \"c\" is missing");
    assert_eq!(message("a", Kind::I8, &[2, 3]), "array \"a\" is U8 [2, 3], not I8 [2, 3]");
    assert_eq!(message("b", Kind::I8, &[2]), "array \"b\" is I8 [3], not I8 [2]");
}

/// Shapes that promise more or fewer bytes than there are.
#[test]
fn arrays_of_another_length_are_refused() {
    for (shape, word) in [(vec![5], "more"), (vec![7], "fewer"), (vec![usize::MAX, 2], "overflow")] {
        for key in ["packed", "plain"] {
            let both = ["packed", "plain"].map(|key| (key, Kind::U8, shape.clone(), vec![1, 2, 3, 4, 5, 6]));
            let message = Npz::read(npz(&both)).unwrap().array(key, Kind::U8, &shape).unwrap_err().to_string();
            assert!(message.contains(key) && message.contains(word), "{message}");
        }
    }
}

#[test]
fn damaged_archives_give_errors_or_the_same_bytes() {
    let data: Vec<u8> = (0..60).collect();
    let keys = ["packed", "plain"];
    let whole = npz(&keys.map(|key| (key, Kind::U8, vec![6, 10], data.clone())));
    let read = |file: Vec<u8>| {
        let npz = Npz::read(file)?;
        keys.iter().map(|key| npz.array(key, Kind::U8, &[6, 10])).collect::<Result<Vec<_>, NpzError>>()
    };
    assert_eq!(read(whole.clone()).unwrap(), [data.clone(), data.clone()]);
    let mut refused = 0;
    for length in 0..whole.len() {
        assert!(read(whole[..length].to_vec()).is_err(), "cut at {length}");
    }
    for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut file = whole.clone();
        file[at] ^= 1 << bit;
        match read(file) {
            Ok(found) => assert_eq!(found, [data.clone(), data.clone()], "bit {bit} of byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > whole.len(), "{refused} of {}", 8 * whole.len());
}
