//! Paths below `files/`.

use std::path::{Component, Path};

/// Why `path` cannot name a file below `files/`, whether it exists or not.
pub fn check_path(path: &str) -> Result<(), String> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.is_empty() || path.contains('\0') {
        return Err("a path below files/ cannot be empty".into());
    }
    if !Path::new(path).components().all(plain) {
        return Err(format!("`{path}` leaves files/: write a path below it, without `..`"));
    }
    Ok(())
}
