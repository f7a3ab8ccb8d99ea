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
    let header = String::from_utf8(header).expect("text");
    for (name, number) in [
        ("MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
        ("MINOR", env!("CARGO_PKG_VERSION_MINOR")),
        ("PATCH", env!("CARGO_PKG_VERSION_PATCH")),
    ] {
        assert!(header.contains(&format!("#define ZEROPOINT_VERSION_{name} {number}\n")), "{name}");
    }
    // Comments before each function, back to the line that is none.
    let lines: Vec<_> = header.lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("zeropoint_status zeropoint_"))
    {
        let mut comments = lines[..at].iter().rev().take_while(|line| line.starts_with("//"));
        assert!(comments.any(|comment| comment.contains("hread-safe")), "{line}: says nothing of threads");
    }
    let kept = std::fs::read_to_string(&path).expect("the header");
    assert!(kept == header, "{} is not what the sources say; ZEROPOINT_BLESS=1 writes it", path.display());
}
