//! The version and the commit of this build.

/// The commit, or why it is not known; `build.rs` has found it.
pub const COMMIT: &str = env!("ROLLCALL_BUILT_FROM");

/// As `--version` and `version` print it.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("ROLLCALL_BUILT_FROM"), ")");
