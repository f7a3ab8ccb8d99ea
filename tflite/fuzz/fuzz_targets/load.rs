//! Files, noise or nearly right, from their bytes to one run: an error, or the same bytes on two backends.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use zeropoint_tflite::Model;
use zeropoint_tflite_fuzz::network::Input;
use zeropoint_tflite_fuzz::{check, is_file};

fuzz_target!(|bytes: &[u8]| {
    if is_file(bytes) {
        return check(bytes);
    }
    assert!(Model::read(bytes).is_err(), "a file without an identifier");
    if let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) {
        let model = input.model();
        let mut file = model.write().expect("all numbers are small");
        assert_eq!(Model::read(&file).as_ref(), Ok(&model));
        input.damage(&mut file);
        check(&file);
    }
});
