//! The files of a commit, and which of them are files of a configuration.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Most files of a configuration, and most bytes of all of them: builds belong into artifacts.
const FILES_LIMIT: usize = 10_000;
const BYTES_LIMIT: u64 = 64 << 20;

/// With it, git would write other bytes than those of the commit.
const ATTRIBUTES: &str = ".gitattributes";

/// The name of a file that is about to be put in place. No commit has it.
pub const NEW: &str = ".rollcall-new";

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub mode: String,
    pub id: String,
}

/// The files of a commit by their paths.
pub type Tree = BTreeMap<String, Entry>;

/// True for the files of a configuration.
pub fn is_known(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let plain = |part: &&str| !["", ".", "..", NEW, ATTRIBUTES].contains(part);
    match parts.as_slice() {
        ["rollcall.toml" | "operators" | "revoked" | "README.md" | ".gitignore"] => true,
        ["hosts" | "tasks" | "checks", name] => plain(name) && !name.starts_with('.'),
        ["files", below @ ..] => !below.is_empty() && below.iter().all(plain),
        _ => false,
    }
}

/// An error if it is too much.
pub fn check_amount(files: usize, bytes: u64) -> Result<(), String> {
    if files > FILES_LIMIT {
        return Err(format!("{files} files: a configuration that git delivers has at most {FILES_LIMIT}"));
    }
    if bytes > BYTES_LIMIT {
        return Err(format!(
            "{} MiB of files: a configuration that git delivers has at most {} MiB; try: name builds in .gitignore, or use artifacts",
            bytes >> 20,
            BYTES_LIMIT >> 20
        ));
    }
    Ok(())
}

/// The paths that differ.
pub fn changed(before: &Tree, after: &Tree) -> Vec<String> {
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let other = after.iter().filter(|(path, entry)| before.get(*path) != Some(entry)).map(|(path, _)| path);
    gone.chain(other).cloned().collect()
}

/// Why a tree is no configuration.
pub fn check_tree(tree: &Tree) -> Result<(), String> {
    for (path, entry) in tree {
        match entry.mode.as_str() {
            "100644" | "100755" => {}
            "120000" => return Err(format!("{path} is a link; only regular files are delivered")),
            "160000" => return Err(format!("{path} is a submodule; only regular files are delivered")),
            mode => return Err(format!("{path} has the mode {mode}; only regular files are delivered")),
        }
        if path.split('/').any(|part| part == ATTRIBUTES) {
            return Err(format!(
                "{path} is no file of a configuration: with it, git would write other bytes than those of the commit; try: git rm {path}"
            ));
        }
        if !is_known(path) {
            return Err(format!(
                "{path} is no file of a configuration; known are rollcall.toml, operators, revoked, README.md, .gitignore, and files in \
                 hosts/, tasks/, checks/ and files/"
            ));
        }
    }
    match tree.is_empty() {
        true => Err("it has no file".into()),
        false => Ok(()),
    }
}

/// Files of a tree that would replace one of the directory that the commit before does not have, or that would be written
/// through a link.
pub fn in_the_way(root: &Path, before: &Tree, after: &Tree, here: &Tree) -> Vec<String> {
    let is_removed = |path: &str| before.contains_key(path) && !after.contains_key(path);
    let is_taken = |path: &String, entry: &Entry| {
        let is_new = !before.contains_key(path) && here.get(path) != Some(entry);
        let Ok(about) = root.join(path).symlink_metadata() else { return false };
        match about.is_dir() {
            true => !all_below(root, path, is_removed),
            false => is_new,
        }
    };
    // A folder of it may be a file now that the push removes.
    let is_barred = |folder: &Path| {
        let is_other = root.join(folder).symlink_metadata().is_ok_and(|about| !about.is_dir());
        is_other && (is_link(root, folder) || !folder.to_str().is_some_and(is_removed))
    };
    let found = after.iter().filter(|(path, entry)| is_taken(path, entry) || folders(path).any(is_barred));
    found.map(|(path, _)| path.clone()).collect()
}

/// Calls `done` for each file below a folder, with its path relative to `root`; links are not followed.
pub fn each_file(root: &Path, below: &Path, done: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => each_file(root, &path, done),
            false => done(&path),
        }
    }
}

fn all_below(root: &Path, folder: &str, is_removed: impl Fn(&str) -> bool) -> bool {
    let mut all = true;
    each_file(root, Path::new(folder), &mut |path| all &= path.to_str().is_some_and(&is_removed));
    all
}

fn folders(path: &str) -> impl Iterator<Item = &Path> {
    Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty())
}

fn is_link(root: &Path, folder: &Path) -> bool {
    root.join(folder).symlink_metadata().is_ok_and(|about| about.is_symlink())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_configuration_are_known_by_their_names() {
        for (path, known) in [
            ("rollcall.toml", true),
            ("operators", true),
            ("hosts/prod.toml", true),
            ("hosts/cloud.sh", true),
            ("files/facts/x", true),
            ("files/a/b/.htaccess", true),
            (".gitignore", true),
            ("hosts/.x.toml", false),
            ("hosts/a/b.toml", false),
            ("files", false),
            ("files/../operators", false),
            ("/etc/passwd", false),
            (".gitattributes", false),
            ("id_ed25519", false),
            (".git/config", false),
            (".rollcall-new", false),
            ("files/.rollcall-new", false),
            ("files/a/.rollcall-new", false),
            ("files/a/.gitattributes", false),
        ] {
            assert_eq!(is_known(path), known, "{path}");
        }
    }
    #[test]
    fn a_tree_is_judged_whole() {
        let entry = |mode: &str| Entry { mode: mode.into(), id: "1".into() };
        for (path, mode, why) in [
            ("tasks/a.toml", "100644", None),
            ("hosts/a.sh", "100755", None),
            ("tasks/a.toml", "120000", Some("tasks/a.toml is a link")),
            ("files/m", "160000", Some("files/m is a submodule")),
            ("files/m", "040000", Some("files/m has the mode 040000")),
            (
                "files/.gitattributes",
                "100644",
                Some("with it, git would write other bytes than those of the commit"),
            ),
            ("hosts/../x", "100644", Some("hosts/../x is no file of a configuration")),
        ] {
            let judged = check_tree(&Tree::from([(path.to_string(), entry(mode))]));
            match (judged, why) {
                (Ok(()), None) => {}
                (Err(found), Some(why)) => assert!(found.contains(why), "{path}: {found}"),
                other => panic!("{path}: {other:?}"),
            }
        }
        assert_eq!(check_tree(&Tree::new()), Err("it has no file".into()));
        assert!(check_amount(FILES_LIMIT, BYTES_LIMIT).is_ok());
        let many = check_amount(FILES_LIMIT + 1, 0).unwrap_err();
        assert!(
            many.starts_with("10001 files: a configuration that git delivers has at most 10000"),
            "{many}"
        );
        let large = check_amount(1, BYTES_LIMIT + (1 << 20)).unwrap_err();
        assert!(
            large.starts_with("65 MiB of files: a configuration that git delivers has at most 64 MiB"),
            "{large}"
        );
    }

    #[test]
    fn a_push_replaces_a_folder_whose_files_it_removes_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let tree = |paths: &[&str]| -> Tree {
            let entry = Entry { mode: "100644".into(), id: "1".into() };
            paths.iter().map(|path| (path.to_string(), entry.clone())).collect()
        };
        std::fs::create_dir_all(at("files/a/empty")).unwrap();
        std::fs::write(at("files/a/b"), "b").unwrap();
        let (before, after) = (tree(&["files/a/b", "files/c"]), tree(&["files/a", "files/c/d"]));
        std::fs::write(at("files/c"), "c").unwrap();
        let found = || in_the_way(dir.path(), &before, &after, &before);
        assert!(found().is_empty(), "{:?}", found());
        std::fs::write(at("files/a/local"), "local").unwrap();
        assert_eq!(found(), ["files/a"]);
        assert_eq!(in_the_way(dir.path(), &tree(&[]), &tree(&["files/c/d"]), &tree(&[])), ["files/c/d"]);
        std::fs::remove_file(at("files/c")).unwrap();
        std::os::unix::fs::symlink("/tmp", at("files/c")).unwrap();
        assert_eq!(found(), ["files/a", "files/c/d"]);
    }
}
