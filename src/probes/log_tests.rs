//! The script for logs, in every shell that exists here, through what happens to logs: rotation, packing, emptying.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::output::Output;
use crate::domain::base::range::Limits;
use crate::domain::check::judge::judge;

const SHELLS: [&[&str]; 4] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"], &["mksh"]];

/// One log, one reader, one shell.
struct Scene {
    shell: &'static [&'static str],
    folder: tempfile::TempDir,
    name: &'static str,
    place: Option<LogPosition>,
    limit: &'static str,
}

impl Scene {
    fn new(shell: &'static [&'static str], name: &'static str) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        Scene { shell, folder, name, place: None, limit: LOG_BYTES }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.at(self.name)
    }

    fn write(&self, text: &str) {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn sh(&self, script: &str) {
        let ran = Command::new("sh").args(["-ec", script]).current_dir(self.folder.path()).status().unwrap();
        assert!(ran.success(), "{script}");
    }

    /// The verdict of `never = "ERROR"` and its text.
    fn probe(&mut self) -> (Verdict, String) {
        let path = self.log().display().to_string();
        let (inode, offset, trace) = match &self.place {
            Some(place) => (place.inode.clone(), place.offset.to_string(), place.trace.clone()),
            None => Default::default(),
        };
        let script = with(&LOG, &[&path, "", "^ERROR", &inode, &offset, &trace, self.limit]);
        // Programs of a test come first.
        let programs = format!("{}:{}", self.at("bin").display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new(self.shell[0]);
        let ran = shell.args(&self.shell[1..]).arg("-c").arg(script).env("PATH", programs).output().unwrap();
        let text =
            |bytes: Vec<u8>| Output { text: String::from_utf8_lossy(&bytes).into_owned(), left_out: 0 };
        let (mut stdout, stderr) = (text(ran.stdout), text(ran.stderr));
        assert_eq!(stderr.text, "", "{:?}: {}", self.shell, stdout.text);
        if self.place.is_some() {
            stdout.text.push_str("rollcall since 1\n");
        }
        let seen = Observation::Exited { code: 0, stdout, stderr };
        if let Some(place) = ended_at(&seen, jiff::Timestamp::UNIX_EPOCH) {
            self.place = Some(place);
        }
        let log =
            Log { path, fresh: None, appears: None, never: Some("^ERROR".into()), limits: Limits::default() };
        let judged = judge(&Probe::Log(log), &seen);
        (judged.verdict, judged.text)
    }

    fn expect(&mut self, wanted: Verdict, what: &str) -> String {
        let (verdict, text) = self.probe();
        let files = Command::new("ls").arg("-lit").arg(self.folder.path()).output().unwrap();
        let files = String::from_utf8_lossy(&files.stdout).into_owned();
        assert_eq!(verdict, wanted, "{:?}, {what}: {text}\n{:?}\n{files}", self.shell, self.place);
        text
    }
}

const FIRST: &str = "begin\none line\n";

/// Rotations between a line `ERROR` and the next probe; `L` is the log. Each ends with a new log, or an empty one.
const ROTATIONS: [(&str, &str, &str); 24] = [
    ("app.log", "renamed", "mv app.log app.log.1; : >app.log"),
    ("app.log", "renamed, with lines in the new one", "mv app.log app.log.1; echo fine >app.log"),
    ("app.log", "renamed and packed", "mv app.log app.log.1; gzip app.log.1; : >app.log"),
    ("app.log", "renamed, longer than before", "mv app.log app.log.1; seq 1000 >app.log"),
    (
        "app.log",
        "renamed, packed, longer than before",
        "mv app.log app.log.1; gzip app.log.1; seq 1000 >app.log",
    ),
    (
        "app.log",
        "rotated twice",
        "mv app.log app.log.1; echo a >app.log; mv app.log.1 app.log.2; mv app.log app.log.1; echo b >app.log",
    ),
    (
        "app.log",
        "rotated twice and packed",
        "mv app.log app.log.1; echo a >app.log; gzip app.log.1; mv app.log.1.gz app.log.2.gz; mv app.log app.log.1; gzip app.log.1; echo b >app.log",
    ),
    ("app.log", "number before the end", "mv app.log app.1.log; : >app.log"),
    ("app.log", "number before the end, packed", "mv app.log app.1.log; gzip app.1.log; echo new >app.log"),
    ("app.log", "date", "mv app.log app.log-20261127; : >app.log"),
    (
        "app.log",
        "date before the end, packed",
        "mv app.log app-2026-11-27.log; xz app-2026-11-27.log; echo x >app.log",
    ),
    ("app.log", "bzip2", "mv app.log app.log.1; bzip2 app.log.1; echo x >app.log"),
    ("app.log", "zstd", "mv app.log app.log.1; zstd -q --rm app.log.1; echo x >app.log"),
    ("app.log", "a name that says nothing", "mv app.log kept-by-hand; echo x >app.log"),
    ("app.log", "copied and emptied", "cp app.log app.log.1; : >app.log"),
    (
        "app.log",
        "copied and emptied, then as long",
        "cp app.log app.log.1; cat app.log.1 | sed s/ERROR/fine./ >app.log",
    ),
    ("app.log", "copied and emptied, then longer", "cp app.log app.log.1; seq 1000 >app.log"),
    ("app.log", "copied, emptied and packed", "cp app.log app.log.1; : >app.log; gzip app.log.1"),
    ("app.log", "the same lines again", "cp app.log app.log.1; printf 'begin\\none line\\nfine\\n' >app.log"),
    (
        "app.log",
        "the same lines again in another file",
        "mv app.log app.log.1; printf 'begin\\none line\\nfine\\n' >app.log",
    ),
    ("app.log", "old", "mv app.log app.log.old; echo x >app.log"),
    (
        "messages",
        "a name without an end",
        "mv messages messages-20261127; gzip messages-20261127; echo x >messages",
    ),
    (
        "app 1.log",
        "blanks in the name",
        "mv 'app 1.log' 'app 1.log.1'; gzip 'app 1.log.1'; echo x >'app 1.log'",
    ),
    (
        "app.log",
        "emptied to a hole",
        "cp app.log app.log.1; : >app.log; truncate -s 5000 app.log; echo fine >>app.log",
    ),
];

/// Through one rotation; `before` makes the files of earlier rotations.
fn through(shell: &'static [&'static str], (name, what, rotation): (&'static str, &str, &str), before: &str) {
    let mut scene = Scene::new(shell, name);
    scene.write(FIRST);
    scene.sh(&before.replace("LOG", &format!("'{name}'")));
    scene.expect(Verdict::Ok, what);
    scene.write("ERROR\n");
    scene.sh(rotation);
    scene.expect(Verdict::Critical, what);
    scene.write("fine\n");
    scene.expect(Verdict::Ok, &format!("{what}: once"));
    // Packed later.
    scene.write("ERROR\n");
    scene.sh("for f in *.1 *-20261127 *.1.log; do [ ! -f \"$f\" ] || gzip \"$f\"; done");
    scene.expect(Verdict::Critical, &format!("{what}: packed later"));
}

#[test]
fn no_line_is_lost_by_a_rotation_and_none_is_judged_twice() {
    for before in ["", "echo older >LOG.3; gzip LOG.3", "echo ERROR >LOG.1; touch -d '1 hour ago' LOG.1"] {
        ROTATIONS.iter().for_each(|rotation| through(&["dash"], *rotation, before));
    }
}

#[test]
fn rotations_are_seen_by_every_shell() {
    for shell in &SHELLS[1..] {
        ROTATIONS.iter().for_each(|rotation| through(shell, *rotation, "echo older >LOG.3; gzip LOG.3"));
    }
}

#[test]
fn lines_that_cannot_be_found_any_more_are_not_called_fine() {
    for shell in SHELLS {
        for (what, rotation, why) in [
            ("emptied", ": >app.log", "it was emptied or replaced, and "),
            (
                "replaced",
                "mv app.log ../$$.gone; echo x >app.log; rm ../$$.gone",
                "it was emptied or replaced, and ",
            ),
            ("emptied and longer", "seq 1000 >app.log", "it was emptied or replaced, and "),
            (
                "another packing",
                "gzip app.log; mv app.log.gz app.log.1.lzo; echo x >app.log",
                "it was emptied or replaced, and ",
            ),
        ] {
            let mut scene = Scene::new(shell, "app.log");
            scene.write(FIRST);
            scene.expect(Verdict::Ok, what);
            scene.write("ERROR\n");
            scene.sh(rotation);
            let text = scene.expect(Verdict::Unknown, what);
            assert!(text.contains(why) && text.contains("since the last probe"), "{what}: {text}");
            scene.expect(Verdict::Ok, &format!("{what}: once"));
            scene.write("ERROR\n");
            scene.expect(Verdict::Critical, what);
        }
    }
}

#[test]
fn an_old_log_that_is_still_written_to_is_read_on() {
    for shell in SHELLS {
        let mut scene = Scene::new(shell, "app.log");
        scene.write(FIRST);
        scene.expect(Verdict::Ok, "first");
        scene.sh("mv app.log app.log.1; echo new >app.log; echo last >>app.log.1");
        scene.expect(Verdict::Ok, "rotated");
        scene.sh("echo ERROR >>app.log.1");
        scene.expect(Verdict::Critical, "a worker that has not reopened its log");
        scene.expect(Verdict::Ok, "once");
    }
}

#[test]
fn a_copy_of_a_log_is_no_rotation() {
    for shell in SHELLS {
        let mut scene = Scene::new(shell, "app.log");
        scene.write(FIRST);
        scene.write("ERROR\n");
        scene.expect(Verdict::Critical, "first");
        scene.sh("cp app.log app.log.1; gzip -k app.log.1");
        scene.expect(Verdict::Ok, "nothing new");
        scene.write("fine\n");
        scene.expect(Verdict::Ok, "nothing bad");
    }
}

#[test]
fn lines_are_read_whole_and_more_than_the_limit_is_not_called_fine() {
    for shell in SHELLS {
        let mut scene = Scene::new(shell, "app.log");
        scene.write("ok\nERR");
        scene.expect(Verdict::Ok, "a line that is being written waits");
        scene.write("OR\n");
        scene.expect(Verdict::Critical, "it is whole now");
        scene.limit = "100";
        scene.write(&"fine\n".repeat(100));
        let text = scene.expect(Verdict::Unknown, "too many");
        assert!(text.contains("more than 100 bytes were written"), "{text}");
        scene.expect(Verdict::Ok, "once");
    }
}

#[test]
fn what_is_no_file_keeps_no_lines() {
    for shell in SHELLS {
        for (make, why) in [
            ("mkdir app.log", "is a directory; try: the path of one log in it"),
            ("ln -s /dev/null app.log", "is no regular file, so it keeps no lines"),
            ("mkfifo app.log", "is no regular file, so it keeps no lines"),
        ] {
            let mut scene = Scene::new(shell, "app.log");
            scene.sh(make);
            let text = scene.expect(Verdict::Unknown, make);
            assert!(text.contains(why), "{text}");
        }
        let mut scene = Scene::new(shell, "app.log");
        scene.expect(Verdict::Critical, "nothing is there");
    }
}

#[test]
fn a_link_that_moves_on_to_the_log_of_the_next_day_is_followed() {
    for shell in SHELLS {
        let mut scene = Scene::new(shell, "app.log");
        scene.sh("echo one >app-2026-11-26.log; ln -s app-2026-11-26.log app.log");
        scene.expect(Verdict::Ok, "first");
        scene.sh("echo ERROR >>app-2026-11-26.log; echo two >app-2026-11-27.log; ln -sfn app-2026-11-27.log app.log");
        scene.expect(Verdict::Critical, "the old target");
        scene.expect(Verdict::Ok, "once");
    }
}

#[test]
fn logs_of_other_processes_are_not_read() {
    for shell in SHELLS {
        for (name, sibling) in [
            ("app-8080.log", "app-8081.log"),
            ("worker.log", "worker-2.log"),
            ("worker.log", "worker_b.log"),
            ("app.log", "app.log.lock"),
        ] {
            let mut scene = Scene::new(shell, name);
            scene.write(FIRST);
            scene.sh(&format!("echo theirs >{sibling}"));
            scene.expect(Verdict::Ok, "first");
            scene.sh(&format!("echo ERROR >>{sibling}"));
            scene.expect(Verdict::Ok, &format!("{sibling} is another log than {name}"));
        }
    }
}

#[test]
fn a_file_that_is_being_packed_is_read_where_it_is_whole() {
    for shell in SHELLS {
        let mut scene = Scene::new(shell, "app.log");
        scene.write("ERROR old\n");
        scene.write(FIRST);
        scene.expect(Verdict::Critical, "first");
        scene.write("ERROR new\n");
        scene.sh("cp app.log half; head -c 28 half | gzip >app.log.1.gz; rm half; mv app.log app.log.1; touch app.log.1.gz; : >app.log");
        scene.expect(Verdict::Critical, "the new line");
        scene.sh("rm app.log.1.gz; gzip app.log.1");
        scene.expect(Verdict::Ok, "once");
    }
}

#[test]
fn a_last_line_without_its_end_is_a_line_of_its_own() {
    for shell in SHELLS {
        let mut scene = Scene::new(shell, "app.log");
        scene.write(FIRST);
        scene.expect(Verdict::Ok, "first");
        scene.write("cut off mid li");
        scene.sh("mv app.log app.log.1; echo ERROR >app.log");
        scene.expect(Verdict::Critical, "it begins its line");
        scene.expect(Verdict::Ok, "once");
    }
}

#[test]
fn a_log_that_is_rotated_while_it_is_read_is_unknown_and_then_read_on() {
    for shell in [SHELLS[0], SHELLS[1], SHELLS[3]] {
        for rotation in ["mv app.log app.log.1; echo new >app.log", "cp app.log app.log.1; : >app.log"] {
            let mut scene = Scene::new(shell, "app.log");
            scene.write(FIRST);
            scene.expect(Verdict::Ok, rotation);
            scene.write("ERROR\n");
            // The program that counts lines rotates the log first.
            let at = scene.folder.path().display().to_string();
            let program = format!(
                "#!/bin/sh\n[ -e {at}/app.log.1 ] || {{ cd {at}; {rotation}; }}\nexec /usr/bin/wc \"$@\"\n"
            );
            fs::create_dir(scene.at("bin")).unwrap();
            fs::write(scene.at("bin/wc"), program).unwrap();
            scene.sh("chmod 755 bin/wc");
            let (verdict, text) = scene.probe();
            assert!(
                verdict == Verdict::Critical || text.contains("was rotated while it was read"),
                "{verdict:?} {text}"
            );
            if verdict == Verdict::Unknown {
                scene.expect(Verdict::Critical, &format!("{rotation}: from the same place"));
            }
            scene.expect(Verdict::Ok, &format!("{rotation}: once"));
        }
    }
}

#[test]
fn a_place_of_an_earlier_build_is_read_on() {
    let mut scene = Scene::new(&["dash"], "app.log");
    scene.write(FIRST);
    scene.expect(Verdict::Ok, "first");
    if let Some(place) = &mut scene.place {
        place.trace.clear();
    }
    scene.write("ERROR\n");
    scene.expect(Verdict::Critical, "the same file");
    let place = scene.place.clone();
    assert!(place.is_some_and(|place| !place.trace.is_empty()), "from now on it is recognised");
}
