//! Paths that steps may name.

/// Directories of the system; entries directly below them are not deleted either.
const SYSTEM: [&str; 3] = ["/usr", "/var", "/boot"];

/// Why a path must not be deleted, whether it exists or not. The host checks again once links are resolved.
pub fn check_delete(path: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("`{path}` is not deleted: {why}"));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if path.trim().is_empty() || path.contains('\0') {
        return refused("it is empty");
    }
    if parts.is_empty() {
        return refused("it is no file or directory below another");
    }
    if parts.contains(&"..") {
        return refused("it goes up by `..`; write where it is");
    }
    let is_system = path.starts_with('/')
        && (parts.len() == 1 || parts.len() == 2 && SYSTEM.contains(&format!("/{}", parts[0]).as_str()));
    if is_system { refused("the system needs it; delete what is in it by name") } else { Ok(()) }
}

/// Why a path leaves the directory that it is meant for.
pub fn check_below(path: &str) -> Result<(), String> {
    if path.is_empty() || path.ends_with('/') {
        return Err(format!("`{path}` names no file"));
    }
    if path.contains(['\0', '\n', '\r']) {
        return Err(format!("{path:?} is no plain path"));
    }
    if path.starts_with('/') || path.split('/').any(|part| part == ".." || part == "." || part.is_empty()) {
        return Err(format!("`{path}` is no plain path below a directory: no `/` in front, no `..`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_needs_is_not_deleted() {
        for path in [
            "",
            " ",
            "/",
            "//",
            ".",
            "./",
            "..",
            "a/..",
            "/srv/../etc",
            "/etc",
            "/home/",
            "//usr",
            "/usr/lib",
            "/var/./log",
        ] {
            assert!(check_delete(path).is_err(), "{path}");
        }
        for path in ["a", "a/b", "/srv/app", "/tmp/x", "/usr/lib/x", "/home/ann", "..a", "/etc/x.conf"] {
            assert_eq!(check_delete(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_is_below_stays_below() {
        for path in ["", "/a", "../a", "a/../b", "a//b", "./a", "a/", "a\nb"] {
            assert!(check_below(path).is_err(), "{path}");
        }
        assert_eq!(check_below("a/b c/..d"), Ok(()));
    }
}
