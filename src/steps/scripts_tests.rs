//! The scripts themselves, on every shell of hosts: `sh` with the system's tools, and busybox with its own.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::domain::base::digest::sha256_hex;
use crate::steps::scripts::*;

/// A folder with only the tools of busybox.
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
    /// Its standard output, if it succeeded.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.0, 0, "{self:?}");
        self.1
    }

    /// Its standard error, if it failed.
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
        // A script that fails early does not read.
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

    /// The names in a folder, sorted.
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
        let printed = receive(&bench, "sub/it's", "text", ["640", "", "", "", ""]).well();
        assert_eq!((printed.as_str(), bench.mode("sub/it's")), ("sub/it's: new file\nchanged\n", 0o640));
        assert_eq!(place("640"), "unchanged\n");
        let printed = bench.sh(&PLACE, &["dry-run", "sub/it's", &sum, "755", ""], b"").well();
        assert_eq!(printed, "sub/it's: mode 755 (was 640)\nchanged\n");
        assert_eq!(bench.mode("sub/it's"), 0o640, "a dry run changes nothing");
        assert_eq!(place("755"), "sub/it's: mode 755 (was 640)\nchanged\n");
        assert_eq!(place("755"), "unchanged\n");
        assert_eq!(bench.mode("sub/it's"), 0o755);
        // The lost transfer may have arrived: the same once more.
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
        let printed = receive(&bench, "conf", "new", ["", "", "1", "", &sha256_hex(b"old")]).well();
        assert!(printed.starts_with("conf: new content\nconf: the old file is kept as conf.~2"), "{printed}");
        let names = bench.names(".");
        assert_eq!((names.len(), names[0].as_str()), (2, "conf"));
        assert_eq!((bench.read("conf"), bench.read(&names[1])), ("new".into(), "old".into()));
        assert_eq!((bench.mode("conf"), bench.mode(&names[1])), (0o604, 0o604));
        // Another process was faster.
        let late = receive(&bench, "conf", "newer", ["", "", "", "", &sha256_hex(b"old")]);
        assert_eq!(late.0, 75);
        assert!(late.2.contains("conf was changed by another process in the meantime"), "{late:?}");
        assert_eq!(receive(&bench, "other", "x", ["", "", "", "", &sha256_hex(b"y")]).0, 75);
        assert_eq!(bench.read("conf"), "new");
        // Owners by name and by number.
        let ids = bench.sh("id -un; id -u; id -gn", &[], b"").well();
        let ids: Vec<&str> = ids.lines().collect();
        let sum = sha256_hex(b"new");
        for owner in [ids[0], ids[1], &format!("{}:{}", ids[0], ids[2]), &format!(":{}", ids[2])] {
            assert_eq!(
                bench.sh(&PLACE, &["dry-run", "conf", &sum, "", owner], b"").well(),
                "unchanged\n",
                "{owner}"
            );
        }
        let printed = bench.sh(&PLACE, &["dry-run", "conf", &sum, "", "4711:4712"], b"").well();
        assert!(printed.starts_with("conf: owner 4711:4712 (was "), "{printed}");
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
        let inspected = bench.sh(&TREE, &["dry-run", "at", ""], list(&all).as_bytes()).well();
        assert_eq!(inspected, "send 1\nsend 2\nunchanged\n");
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
        let printed = bench.sh(&TREE_RECEIVE, &["act", "at", "", "", "", "op"], &bytes[..512]);
        printed.ill();
        assert_eq!(bench.names("at"), ["same", "sub dir"], "what is half changes nothing");
        let printed = bench.sh(&TREE_RECEIVE, &["act", "at", "", "", "", "op"], &bytes).well();
        assert_eq!(printed, "at/sub dir/old: new content\nat/made/x y: new file\nchanged\n");
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
        assert_eq!(run("dry-run", "a/it's", "750").well(), "a/it's: new directory\nchanged\n");
        assert!(!bench.there("a"));
        let printed = run("act", "a/it's", "750").well();
        assert!(
            printed.starts_with("a/it's: new directory\n") && printed.ends_with("changed\n"),
            "{printed}"
        );
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
        assert_eq!(run("dry-run", "tree").well(), "tree: directory with 3 entries\nchanged\n");
        assert!(bench.there("tree/a/b"));
        assert_eq!(run("act", "tree/").well(), "tree: directory with 3 entries\nchanged\n");
        assert_eq!(run("act", "tree").well(), "unchanged\n");
        assert_eq!(run("act", "link").well(), "link: link to kept\nchanged\n");
        assert_eq!(bench.names("."), ["kept"]);
        assert_eq!(bench.read("kept/x"), "x");
        // A link in the path does not bypass the refusal.
        symlink("/", bench.dir.path().join("root")).unwrap();
        assert_eq!(run("dry-run", "root/etc").ill(), "root/etc is not deleted: the system needs /etc\n");
        assert_eq!(
            run("dry-run", "root/usr/lib/..").ill(),
            "root/usr/lib/.. is not deleted: the system needs /usr\n"
        );
        assert!(run("dry-run", "/proc/self/..").ill().contains("the system needs /proc"));
        assert!(run("dry-run", "root/dev/.").ill().contains("the system needs /dev"));
        assert_eq!(run("act", "kept/x").well(), "kept/x: file\nchanged\n");
        let mounted = mount_point_two_deep();
        if let Some((path, point)) = mounted {
            let why = format!("{path} is not deleted: {point} is mounted there; unmount it first\n");
            assert_eq!(run("dry-run", &path).ill(), why);
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

/// A tar archive with one file for each text, and links.
fn tar_of(files: &[(&str, &str)], links: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    for (name, target) in links {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, name, target).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The archive as a tool of the system creates it.
fn packed(tool: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new(tool[0]);
    command.args(&tool[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{tool:?}: {error}; run tests/run"));
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    output.stdout
}

/// Lists and unpacks.
fn unpack(bench: &Bench, to: &str, archive: &[u8], strip: usize) -> Result<String, String> {
    let sum = sha256_hex(archive);
    let listed = bench.sh(&ARCHIVE_LIST, &["act", to, &sum, "", "op"], archive);
    if listed.0 != 0 {
        return Err(listed.2);
    }
    crate::domain::base::archive::check(listed.1.as_bytes(), strip)?;
    let done = bench.sh(&ARCHIVE_UNPACK, &["act", to, &sum, "", "op", &strip.to_string()], b"");
    if done.0 == 0 { Ok(done.1) } else { Err(done.2) }
}

#[test]
fn archives_are_unpacked_whole_and_once() {
    for bench in Bench::all() {
        let tar = tar_of(&[("top/a b", "1"), ("top/sub/c", "2")], &[("top/sub/l", "../a b")]);
        let mut tools: Vec<&[&str]> = vec![&["cat"], &["gzip", "-c"], &["bzip2", "-c"], &["xz", "-c"]];
        if bench.tools.is_none() {
            tools.push(&["zstd", "-qc"]);
        }
        for (at, tool) in tools.into_iter().enumerate() {
            let archive = packed(tool, &tar);
            let to = format!("to{at}");
            let sum = sha256_hex(&archive);
            let inspected = || bench.sh(&ARCHIVE, &["dry-run", &to, &sum, "", ""], b"").well();
            assert_eq!(inspected(), format!("unpack {sum}\n"));
            let printed = unpack(&bench, &to, &archive, 1).unwrap();
            assert!(printed.ends_with(&format!("/{to}: unpacked\nchanged\n")), "{printed}");
            assert_eq!(inspected(), "unchanged\n");
            assert_eq!(bench.read(&format!("{to}/sub/l")), "1", "{tool:?}");
            assert_eq!(bench.names(&to), [".rollcall-archive", "a b", "sub"]);
            assert_eq!(bench.mode(&format!("{to}/a b")), 0o755);
        }
        // Into an existing directory: nothing is deleted.
        bench.write("to0/mine", "kept");
        let next = tar_of(&[("a b", "new"), ("other/d", "3")], &[]);
        unpack(&bench, "to0", &next, 0).unwrap();
        assert_eq!(bench.names("to0"), [".rollcall-archive", "a b", "mine", "other", "sub"]);
        assert_eq!((bench.read("to0/a b"), bench.read("to0/other/d")), ("new".into(), "3".into()));
        let rest: Vec<String> = bench.names(".").into_iter().filter(|name| name.contains("op")).collect();
        assert!(rest.is_empty(), "{rest:?}");
        // An archive that exists on the host.
        std::fs::write(bench.dir.path().join("here.tar"), &tar).unwrap();
        let inspected = bench.sh(&ARCHIVE, &["dry-run", "to9", "", "here.tar", ""], b"").well();
        assert_eq!(inspected, format!("unpack {}\n", sha256_hex(&tar)));
        assert!(
            bench
                .sh(&ARCHIVE, &["dry-run", "to9", "", "none.tar", ""], b"")
                .ill()
                .contains("none.tar is not there")
        );
    }
}

#[test]
fn archives_that_would_leave_or_are_none_change_nothing() {
    for bench in Bench::all() {
        let leaves = tar_of(&[("a", "1")], &[("l", "../../etc")]);
        assert_eq!(
            unpack(&bench, "to", &leaves, 0).unwrap_err(),
            "`l` links to `../../etc`, which leaves the archive"
        );
        let through = tar_of(&[("l/x", "1")], &[("l", "/tmp")]);
        assert!(unpack(&bench, "to", &through, 0).is_err());
        assert!(
            unpack(&bench, "to", &vec![b'x'; 4096], 0)
                .unwrap_err()
                .ends_with("no archive that this host can read\n")
        );
        let cut = packed(&["gzip", "-c"], &tar_of(&[("a", &"x".repeat(100_000))], &[]));
        assert!(unpack(&bench, "to", &cut[..cut.len() - 20], 0).is_err());
        let many = tar_of(&[("a/x", "1"), ("b/x", "1")], &[]);
        let why = unpack(&bench, "to", &many, 1).unwrap_err();
        assert!(why.starts_with("strip = 1 leaves out one directory at a time, and here is: a b"), "{why}");
        assert!(!bench.there("to"));
        assert!(!bench.names(".").iter().any(|name| name.ends_with(".bad")), "{:?}", bench.names("."));
    }
}

#[test]
fn zip_archives_are_unpacked_where_the_host_can() {
    for bench in Bench::all() {
        bench.write("in/top/a b", "1");
        let zip = |args: &[&str]| {
            let status = Command::new("zip").args(args).current_dir(bench.dir.path().join("in")).status();
            assert!(status.expect("zip is there; run tests/run").success());
        };
        zip(&["-qr", "../good.zip", "top"]);
        let read = |name: &str| std::fs::read(bench.dir.path().join(name)).unwrap();
        unpack(&bench, "to", &read("good.zip"), 1).unwrap();
        assert_eq!(bench.read("to/a b"), "1");
        symlink("/etc", bench.dir.path().join("in/top/l")).unwrap();
        zip(&["-qry", "../bad.zip", "top"]);
        let why = unpack(&bench, "bad", &read("bad.zip"), 0).unwrap_err();
        assert!(why.contains("top/l is not what it may hold"), "{why}");
        assert!(!bench.there("bad"));
    }
}

#[test]
fn a_release_is_made_live_and_old_ones_go() {
    for bench in Bench::all() {
        let live = |mode: &str, name: &str, shared: &[&str]| {
            let mut arguments = vec![mode, "app", name, "2", "rollcall-op"];
            arguments.extend(shared);
            bench.sh(&RELEASE, &arguments, b"")
        };
        let come = |name: &str| {
            let archive = tar_of(&[("VERSION", name), ("config/db.yml", "first"), ("log/x", "")], &[]);
            unpack(&bench, &format!("app/releases/{name}"), &archive, 0).unwrap();
            // Newest first, however fast the test is.
            let marker = bench.dir.path().join(format!("app/releases/{name}/.rollcall-archive"));
            let status =
                Command::new("touch").args(["-d", &format!("2026-01-0{name} 00:00")]).arg(marker).status();
            assert!(status.unwrap().success());
        };
        come("1");
        let shared = ["config/db.yml", "log", "tmp/pids"];
        let inspected = live("dry-run", "1", &shared).well();
        assert!(inspected.ends_with("current -> releases/1\nchanged\n"), "{inspected}");
        assert!(!bench.there("app/current"));
        live("act", "1", &shared).well();
        assert_eq!(live("act", "1", &shared).well(), "unchanged\n");
        assert_eq!(bench.read("app/current/VERSION"), "1");
        assert_eq!(bench.read("app/shared/config/db.yml"), "first", "the first one comes from the release");
        bench.write("app/shared/config/db.yml", "ours");
        bench.write("app/current/log/line", "x");
        assert!(bench.there("app/shared/log/line") && bench.there("app/shared/tmp/pids"));
        for name in ["2", "3"] {
            come(name);
            live("act", name, &shared).well();
        }
        assert_eq!(bench.read("app/current/config/db.yml"), "ours");
        assert_eq!(bench.names("app/releases"), ["2", "3"]);
        // Back to 2, then to 4: 2 was live, and is kept, although others are newer.
        live("act", "2", &shared).well();
        come("4");
        bench.write("app/releases/foreign/x", "not ours");
        let printed = live("act", "4", &shared).well();
        assert!(printed.contains("releases/3: deleted, 2 are kept\n"), "{printed}");
        assert_eq!(bench.names("app/releases"), ["2", "4", "foreign"]);
        // An incomplete release does not become live.
        let missing = live("act", "5", &[]).ill();
        assert_eq!(missing, "app/releases/5 is not there whole; run it again\n");
        assert_eq!(bench.read("app/current/VERSION"), "4");
    }
}
