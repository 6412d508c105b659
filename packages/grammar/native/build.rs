use std::fs::read_to_string;

fn main() {
    println!("cargo:rerun-if-changed=Cargo.lock");
    println!("cargo:rustc-env=LLGUIDANCE_VERSION={}", locked("llguidance"));
    napi_build::setup();
}

/// The version that the lock file has of a crate.
fn locked(name: &str) -> String {
    let lock = read_to_string("Cargo.lock").expect("the lock file is beside this one");
    let package = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) = lock.split_once(&package).expect("the lock file has the crate");
    rest.split('"').next().expect("a version ends").to_string()
}
