use super::*;
use crate::domain::base::output::Output;

#[test]
fn each_end_that_is_not_all_of_it_has_a_reason() {
    let hint = "Hint: You are currently not seeing messages from other users and the system.\n";
    let table = [
        (ExecEnd::Exited(0), "", false, None),
        (ExecEnd::Exited(0), hint, false, Some(("the login does not see the whole journal", false))),
        (ExecEnd::Exited(0), "No journal files were found.\n", false, Some(("finds no journal", false))),
        (
            ExecEnd::Exited(0),
            "Journal file /x/system.journal is truncated, ignoring file.\n",
            false,
            Some(("cannot read a file of the journal", false)),
        ),
        (ExecEnd::Exited(1), "tail: x\n", false, Some(("exit status 1: tail: x", false))),
        (
            ExecEnd::Exited(127),
            "sh: journalctl: not found\n",
            false,
            Some(("exit status 127: sh: journalctl", false)),
        ),
        (ExecEnd::Exited(0), "", true, Some(("exit status 0", false))),
        (ExecEnd::TimedOut, "", false, Some(("no end within 60 s", false))),
        (ExecEnd::TimedOut, "", true, Some(("followed for 24 hours", false))),
        (ExecEnd::Lost("cut".into()), "", true, Some(("cut", true))),
        (ExecEnd::NotStarted("refused".into()), "", false, Some(("refused", true))),
        (ExecEnd::Foreign("a menu".into()), "", false, Some(("a menu", false))),
        (ExecEnd::Signalled("KILL".into()), "", false, Some(("ended by signal KILL", false))),
    ];
    for (end, stderr, follow, wanted) in table {
        let stderr = Output { text: stderr.into(), left_out: 0 };
        let report = ExecReport { end, stdout: Output::default(), stderr };
        let found = fault_of(&report, follow);
        let is_it = match (&found, wanted) {
            (Some(fault), Some((why, no_contact))) => {
                fault.why.contains(why) && fault.no_contact == no_contact
            }
            (None, None) => true,
            _ => false,
        };
        assert!(is_it, "{report:?}: {found:?}");
    }
}

#[test]
fn hosts_without_contact_alone_are_status_4() {
    let table: [(&[bool], bool, u8); 6] = [
        (&[], false, 0),
        (&[], true, 2),
        (&[true], false, 4),
        (&[true, false], false, 2),
        (&[false, true], false, 2),
        (&[true], true, 2),
    ];
    for (all, is_cut, wanted) in table {
        let mut faults = Faults::default();
        all.iter().for_each(|no_contact| faults.add(&Fault { why: String::new(), no_contact: *no_contact }));
        if is_cut {
            faults.cut();
        }
        assert_eq!(faults.status(), wanted, "{all:?} {is_cut}");
        assert_eq!(faults.is_empty(), wanted == 0);
    }
}

/// Shells of hosts.
const SHELLS: [&[&str]; 4] = [&["dash"], &["bash"], &["busybox", "sh"], &["mksh"]];

/// Prints its arguments, a line with the text, and what `mode` in its folder says.
const JOURNALCTL: &str = r#"#!/bin/sh
for word do echo "<$word>"; done
echo "it says the text"
case " $* " in *" --follow "*) echo following; exec sleep 1000 ;; esac
case $(cat "${0%/*}/mode" 2>/dev/null) in
  hint) echo "Hint: You are currently not seeing messages from other users and the system." >&2 ;;
  fail) echo "Failed to add filter" >&2; exit 1 ;;
esac
"#;

fn put_tool(folder: &std::path::Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder with a journal of its own, and the tools of BusyBox if `busybox`.
fn tools(busybox: bool) -> tempfile::TempDir {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    put_tool(dir.path(), "journalctl", JOURNALCTL);
    if busybox {
        for tool in ["tail", "grep"] {
            symlink("/usr/bin/busybox", dir.path().join(tool)).unwrap();
        }
    }
    dir
}

fn command(shell: &[&str], tools: &std::path::Path, arguments: &[&str]) -> std::process::Command {
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;
    let mut command = std::process::Command::new(shell[0]);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    command.args(&shell[1..]).args(["-c", &with_arguments(SCRIPT, arguments)]).env("PATH", path);
    // Its processes are a group of their own, as on a host.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The end of a command whose reader stays until then.
fn printed(shell: &[&str], tools: &std::path::Path, arguments: &[&str]) -> (i32, String, String) {
    let mut child = command(shell, tools, arguments).spawn().unwrap();
    let stays = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stays);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_shell_prints_the_same_lines_of_a_file() {
    for (shell, busybox) in SHELLS.into_iter().flat_map(|shell| [(shell, false), (shell, true)]) {
        let tools = tools(busybox);
        let log = tools.path().join("it's a -log$(exit)");
        // The grep of BusyBox reads a line up to a NUL.
        std::fs::write(&log, "-e one\ntwo\n$HOME `id` 'x'\ntwo \u{1}\nlast\0x").unwrap();
        let log = log.to_str().unwrap();
        let nowhere = tools.path().join("nowhere");
        let (nowhere, folder) = (nowhere.to_str().unwrap(), tools.path().to_str().unwrap());
        let table: [(&[&str], i32, &str, &str); 9] = [
            (&["file", log, "2", "", "", ""], 0, "two \u{1}\nlast\0x", ""),
            (&["file", log, "50", "", "two", ""], 0, "two\ntwo \u{1}\n", ""),
            (&["file", log, "1", "", "two", ""], 0, "two \u{1}\n", ""),
            (&["file", log, "50", "", "`id` 'x'", ""], 0, "$HOME `id` 'x'\n", ""),
            (&["file", log, "50", "", "-e", ""], 0, "-e one\n", ""),
            (&["file", log, "50", "", "t.o", ""], 0, "", ""),
            (&["file", nowhere, "50", "", "", ""], 1, "", "nowhere"),
            (&["file", nowhere, "50", "", "x", ""], 2, "", "nowhere"),
            (&["file", folder, "50", "", "", ""], 1, "", "is not a regular file"),
        ];
        for (arguments, status, out, err) in table {
            let (code, stdout, stderr) = printed(shell, tools.path(), arguments);
            let what = format!("{shell:?} {busybox} {arguments:?}: {stderr}");
            assert_eq!((code, stdout.as_str()), (status, out), "{what}");
            assert!(stderr.contains(err) && stderr.is_empty() == err.is_empty(), "{what}");
        }
    }
}

#[test]
fn every_shell_asks_the_journal_alike() {
    let base = "<--no-pager>\n<--no-hostname>\n<--output=short-iso>\n<--unit=it's>\n";
    for shell in SHELLS {
        let tools = tools(false);
        let asks = |since, text| printed(shell, tools.path(), &["journal", "it's", "7", since, text, ""]);
        let said = "it says the text\n";
        assert_eq!(asks("", ""), (0, format!("{base}<--lines=7>\n{said}"), String::new()), "{shell:?}");
        let wanted = format!("{base}<--since=-60s>\n<--lines=7>\n{said}");
        assert_eq!(asks("60", ""), (0, wanted, String::new()), "{shell:?}");
        assert_eq!(asks("60", "the text"), (0, said.into(), String::new()), "{shell:?}");
        for (mode, status, text) in [("hint", 0, "not seeing messages"), ("fail", 1, "Failed to add filter")]
        {
            std::fs::write(tools.path().join("mode"), mode).unwrap();
            for grep in ["", "nonesuch"] {
                let (code, _, stderr) = asks("", grep);
                assert!(code == status && stderr.contains(text), "{shell:?} {mode} {grep}: {code} {stderr}");
            }
        }
    }
}

#[test]
fn a_search_that_fails_is_not_one_that_finds_nothing() {
    let table = [
        ("grep", "exit 2", 2),
        ("grep", "exit 127", 127),
        ("grep", "kill -KILL $$", 137),
        ("tail", "kill -KILL $$", 137),
    ];
    for (shell, (tool, script, status)) in SHELLS.into_iter().flat_map(|shell| table.map(|row| (shell, row)))
    {
        let tools = tools(false);
        let log = tools.path().join("app.log");
        std::fs::write(&log, "the text\n").unwrap();
        put_tool(tools.path(), tool, &format!("#!/bin/sh\n{script}\n"));
        for (kind, what) in [("journal", "app"), ("file", log.to_str().unwrap())] {
            let (code, stdout, stderr) = printed(shell, tools.path(), &[kind, what, "5", "", "the text", ""]);
            assert_eq!((code, stdout.as_str()), (status, ""), "{shell:?} {tool} {script} {kind}: {stderr}");
        }
    }
}

#[test]
fn no_process_of_a_follow_outlives_its_reader() {
    use std::io::{BufRead, BufReader, Write};
    for (shell, busybox) in SHELLS.into_iter().flat_map(|shell| [(shell, false), (shell, true)]) {
        let tools = tools(busybox);
        let log = tools.path().join("app.log");
        std::fs::write(&log, "old x\nold y\n").unwrap();
        let path = log.to_str().unwrap();
        let table: [(&[&str], &[&str]); 4] = [
            (&["file", path, "50", "", "", "follow"], &["old x", "old y", "new"]),
            (&["file", path, "50", "", "x", "follow"], &["old x"]),
            (&["journal", "a", "50", "", "", "follow"], &["<--follow>", "it says the text", "following"]),
            (&["journal", "a", "50", "", "it says", "follow"], &["it says the text"]),
        ];
        for (arguments, lines) in table {
            let mut child = command(shell, tools.path(), arguments).spawn().unwrap();
            let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
            let stdin = child.stdin.take().unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
            for line in lines {
                if *line == "new" {
                    let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
                    file.write_all(b"new\n").unwrap();
                }
                let found = out.any(|found| found == *line);
                assert!(found, "{shell:?} {busybox} {arguments:?}: no {line}");
            }
            drop(stdin);
            child.wait().unwrap();
            // The others of the group end at once after it.
            let is_there = || nix::sys::signal::killpg(group, None).is_ok();
            for _ in 0..2_000 {
                if !is_there() {
                    break;
                }
                // A pause that needs no clock.
                std::process::Command::new("true").status().unwrap();
            }
            assert!(!is_there(), "{shell:?} {busybox} {arguments:?}: a process is left");
        }
    }
}
