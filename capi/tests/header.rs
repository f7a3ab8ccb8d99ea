//! `include/zeropoint.h` is what cbindgen makes of the sources. `ZEROPOINT_BLESS=1 cargo test --test header`
//! writes it.

use std::path::Path;

#[test]
fn is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let mut header = Vec::new();
    cbindgen::generate_with_config(root, config).expect("a header").write(&mut header);
    let path = root.join("include/zeropoint.h");
    if std::env::var_os("ZEROPOINT_BLESS").is_some() {
        std::fs::write(&path, &header).expect("to write the header");
    }
    let kept = std::fs::read(&path).expect("the header");
    assert!(kept == header, "{} is not what the sources say; ZEROPOINT_BLESS=1 writes it", path.display());
}
