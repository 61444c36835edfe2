use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::super::delivery::Accepted;
use super::*;

/// A repository whose directory is committed.
fn repository(dir: &Path) -> Repository {
    let repository = Repository::new(&dir.join("store"), &dir.join("config"));
    for path in ["rollcall.toml", "files/a/b", "files/c"] {
        write(&repository, path, path);
    }
    repository.create().unwrap();
    repository.record("ann", "first").unwrap();
    repository
}

fn write(repository: &Repository, path: &str, text: &str) {
    let place = repository.root.join(path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, text).unwrap();
}

fn read(repository: &Repository, path: &str) -> String {
    fs::read_to_string(repository.root.join(path)).unwrap()
}

/// A commit on top of the branch, with a change; the directory stays as it is. The commits before and after.
fn pushed(repository: &Repository, name: &[u8], gone: &[&str]) -> (String, String) {
    let old = repository.tip().unwrap().unwrap();
    let index = Scratch::new(&repository.folder, "test").unwrap();
    let with_index = || {
        let mut git = repository.git();
        git.env("GIT_INDEX_FILE", &index.0);
        git
    };
    let mut reading = with_index();
    reading.args(["read-tree", &old]);
    repository.run(reading).unwrap();
    let mut hashing = repository.git();
    hashing.args(["hash-object", "-w", "--no-filters"]).arg(repository.root.join("rollcall.toml"));
    let id = repository.run(hashing).unwrap();
    for path in gone {
        let mut removing = with_index();
        removing.args(["update-index", "--force-remove", path]);
        removing.env("GIT_WORK_TREE", &repository.root);
        repository.run(removing).unwrap();
    }
    let mut adding = with_index();
    adding.args(["update-index", "--add", "--cacheinfo", "100644", id.trim()]).arg(OsStr::from_bytes(name));
    repository.run(adding).unwrap();
    let mut writing = with_index();
    writing.arg("write-tree");
    let tree = repository.run(writing).unwrap();
    let mut committing = repository.git();
    committing.args(["-c", "user.name=t", "-c", "user.email=t@example.com", "commit-tree", tree.trim()]);
    committing.args(["-p", &old, "-m", "pushed"]);
    let new = repository.run(committing).unwrap().trim().to_string();
    repository.ask(&["update-ref", BRANCH, &new, &old]).unwrap();
    (old, new)
}

#[test]
fn a_file_that_a_kill_has_left_does_not_stop_a_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let repository = repository(dir.path());
    pushed(&repository, b"files/new", &[]);
    write(&repository, "files/a/.rollcall-new", "half");
    let said = repository.finish().unwrap().unwrap();
    assert!(said.contains("is in the directory now"), "{said}");
    assert!(repository.root.join("files/new").is_file());
    assert!(!repository.root.join("files/a/.rollcall-new").exists());
}

#[test]
fn a_name_that_is_no_text_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let repository = repository(dir.path());
    let (old, new) = pushed(&repository, b"files/caf\xe9", &[]);
    let refused = repository.tree(&new, None).unwrap_err();
    let why = "files/caf\u{fffd}: this name is not UTF-8, and no file of a configuration has such a name; try: rename the file";
    assert_eq!(refused, why);
    repository.take_back(Some(&old), &new).unwrap();
    fs::write(repository.root.join(OsStr::from_bytes(b"files/caf\xe9")), "x").unwrap();
    assert_eq!(repository.here().unwrap_err(), why);
    // A name that no commit has anyway is none of its business.
    fs::remove_file(repository.root.join(OsStr::from_bytes(b"files/caf\xe9"))).unwrap();
    fs::write(repository.root.join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    assert!(repository.here().is_ok());
}

#[test]
fn every_folder_of_a_change_is_tried_before_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let repository = repository(dir.path());
    let paths = ["files/a/b".to_string(), "files/new/deep/x".to_string()];
    assert_eq!(repository.check_writable(&paths), Ok(()));
    assert!(!repository.root.join("files/new").exists());
    // Also root cannot create a file there.
    fs::create_dir(repository.root.join("files/a/.rollcall-new")).unwrap();
    let refused = repository.check_writable(&paths).unwrap_err();
    assert!(
        refused.starts_with("rollcall cannot write into ") && refused.contains("/files/a: "),
        "{refused}"
    );
}

#[test]
fn an_edit_after_the_verdict_is_kept_and_the_push_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let repository = repository(dir.path());
    let (old, new) = pushed(&repository, b"files/new", &["files/c"]);
    write(&repository, "files/c", "edited");
    let accepted = Accepted { old: Some(old.clone()), new };
    let refused = accepted.place(&repository).unwrap_err();
    assert_eq!(
        refused,
        "the directory changed during the push, which was taken back; nothing was changed: files/c; try: git pull --rebase, then push again"
    );
    assert_eq!(read(&repository, "files/c"), "edited");
    assert!(!repository.root.join("files/new").exists());
    assert_eq!(repository.tip().unwrap(), Some(old));
    assert_eq!(accepted.place(&repository).unwrap_err(), "git did not take it over; nothing was changed");
}

#[test]
fn a_file_takes_the_place_of_a_folder_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let repository = repository(dir.path());
    let (old, new) = pushed(&repository, b"files/a", &["files/a/b"]);
    Accepted { old: Some(old), new }.place(&repository).unwrap();
    assert!(repository.root.join("files/a").is_file());
    let (old, new) = pushed(&repository, b"files/a/b", &["files/a"]);
    Accepted { old: Some(old), new }.place(&repository).unwrap();
    assert!(repository.root.join("files/a/b").is_file());
}

#[test]
fn the_commit_of_the_directory_is_found_without_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let repository = repository(dir.path());
    let objects = || repository.ask(&["count-objects"]).unwrap();
    let before = objects();
    let id = repository.tip().unwrap().unwrap();
    assert_eq!(repository.standing(), Some(ConfigCommit { id: id.clone(), is_dirty: false }));
    write(&repository, "files/c", "edited");
    assert_eq!(repository.standing(), Some(ConfigCommit { id, is_dirty: true }));
    assert_eq!(objects(), before);
}
