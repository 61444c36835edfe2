//! The whole output of commands, in files below one folder: `RUN/HOST/STEP-ATTEMPT`.
//!
//! The file has the output as it arrived, standard output and standard error together, and nothing else, so that it can be
//! read with `less`. Beside it, `.parts` says which part came when and from which of the two, and how it ended; `.lines` is
//! an index of a long file, which is made again when it is missing.

pub mod index;
pub mod parts;
pub mod problems;
pub mod read;
pub mod search;
pub mod stream;

use std::path::{Path, PathBuf};

/// Most bytes of a part of a name; file systems allow 255.
const NAME_BYTES: usize = 200;

/// The file of an operation, which the journal names `RUN/HOST/STEP/ATTEMPT`; `None` if that is no operation.
pub fn path_of(root: &Path, operation: &str) -> Option<PathBuf> {
    let [run, host, step, attempt] = operation.split('/').collect::<Vec<_>>().try_into().ok()?;
    let file = format!("{}-{}", name_of(step), name_of(attempt));
    Some(root.join(name_of(run)).join(name_of(host)).join(file))
}

/// The files beside an output.
pub fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_os_string();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// A name that is safe as one part of a path, and is no other's: other bytes than letters, digits and `._@-` are `%NN`.
fn name_of(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        match byte {
            b'.' if name.is_empty() => name.push_str("%2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'@' | b'-' => {
                name.push(char::from(byte))
            }
            byte => name.push_str(&format!("%{byte:02x}")),
        }
    }
    if name.len() > NAME_BYTES {
        let digest = crate::domain::base::digest::sha256_hex(text.as_bytes());
        name.truncate(NAME_BYTES - digest.len());
        name.push_str(&digest);
    }
    if name.is_empty() { "%".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_are_no_paths() {
        let long = "x".repeat(300);
        let table = [
            ("41/web01.prod/5/1", Some("41/web01.prod/5-1")),
            ("41/web01/b5/2", Some("41/web01/b5-2")),
            ("41/@before/0/1", Some("41/@before/0-1")),
            ("41/../5/1", Some("41/%2e./5-1")),
            ("41/.ssh/5/1", Some("41/%2essh/5-1")),
            ("41/a b:\u{e9}\0/5/1", Some("41/a%20b%3a%c3%a9%00/5-1")),
            ("41//5/1", Some("41/%/5-1")),
            ("41/a/b/5/1", None),
            ("41/a/5", None),
        ];
        for (operation, wanted) in table {
            let path = path_of(Path::new("/o"), operation);
            assert_eq!(path, wanted.map(|wanted| Path::new("/o").join(wanted)), "{operation}");
        }
        assert_eq!(name_of(&long).len(), NAME_BYTES);
        assert_ne!(name_of(&long), name_of(&format!("{long}x")));
        assert_eq!(beside(Path::new("/o/5-1"), "parts"), Path::new("/o/5-1.parts"));
    }
}
