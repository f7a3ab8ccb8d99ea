//! Names the shared library as the loader will look for it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // While the version begins with 0, one with another second number is another interface.
        let [major, minor] = ["MAJOR", "MINOR"].map(|part| std::env::var(format!("CARGO_PKG_VERSION_{part}")));
        let (major, minor) = (major.expect("a version"), minor.expect("a version"));
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libzeropoint.so.{major}.{minor}");
    }
}
