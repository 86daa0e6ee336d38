//! Generates the C header into OUT_DIR; tests compare it with the committed one.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The tests of the C boundary compile for the target that the library was built for.
    println!("cargo::rustc-env=C_API_TARGET={}", std::env::var("TARGET").expect("cargo sets TARGET"));
    #[cfg(feature = "capi")]
    header();
}

#[cfg(feature = "capi")]
fn header() {
    use std::path::Path;
    let env = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let root = env("CARGO_MANIFEST_DIR");
    let root = Path::new(&root);
    println!("cargo::rerun-if-changed=src/ffi");
    let config = cbindgen::Config::from_file(root.join("src/ffi/cbindgen.toml")).expect("cbindgen.toml is readable");
    // The order of the families in the header.
    let families = [
        "version",
        "status",
        "context",
        "element",
        "matmul",
        "activation",
        "activation_half",
        "residual",
        "gate",
        "linear",
        "softmax",
        "softmax_half",
        "norm",
        "norm_half",
        "recurrent",
        "loss",
        "attention",
        "init",
        "optim",
        "clip",
        "step",
        "schedule",
        "convert",
        "monitor",
        "spectral",
        "data",
    ];
    let mut builder = cbindgen::Builder::new().with_config(config);
    for family in families {
        builder = builder.with_src(root.join(format!("src/ffi/{family}.rs")));
    }
    let bindings = builder.generate().expect("src/ffi can be read");
    bindings.write_to_file(Path::new(&env("OUT_DIR")).join("evenkeel.h"));
}
