//! The scripts themselves, on every shell that hosts have: `sh` with the system's tools, and busybox with its own.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::domain::digest::sha256_hex;

/// Where the tools of busybox are, and nothing else.
fn busybox() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let list = Command::new("busybox").arg("--list").output().expect("busybox is there; run tests/run");
    let whole = Command::new("sh").args(["-c", "command -v busybox"]).output().unwrap();
    let whole = String::from_utf8(whole.stdout).unwrap();
    for tool in String::from_utf8(list.stdout).unwrap().lines() {
        symlink(whole.trim(), dir.path().join(tool)).unwrap();
    }
    dir
}

/// A host without a network: a folder, and a shell with its tools.
pub(super) struct Bench {
    pub dir: tempfile::TempDir,
    tools: Option<tempfile::TempDir>,
}

/// Exit status, standard output, standard error.
#[derive(Debug, PartialEq)]
pub(super) struct Said(pub i32, pub String, pub String);

impl Said {
    /// Its standard output, when it went well.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.0, 0, "{self:?}");
        self.1
    }

    /// Its standard error, when it did not.
    #[track_caller]
    pub fn ill(self) -> String {
        assert_ne!(self.0, 0, "{self:?}");
        self.2
    }
}

impl Bench {
    /// One for each shell.
    pub fn all() -> [Bench; 2] {
        let dir = || tempfile::tempdir().unwrap();
        [Bench { dir: dir(), tools: None }, Bench { dir: dir(), tools: Some(busybox()) }]
    }

    pub fn sh(&self, text: &str, arguments: &[&str], input: &[u8]) -> Said {
        let script = call(text, arguments, &Step::default());
        let mut command = match &self.tools {
            None => Command::new("sh"),
            Some(tools) => Command::new(tools.path().join("sh")),
        };
        if let Some(tools) = &self.tools {
            command.env("PATH", tools.path());
        }
        command.args(["-c", &script]).current_dir(self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A script that gives up does not read.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said(output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    pub fn there(&self, path: &str) -> bool {
        self.dir.path().join(path).symlink_metadata().is_ok()
    }

    pub fn mode(&self, path: &str) -> u32 {
        std::fs::metadata(self.dir.path().join(path)).unwrap().permissions().mode() & 0o7777
    }

    /// What is in a folder, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        names(&self.dir.path().join(path))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Arguments of receive.sh for this content.
fn receive(bench: &Bench, to: &str, text: &str, rest: [&str; 5]) -> Said {
    let [mode, owner, backup, validate, old] = rest;
    let sum = sha256_hex(text.as_bytes());
    bench.sh(&RECEIVE, &["act", to, &sum, mode, owner, backup, validate, old, "op"], text.as_bytes())
}

#[test]
fn a_file_becomes_visible_only_whole() {
    for bench in Bench::all() {
        let sum = sha256_hex(b"text");
        let place = |mode| bench.sh(&PLACE, &["act", "sub/it's", &sum, mode, ""], b"").well();
        assert_eq!(place("640"), "send\n");
        let cut = bench.sh(&RECEIVE, &["act", "sub/it's", &sum, "640", "", "", "", "", "op"], b"tex");
        assert!(cut.ill().contains(&format!("wanted {sum}; run it again")));
        assert!(bench.names("sub").is_empty(), "nothing half is left");
        let told = receive(&bench, "sub/it's", "text", ["640", "", "", "", ""]).well();
        assert_eq!((told.as_str(), bench.mode("sub/it's")), ("sub/it's: new file\nchanged\n", 0o640));
        assert_eq!(place("640"), "unchanged\n");
        let told = bench.sh(&PLACE, &["look", "sub/it's", &sum, "755", ""], b"").well();
        assert_eq!(told, "sub/it's: mode 755 (was 640)\nchanged\n");
        assert_eq!(bench.mode("sub/it's"), 0o640, "a look changes nothing");
        assert_eq!(place("755"), "sub/it's: mode 755 (was 640)\nchanged\n");
        assert_eq!(place("755"), "unchanged\n");
        assert_eq!(bench.mode("sub/it's"), 0o755);
        // What was lost may have come: the same once more.
        assert_eq!(receive(&bench, "sub/it's", "text", ["755", "", "", "", ""]).well(), "unchanged\n");
        assert!(
            bench
                .sh(&PLACE, &["act", "sub", &sum, "640", ""], b"")
                .ill()
                .contains("sub is a directory; name")
        );
        assert_eq!(bench.names("sub"), ["it's"]);
    }
}

#[test]
fn a_file_keeps_what_nobody_wants_to_change() {
    for bench in Bench::all() {
        bench.write("conf", "old");
        std::fs::set_permissions(bench.dir.path().join("conf"), std::fs::Permissions::from_mode(0o604))
            .unwrap();
        let told = receive(&bench, "conf", "new", ["", "", "1", "", &sha256_hex(b"old")]).well();
        assert!(told.starts_with("conf: new content\nconf: the old file is kept as conf.~2"), "{told}");
        let names = bench.names(".");
        assert_eq!((names.len(), names[0].as_str()), (2, "conf"));
        assert_eq!((bench.read("conf"), bench.read(&names[1])), ("new".into(), "old".into()));
        assert_eq!((bench.mode("conf"), bench.mode(&names[1])), (0o604, 0o604));
        // Somebody was faster.
        let late = receive(&bench, "conf", "newer", ["", "", "", "", &sha256_hex(b"old")]);
        assert_eq!(late.0, 75);
        assert!(late.2.contains("conf was changed by somebody else meanwhile"), "{late:?}");
        assert_eq!(receive(&bench, "other", "x", ["", "", "", "", &sha256_hex(b"y")]).0, 75);
        assert_eq!(bench.read("conf"), "new");
        // Owners by name and by number.
        let ids = bench.sh("id -un; id -u; id -gn", &[], b"").well();
        let ids: Vec<&str> = ids.lines().collect();
        let sum = sha256_hex(b"new");
        for owner in [ids[0], ids[1], &format!("{}:{}", ids[0], ids[2]), &format!(":{}", ids[2])] {
            assert_eq!(
                bench.sh(&PLACE, &["look", "conf", &sum, "", owner], b"").well(),
                "unchanged\n",
                "{owner}"
            );
        }
        let told = bench.sh(&PLACE, &["look", "conf", &sum, "", "4711:4712"], b"").well();
        assert!(told.starts_with("conf: owner 4711:4712 (was "), "{told}");
    }
}

#[test]
fn who_validates_has_the_last_word() {
    for bench in Bench::all() {
        bench.write("conf", "good 1");
        let validate = "grep -q good \"$1\" || { echo line 1 >&2; echo 'no good in it'; exit 3; }";
        let refused = receive(&bench, "conf", "bad", ["644", "", "1", validate, ""]).ill();
        let last = refused.lines().last().unwrap();
        assert_eq!(last, "conf is as it was: `validate` refuses the new content: no good in it");
        assert!(refused.contains("line 1"), "{refused}");
        assert_eq!((bench.read("conf"), bench.names(".").len()), ("good 1".into(), 1));
        receive(&bench, "conf", "good 2", ["644", "", "", validate, ""]).well();
        assert_eq!(bench.read("conf"), "good 2");
    }
}

#[test]
fn a_link_stays_and_what_it_points_to_is_meant() {
    for bench in Bench::all() {
        bench.write("available/site", "old");
        symlink("available/site", bench.dir.path().join("site")).unwrap();
        symlink("nowhere", bench.dir.path().join("dangling")).unwrap();
        assert_eq!(
            receive(&bench, "site", "new", ["644", "", "", "", ""]).well(),
            "site: new content\nchanged\n"
        );
        assert!(bench.dir.path().join("site").is_symlink());
        assert_eq!(bench.read("available/site"), "new");
        let dangling = receive(&bench, "dangling", "new", ["644", "", "", "", ""]).ill();
        assert_eq!(dangling, "dangling is a link to nowhere, which is not there; delete the link first\n");
    }
}

#[test]
fn of_a_tree_only_what_differs_is_sent() {
    for bench in Bench::all() {
        bench.write("at/same", "same");
        bench.write("at/sub dir/old", "old");
        let list = |texts: &[(&str, &str)]| -> String {
            let line = |(number, (path, text)): (usize, &(&str, &str))| {
                format!("{number} {} 644 {path}\n", sha256_hex(text.as_bytes()))
            };
            texts.iter().enumerate().map(line).collect()
        };
        let all = [("same", "same"), ("sub dir/old", "new"), ("made/x y", "x")];
        let looked = bench.sh(&TREE, &["look", "at", ""], list(&all).as_bytes()).well();
        assert_eq!(looked, "send 1\nsend 2\nunchanged\n");
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, text: &str| {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        };
        add("list", &list(&all[1..]));
        add("0", "new");
        add("1", "x");
        let bytes = tar.into_inner().unwrap();
        let told = bench.sh(&TREE_RECEIVE, &["act", "at", "", "", "", "op"], &bytes[..512]);
        told.ill();
        assert_eq!(bench.names("at"), ["same", "sub dir"], "what is half changes nothing");
        let told = bench.sh(&TREE_RECEIVE, &["act", "at", "", "", "", "op"], &bytes).well();
        assert_eq!(told, "at/sub dir/old: new content\nat/made/x y: new file\nchanged\n");
        assert_eq!((bench.read("at/sub dir/old"), bench.read("at/made/x y")), ("new".into(), "x".into()));
        assert_eq!(bench.names("at"), ["made", "same", "sub dir"]);
        assert_eq!(bench.sh(&TREE, &["act", "at", ""], list(&all).as_bytes()).well(), "unchanged\n");
    }
}

#[test]
fn a_file_is_fetched_within_its_limit() {
    for bench in Bench::all() {
        bench.write("f", "12345");
        assert_eq!(bench.sh(&FETCH, &["f", "5"], b""), Said(0, "12345".into(), String::new()));
        assert_eq!(bench.sh(&FETCH, &["f", "4"], b"").0, 45);
        assert_eq!(bench.sh(&FETCH, &["none", "4"], b"").0, 44);
        assert_eq!(
            bench.sh(&FETCH, &[".", "4"], b""),
            Said(1, String::new(), ". is no regular file\n".into())
        );
    }
}

#[test]
fn a_directory_is_there_with_mode_and_parents() {
    for bench in Bench::all() {
        let run = |mode, path, bits| bench.sh(&DIRECTORY, &[mode, path, bits, ""], b"");
        assert_eq!(run("look", "a/it's", "750").well(), "a/it's: new directory\nchanged\n");
        assert!(!bench.there("a"));
        let told = run("act", "a/it's", "750").well();
        assert!(told.starts_with("a/it's: new directory\n") && told.ends_with("changed\n"), "{told}");
        assert_eq!(bench.mode("a/it's"), 0o750);
        assert_eq!(run("act", "a/it's", "750").well(), "unchanged\n");
        assert_eq!(run("act", "a/it's", "2755").well(), "a/it's: mode 2755 (was 750)\nchanged\n");
        assert_eq!(run("act", "a/it's", "").well(), "unchanged\n");
        bench.write("file", "precious");
        assert_eq!(run("act", "file", "").ill(), "file exists and is no directory; delete it first\n");
    }
}

#[test]
fn what_is_deleted_is_that_and_no_more() {
    for bench in Bench::all() {
        let run = |mode, path| bench.sh(&DELETE, &[mode, path], b"");
        bench.write("tree/a/b", "x");
        bench.write("kept/x", "x");
        symlink("kept", bench.dir.path().join("link")).unwrap();
        symlink("../kept", bench.dir.path().join("tree/out")).unwrap();
        assert_eq!(run("look", "tree").well(), "tree: directory with 3 entries\nchanged\n");
        assert!(bench.there("tree/a/b"));
        assert_eq!(run("act", "tree/").well(), "tree: directory with 3 entries\nchanged\n");
        assert_eq!(run("act", "tree").well(), "unchanged\n");
        assert_eq!(run("act", "link").well(), "link: link to kept\nchanged\n");
        assert_eq!(bench.names("."), ["kept"]);
        assert_eq!(bench.read("kept/x"), "x");
        // A link on the way does not lead around what is refused.
        symlink("/", bench.dir.path().join("root")).unwrap();
        assert_eq!(run("look", "root/etc").ill(), "root/etc is not deleted: the system needs /etc\n");
        assert_eq!(
            run("look", "root/usr/lib/..").ill(),
            "root/usr/lib/.. is not deleted: the system needs /usr\n"
        );
        assert!(run("look", "/proc/self/..").ill().contains("the system needs /proc"));
        assert!(run("look", "root/dev/.").ill().contains("the system needs /dev"));
        assert_eq!(run("act", "kept/x").well(), "kept/x: file\nchanged\n");
        let mounted = mount_point_two_deep();
        if let Some((path, point)) = mounted {
            let why = format!("{path} is not deleted: {point} is mounted there; unmount it first\n");
            assert_eq!(run("look", &path).ill(), why);
        }
    }
}

/// A directory that is a mount point, such as /dev/pts.
fn mount_point_two_deep() -> Option<(String, String)> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let deep = |point: &&str| {
        point.matches('/').count() == 2 && point.starts_with("/dev/") && Path::new(point).is_dir()
    };
    points.filter(deep).map(|point| (point.to_string(), point.to_string())).next()
}
