//! Files of a delivery on the disk: how each is put in place, and what a death leaves behind.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use super::tree::{Entry, NEW, Tree, each_file};

/// Replaces a file as a whole.
pub fn put(from: &Path, place: &Path, entry: &Entry) -> io::Result<()> {
    let folder = place.parent().unwrap_or(place);
    fs::create_dir_all(folder)?;
    if place.symlink_metadata().is_ok_and(|about| about.is_dir()) {
        remove_empty(place)?;
    }
    let new = folder.join(NEW);
    let put = write_new(from, &new, mode_of(place, entry)).and_then(|()| fs::rename(&new, place));
    if put.is_err() {
        let _ = fs::remove_file(&new);
    }
    put
}

fn write_new(from: &Path, new: &Path, mode: u32) -> io::Result<()> {
    absent_is_fine(fs::remove_file(new))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    file.write_all(&fs::read(from)?)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// The mode of a file: those who could read it before can read it now, and no others. A new one is readable by all only
/// where every other file of its folder is.
fn mode_of(place: &Path, entry: &Entry) -> u32 {
    let old = fs::symlink_metadata(place).ok().filter(fs::Metadata::is_file);
    let beside = place.parent().is_some_and(all_read);
    let readable = match old {
        Some(about) => about.permissions().mode() & 0o666,
        None if beside => 0o644,
        None => 0o640,
    };
    match entry.mode == "100755" {
        true => readable | (readable & 0o444) >> 2,
        false => readable,
    }
}

fn all_read(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files: Vec<fs::Metadata> =
        entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file).collect();
    !files.is_empty() && files.iter().all(|about| about.permissions().mode() & 0o004 != 0)
}

/// Removes a file, and the folders below `root` that it leaves empty; `hosts/` and its like stay.
pub fn remove(root: &Path, path: &str) -> io::Result<()> {
    absent_is_fine(fs::remove_file(root.join(path)))?;
    for folder in Path::new(path).ancestors().skip(1).filter(|folder| folder.components().count() > 1) {
        if fs::remove_dir(root.join(folder)).is_err() {
            break;
        }
    }
    Ok(())
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a folder that holds folders alone; one with a file stays, with an error.
fn remove_empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// An error if rollcall may not create a file in the folder.
pub fn check_folder(folder: &Path) -> io::Result<()> {
    let path = folder.join(NEW);
    absent_is_fine(fs::remove_file(&path))?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)
}

/// Removes files of an interrupted delivery from the configuration directory.
pub fn sweep_directory(root: &Path) {
    let remove = |path: &Path| {
        if path.file_name().is_some_and(|name| name == NEW) {
            let _ = fs::remove_file(root.join(path));
        }
    };
    ["", "hosts", "tasks", "checks"].iter().for_each(|folder| remove(&Path::new(folder).join(NEW)));
    each_file(root, Path::new("files"), &mut |path| remove(path));
}

/// Removes what a git that was killed has left in the repository: its quarantine, and its locks.
pub fn sweep_git(folder: &Path) {
    for entry in fs::read_dir(folder.join("objects")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("tmp_objdir-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let remove = |path: &Path| {
        if path.extension().is_some_and(|word| word == "lock") {
            let _ = fs::remove_file(folder.join(path));
        }
    };
    let top = fs::read_dir(folder).into_iter().flatten().flatten();
    top.filter(|entry| entry.path().is_file()).for_each(|entry| remove(Path::new(&entry.file_name())));
    each_file(folder, Path::new("refs"), &mut |path| remove(path));
}

/// Adds what the directory has beside the files of a commit, so that settings and steps that name it find it: files that are
/// not of a configuration, such as keys, and what `.gitignore` excludes from `files/`.
pub fn add_others(root: &Path, to: &Path, here: &Tree) -> io::Result<()> {
    const OURS: [&str; 9] = [
        "rollcall.toml",
        "operators",
        "revoked",
        "README.md",
        ".gitignore",
        "hosts",
        "tasks",
        "checks",
        "files",
    ];
    fs::create_dir_all(to.join("files"))?;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let (name, place) = (entry.file_name(), to.join(entry.file_name()));
        let is_ours = OURS.iter().any(|ours| name == *ours);
        if !is_ours && name != ".git" && !place.exists() {
            symlink(entry.path(), place)?;
        }
    }
    let mut failed = None;
    each_file(root, Path::new("files"), &mut |path| {
        let is_of_a_commit = path.to_str().is_some_and(|path| here.contains_key(path));
        let place = to.join(path);
        if !is_of_a_commit
            && place.symlink_metadata().is_err()
            && let Err(error) = add(&root.join(path), &place)
        {
            failed.get_or_insert(error);
        }
    });
    failed.map_or(Ok(()), Err)
}

/// A file of `files/` may not be a link that leaves it, so the other folder has the file itself.
fn add(from: &Path, place: &Path) -> io::Result<()> {
    place.parent().map_or(Ok(()), fs::create_dir_all)?;
    let kind = from.symlink_metadata()?.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, place);
    }
    if !kind.is_file() || fs::hard_link(from, place).is_ok() {
        return Ok(());
    }
    fs::copy(from, place).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn entry(mode: &str) -> Entry {
        Entry { mode: mode.into(), id: "1".into() }
    }

    #[test]
    fn a_file_keeps_its_readers_and_a_new_one_has_those_of_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("from"), "x").unwrap();
        let from = at("from");
        put(&from, &at("closed/a"), &entry("100644")).unwrap();
        put(&from, &at("closed/run"), &entry("100755")).unwrap();
        assert_eq!((mode(&at("closed/a")), mode(&at("closed/run"))), (0o640, 0o750));
        fs::set_permissions(at("closed/a"), Permissions::from_mode(0o600)).unwrap();
        put(&from, &at("closed/a"), &entry("100644")).unwrap();
        assert_eq!(mode(&at("closed/a")), 0o600);
        fs::create_dir(at("open")).unwrap();
        fs::write(at("open/a"), "a").unwrap();
        fs::set_permissions(at("open/a"), Permissions::from_mode(0o644)).unwrap();
        put(&from, &at("open/b"), &entry("100644")).unwrap();
        assert_eq!(mode(&at("open/b")), 0o644);
    }

    #[test]
    fn a_folder_makes_room_for_a_file_only_when_it_holds_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("from"), "x").unwrap();
        fs::create_dir_all(at("files/a/empty/deep")).unwrap();
        fs::write(at("files/a/b"), "b").unwrap();
        assert!(put(&at("from"), &at("files/a"), &entry("100644")).is_err());
        assert!(at("files/a/b").is_file() && !at("files").join(NEW).exists());
        remove(dir.path(), "files/a/b").unwrap();
        put(&at("from"), &at("files/a"), &entry("100644")).unwrap();
        assert!(at("files/a").is_file());
        fs::create_dir_all(at("files/c/d")).unwrap();
        fs::write(at("files/c/d/e"), "e").unwrap();
        remove(dir.path(), "files/a").unwrap();
        remove(dir.path(), "files/c/d/e").unwrap();
        assert!(at("files").is_dir() && !at("files/c").exists());
    }

    #[test]
    fn what_a_death_has_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let left = ["files/a/.rollcall-new", "hosts/.rollcall-new", ".rollcall-new"];
        let locks = ["refs/heads/main.lock", "HEAD.lock", "objects/tmp_objdir-incoming-x/pack/p"];
        let kept = ["files/a/b", "HEAD", "refs/heads/main", "objects/12/34", "files/x.lock"];
        for path in left.iter().chain(&locks).chain(&kept) {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), "x").unwrap();
        }
        sweep_directory(dir.path());
        sweep_git(dir.path());
        assert!(left.iter().chain(&locks).all(|path| !at(path).exists()));
        assert!(!at("objects/tmp_objdir-incoming-x").exists() && kept.iter().all(|path| at(path).exists()));
    }

    #[test]
    fn only_files_that_no_commit_has_are_added_to_those_of_a_push() {
        let dir = tempfile::tempdir().unwrap();
        let (root, to) = (dir.path().join("root"), dir.path().join("to"));
        for path in ["files/app/old", "files/app/build.tar", "key", "hosts/a.toml"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), path).unwrap();
        }
        fs::create_dir(&to).unwrap();
        let here = Tree::from([("files/app/old".to_string(), entry("100644"))]);
        add_others(&root, &to, &here).unwrap();
        assert!(to.join("files/app/build.tar").symlink_metadata().unwrap().is_file());
        assert!(to.join("key").exists() && !to.join("files/app/old").exists() && !to.join("hosts").exists());
        fs::remove_dir_all(&to).unwrap();
        assert_eq!(fs::read_to_string(root.join("files/app/build.tar")).unwrap(), "files/app/build.tar");
    }
}
