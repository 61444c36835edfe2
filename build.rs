//! Puts the commit of the checkout into the program: `ROLLCALL_BUILT_FROM`.

#[path = "build/commit.rs"]
mod commit;

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/commit.rs");
    println!("cargo:rerun-if-env-changed=ROLLCALL_COMMIT");
    println!("cargo:rustc-env=ROLLCALL_BUILT_FROM={}", built_from());
}

fn built_from() -> String {
    if let Ok(given) = env::var("ROLLCALL_COMMIT") {
        return given;
    }
    // A debug build has what is being worked on. To watch the commit would compile everything again after each one.
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return "unknown: a debug build".into();
    }
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let found = commit::find(Path::new(&root));
    for file in &found.files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    found.commit.unwrap_or_else(|| "unknown: built outside of a checkout, without ROLLCALL_COMMIT".into())
}
