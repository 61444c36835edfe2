//! Opens files below a folder. Links that stay below it are resolved once; the resolved path is then opened without
//! following links: a file that is replaced by a link in between is refused, and never read.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// The real path of `root`, and the real path of `path` relative to it.
pub fn place(root: &Path, path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let root = fs::canonicalize(root)?;
    let real = fs::canonicalize(root.join(path))?;
    match real.strip_prefix(&root) {
        Ok(below) => Ok((root.clone(), below.to_path_buf())),
        Err(_) => Err(refused("is a link that leaves files/")),
    }
}

/// Opens the regular file `path` below `root` for reading.
pub fn open(root: &Path, path: &Path) -> io::Result<File> {
    let (root, below) = place(root, path)?;
    open_real(&root, &below)
}

/// Opens a path that [`place`] has resolved.
fn open_real(root: &Path, below: &Path) -> io::Result<File> {
    let mut folder: OwnedFd = File::open(root)?.into();
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(refused("leaves files/")) };
        if parts.peek().is_none() {
            // Opening a pipe without O_NONBLOCK would wait for a writer.
            let file: File = step(&folder, name, OFlag::O_NONBLOCK)?.into();
            return if file.metadata()?.is_file() { Ok(file) } else { Err(refused("is no regular file")) };
        }
        folder = step(&folder, name, OFlag::O_DIRECTORY)?;
    }
    Err(refused("is no regular file"))
}

fn step(folder: &OwnedFd, name: &std::ffi::OsStr, more: OFlag) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | more;
    openat(folder, name, flags, Mode::empty()).map_err(|errno| match io::Error::from(errno) {
        // The system reports a link with these errors.
        error if matches!(error.raw_os_error(), Some(nix::libc::ELOOP | nix::libc::ENOTDIR)) => {
            refused("was swapped for a link while it was opened")
        }
        error => error,
    })
}

fn refused(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_below_is_opened_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("files");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        symlink("a/b/file", root.join("near")).unwrap();
        symlink(root.join("a/b/file"), root.join("absolute")).unwrap();
        symlink("a/b", root.join("folder")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::S_IRWXU).unwrap();
        let opened = |path: &str| open(&root, Path::new(path)).map(drop).map_err(|error| error.to_string());
        for path in ["a/b/file", "near", "absolute", "folder/file", "./a/./b/file"] {
            assert_eq!(opened(path), Ok(()), "{path}");
        }
        for path in ["out", "up/secret"] {
            assert_eq!(opened(path), Err("is a link that leaves files/".into()), "{path}");
        }
        for path in ["a", "pipe", "."] {
            assert_eq!(opened(path), Err("is no regular file".into()), "{path}");
        }
        assert!(opened("none").is_err() && opened("../secret").is_err());
    }

    #[test]
    fn what_is_swapped_for_a_link_between_finding_and_opening_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("files");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        for file in [root.join("a/b/file"), dir.path().join("b/file"), root.join("one")] {
            fs::write(file, "x").unwrap();
        }
        let deep = place(&root, Path::new("a/b/file")).unwrap();
        let flat = place(&root, Path::new("one")).unwrap();
        fs::rename(root.join("a/b"), root.join("a/c")).unwrap();
        symlink(dir.path().join("b"), root.join("a/b")).unwrap();
        fs::remove_file(root.join("one")).unwrap();
        symlink(dir.path().join("b/file"), root.join("one")).unwrap();
        for (root, below) in [deep, flat] {
            let error = open_real(&root, &below).unwrap_err().to_string();
            assert_eq!(error, "was swapped for a link while it was opened", "{}", below.display());
        }
    }
}
