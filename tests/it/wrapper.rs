//! The wrapper that runs steps on hosts, under the two shells that are furthest apart: dash with everything
//! around it, and busybox with nothing else.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rollcall::domain::task::task::Sudo;
use rollcall::fleet::wire::{BEGIN, wire};
use rollcall::port::Input;
use rollcall::steps::seal::{Seal, SealKey};
use rollcall::steps::wrapper::{Call, WrapperVerb, input, line, name_of};

use crate::support::{DEADLINE, folder, read, write};

const ENOUGH: Duration = Duration::from_secs(120);

/// A home, and the commands that are found there.
struct Host {
    dir: tempfile::TempDir,
    path: String,
}

/// One question, with what most of them have in common.
fn call(operation: &str) -> Call<'_> {
    let none = Duration::ZERO;
    Call { operation, site: "here", epoch: 1, age: none, limit: ENOUGH, within: none }
}

fn seal(operation: &str) -> Seal {
    SealKey::new(b"secret").of(operation)
}

/// What came of it: everything on stdout, everything on stderr but the answer, and the answer.
#[derive(Debug, PartialEq)]
struct Said {
    out: String,
    err: String,
    answer: String,
}

impl Host {
    fn dash() -> Host {
        let dir = folder();
        let path = dir.path().join("bin");
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink("/bin/dash", path.join("sh")).unwrap();
        Host { path: format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path.display()), dir }
    }

    fn busybox() -> Host {
        let dir = folder();
        let path = dir.path().join("bin");
        fs::create_dir(&path).unwrap();
        let made = Command::new("busybox").args(["--install", "-s"]).arg(&path).status();
        assert!(made.expect("busybox is there; run tests/run, which installs it").success());
        Host { path: path.display().to_string(), dir }
    }

    fn both() -> [Host; 2] {
        [Host::dash(), Host::busybox()]
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn has(&self, name: &str) -> bool {
        self.at(name).exists()
    }

    /// The folder of an operation.
    fn record(&self, operation: &str) -> PathBuf {
        self.at(".local/state/rollcall/here/ops").join(format!("{operation}.{}", seal(operation).name()))
    }

    fn command(&self, call: &Call<'_>, verb: WrapperVerb) -> Command {
        let mut command = Command::new(self.path.split(':').next().unwrap().to_string() + "/sh");
        command
            .args(["-c", &wire(&call.program(verb), &Sudo::No, Input::None).command])
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", &self.path)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn ask(&self, call: &Call<'_>, verb: WrapperVerb) -> Said {
        ask(self.command(call, verb), call, verb)
    }

    fn begin(&self, call: &Call<'_>, script: &str, undo: Option<&str>) -> Child {
        let mut child = self.command(call, WrapperVerb::Start).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&input(call.operation, &seal(call.operation), script, undo))
            .unwrap();
        child
    }

    fn run(&self, call: &Call<'_>, script: &str) -> Said {
        said(call, self.begin(call, script, None).wait_with_output().unwrap())
    }
}

fn ask(mut command: Command, call: &Call<'_>, verb: WrapperVerb) -> Said {
    let mut child = command.spawn().unwrap();
    if let Input::Bytes(bytes) = line(verb, &seal(call.operation)) {
        // A sweep reads nothing, and may be over already.
        let _ = child.stdin.take().unwrap().write_all(&bytes);
    }
    said(call, child.wait_with_output().unwrap())
}

fn said(call: &Call<'_>, output: Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let begun = format!("{BEGIN}\n");
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| text(bytes).replacen(&begun, "", 1));
    let own = format!("rollcall {} ", call.operation);
    let lines: Vec<&str> = err.lines().collect();
    let (last, before) = lines.split_last().unwrap_or_else(|| panic!("no answer: {output:?}"));
    let answer = last.strip_prefix(&own).unwrap_or_else(|| panic!("no answer: {output:?}")).to_string();
    let answer = opened(call, answer);
    let begun = format!("{own}begun");
    let rest: Vec<&str> = before.iter().copied().filter(|line| *line != begun).collect();
    assert!(output.status.success(), "{output:?}");
    Said { out, err: rest.join("\n"), answer }
}

/// An answer without its seal, where it needs one and has it.
fn opened(call: &Call<'_>, answer: String) -> String {
    match answer.split(' ').next() {
        Some("exit" | "timeout" | "cancelled" | "confirm") => {
            seal(call.operation).open(&answer).map_or(format!("forged: {answer}"), str::to_string)
        }
        _ => answer,
    }
}

/// Waits for something that another process does.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let steps = DEADLINE.as_millis() / 10;
    for _ in 0..steps {
        if condition() {
            return;
        }
        // Another process's work cannot be awaited in any other way.
        let _ = Command::new("sleep").arg("0.01").status();
    }
    panic!("not within {DEADLINE:?}: {what}");
}

fn number_in(path: &Path) -> String {
    read(path).split_whitespace().next().unwrap().to_string()
}

fn is_running(pid: &str) -> bool {
    // A zombie does nothing any more.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-KILL", "--", pid]).status().unwrap().success());
}

#[test]
fn what_a_step_prints_and_how_it_exits_comes_back() {
    for host in Host::both() {
        let mut attempt = 0;
        let mut said = |script: &str| {
            attempt += 1;
            host.run(&call(&format!("1-a-0-{attempt}")), script)
        };
        let all = |out: &str, err: &str, answer: &str| Said {
            out: out.into(),
            err: err.into(),
            answer: answer.into(),
        };
        assert_eq!(said("true"), all("", "", "exit 0"));
        assert_eq!(said("echo out; echo err >&2; exit 3"), all("out\n", "err", "exit 3"));
        assert_eq!(said("printf out; printf err >&2"), all("out", "err", "exit 0"));
        assert_eq!(said("exit 3; # it's\n\n\n"), all("", "", "exit 3"));
        assert_eq!(said("cat; echo $# $0"), all("0 sh\n", "", "exit 0"));
        assert_eq!(said("kill -9 $$"), all("", "", "exit 137"));
        assert_eq!(said("pwd; umask"), all(&format!("{}\n0022\n", host.dir.path().display()), "", "exit 0"));
        assert_eq!(said("env | grep -c ROLLCALL; ls /proc/$$/fd | wc -l").out.lines().next(), Some("0"));
        assert!(said("if then; echo never").answer.starts_with("exit 2"));
    }
}

#[test]
fn whoever_starts_it_it_is_run_once() {
    for host in Host::both() {
        let call = call("1-a-0-1");
        let script = "echo ran >>ran; until [ -e go ]; do sleep 0.1; done; echo done";
        let asking: Vec<Child> = (0..8).map(|_| host.begin(&call, script, None)).collect();
        until("one of them runs", || host.has("ran"));
        write(&host.at("go"), "");
        for child in asking {
            let said = said(&call, child.wait_with_output().unwrap());
            assert_eq!((said.out.as_str(), said.answer.as_str()), ("done\n", "exit 0"));
        }
        let again = host.run(&call, script);
        assert_eq!((again.out.as_str(), again.answer.as_str()), ("done\n", "exit 0"));
        assert_eq!(read(&host.at("ran")), "ran\n");
    }
}

#[test]
fn a_script_that_did_not_arrive_whole_is_not_begun() {
    for host in Host::both() {
        let call = call("1-a-0-1");
        let whole = input("1-a-0-1", &seal("1-a-0-1"), "touch ran", None);
        for length in [0, 5, whole.len() - 2] {
            let mut child = host.command(&call, WrapperVerb::Start).spawn().unwrap();
            child.stdin.take().unwrap().write_all(&whole[..length]).unwrap();
            assert_eq!(child.wait_with_output().unwrap().status.code(), Some(75));
        }
        assert!(!host.record("1-a-0-1").exists() && !host.has("ran"));
        assert_eq!(host.run(&call, "touch ran").answer, "exit 0");
        assert!(host.has("ran"));
    }
}

#[test]
fn a_connection_that_is_gone_does_not_end_the_step() {
    for host in Host::both() {
        let call = call("1-a-0-1");
        let mut child =
            host.begin(&call, "touch ran; until [ -e go ]; do sleep 0.1; done; echo whole; exit 4", None);
        until("it runs", || host.has("ran"));
        child.kill().unwrap();
        child.wait().unwrap();
        write(&host.at("go"), "");
        let said = host.ask(&call, WrapperVerb::Follow);
        assert_eq!((said.out.as_str(), said.answer.as_str()), ("whole\n", "exit 4"));
    }
}

#[test]
fn a_runner_that_is_gone_is_lost_and_nothing_is_run_again() {
    for host in Host::both() {
        let call = call("1-a-0-1");
        let child = host.begin(&call, "echo ran >>ran; sleep 1000", None);
        until("it runs", || host.has("ran"));
        kill(&format!("-{}", number_in(&host.record("1-a-0-1").join("pid"))));
        kill(&format!("-{}", number_in(&host.record("1-a-0-1").join("step.group"))));
        let lost = "lost its runner is gone, and left no exit status";
        assert_eq!(said(&call, child.wait_with_output().unwrap()).answer, lost);
        assert_eq!(host.ask(&call, WrapperVerb::Follow).answer, lost);
        assert_eq!(host.run(&call, "echo ran >>ran").answer, lost);
        assert_eq!(read(&host.at("ran")), "ran\n");
    }
}

#[test]
fn a_record_that_is_removed_holds_nobody_up() {
    for host in Host::both() {
        let call = call("1-a-0-1");
        let limited = Call { limit: Duration::from_secs(1), ..call };
        let child =
            host.begin(&limited, "echo $$ >new; mv new pid; while [ -e pid ]; do sleep 0.1; done", None);
        until("it runs", || host.has("pid"));
        let pid = number_in(&host.at("pid"));
        fs::remove_dir_all(host.record("1-a-0-1")).unwrap();
        assert_eq!(said(&limited, child.wait_with_output().unwrap()).answer, "lost its record was removed");
        until("its time limit holds all the same", || !is_running(&pid));
    }
}

#[test]
fn a_host_that_was_restarted_says_so() {
    for host in Host::both() {
        let running = call("1-a-0-1");
        let child = host.begin(&running, "touch ran; until [ -e go ]; do sleep 0.1; done", None);
        until("it runs", || host.has("ran"));
        let boot = host.record("1-a-0-1").join("boot");
        let real = read(&boot);
        write(&boot, "another\n");
        assert_eq!(host.ask(&running, WrapperVerb::Follow).answer, "lost the host restarted while it ran");
        write(&boot, &real);
        write(&host.at("go"), "");
        assert!(child.wait_with_output().unwrap().status.success());
        // What is not on record, and was asked before the host was up, may have been there.
        let old = Call { age: Duration::from_secs(1_000_000_000), ..call("1-a-1-1") };
        for verb in [WrapperVerb::Follow, WrapperVerb::Kill] {
            assert_eq!(host.ask(&old, verb).answer, "lost the host restarted, and has no record of it");
        }
        assert_eq!(host.run(&old, "touch again").answer, "lost the host restarted, and has no record of it");
        assert!(!host.has("again"));
    }
}

#[test]
fn what_was_asked_about_before_it_was_begun_is_never_begun() {
    for host in Host::both() {
        for (operation, verb) in [("1-a-0-1", WrapperVerb::Follow), ("1-a-1-1", WrapperVerb::Kill)] {
            let call = call(operation);
            assert_eq!(host.ask(&call, verb).answer, "absent it was never begun");
            assert_eq!(host.run(&call, "touch ran").answer, "absent it was never begun");
            assert_eq!(host.ask(&call, WrapperVerb::Follow).answer, "absent it was never begun");
        }
        assert!(!host.has("ran"));
    }
}

#[test]
fn children_in_the_background_hold_nobody_up_and_live_on() {
    for host in Host::both() {
        let said = host.run(&call("1-a-0-1"), "sleep 1000 & echo $! >pid; echo done");
        assert_eq!((said.out.as_str(), said.answer.as_str()), ("done\n", "exit 0"));
        let pid = number_in(&host.at("pid"));
        assert!(is_running(&pid));
        kill(&pid);
    }
}

#[test]
fn a_step_whose_time_is_up_is_ended_with_all_its_children() {
    for host in Host::both() {
        let call = Call { limit: Duration::from_secs(1), ..call("1-a-0-1") };
        let script = "sh -c 'trap \"\" TERM; echo $$ >new-child; mv new-child child; while :; do sleep 0.1; done' & \
                      echo $$ >new-leader; mv new-leader leader; trap 'touch got-term; exit 1' TERM; while :; do sleep 0.1; done";
        let said = host.run(&call, script);
        assert_eq!(said.answer, "timeout");
        assert!(host.has("got-term"));
        for pid in ["leader", "child"] {
            until("they are gone", || !is_running(&number_in(&host.at(pid))));
        }
    }
}

#[test]
fn a_step_that_is_to_be_killed_is_told_first() {
    for host in Host::both() {
        let heeds = call("1-a-0-1");
        let script = "trap 'touch got-term; exit 1' TERM; touch ran; while :; do sleep 0.1; done";
        let child = host.begin(&heeds, script, None);
        until("it runs", || host.has("ran"));
        assert_eq!(host.ask(&heeds, WrapperVerb::Kill).answer, "cancelled");
        assert_eq!(said(&heeds, child.wait_with_output().unwrap()).answer, "cancelled");
        assert!(host.has("got-term"));
        let deaf = call("1-a-1-1");
        let child = host.begin(&deaf, "trap '' TERM; touch deaf; while :; do sleep 0.1; done", None);
        until("it runs", || host.has("deaf"));
        assert_eq!(host.ask(&deaf, WrapperVerb::Kill).answer, "cancelled");
        assert_eq!(said(&deaf, child.wait_with_output().unwrap()).answer, "cancelled");
        // What has ended is not to be killed.
        let ended = call("1-a-2-1");
        assert_eq!(host.run(&ended, "exit 5").answer, "exit 5");
        assert_eq!(host.ask(&ended, WrapperVerb::Kill).answer, "exit 5");
    }
}

#[test]
fn a_flood_of_output_is_kept_in_part() {
    for host in Host::both() {
        let said = host.run(&call("1-a-0-1"), "yes | head -c 5000000; echo err >&2; exit 6");
        assert_eq!((said.err.as_str(), said.answer.as_str()), ("err", "exit 6"));
        assert!(said.out.ends_with("\n[... the rest was not kept ...]\n"));
        assert_eq!(fs::metadata(host.record("1-a-0-1").join("out")).unwrap().len(), 1 << 20);
    }
}

#[test]
fn whoever_was_replaced_is_refused() {
    for host in Host::both() {
        let new = Call { epoch: 12, ..call("1-a-0-1") };
        assert_eq!(host.run(&new, "true").answer, "exit 0");
        let old = Call { epoch: 9, ..call("1-a-1-1") };
        assert_eq!(host.run(&old, "touch ran").answer, "stale 12");
        for verb in [WrapperVerb::Follow, WrapperVerb::Kill, WrapperVerb::Confirm, WrapperVerb::Sweep] {
            let stale = Call { epoch: 9, operation: "1", ..call("1") };
            assert_eq!(host.ask(&stale, verb).answer, "stale 12");
        }
        assert!(!host.has("ran"));
        // Another rollcall is another matter.
        let other = Call { site: "there", ..old };
        assert_eq!(host.run(&other, "true").answer, "exit 0");
    }
}

#[test]
fn a_step_that_nobody_confirms_is_undone_by_the_host() {
    for host in Host::both() {
        let quick = Call { within: Duration::from_secs(1), ..call("1-a-0-1") };
        let slow = |operation| Call { within: ENOUGH, ..call(operation) };
        let begin = |call: &Call<'_>, script: &str, undo: &str| {
            said(call, host.begin(call, script, Some(undo)).wait_with_output().unwrap())
        };
        assert_eq!(begin(&quick, "touch done", "rm done; echo undone; exit 3").answer, "confirm");
        assert!(host.has("done"));
        until("it is undone", || !host.has("done"));
        let late = host.ask(&quick, WrapperVerb::Confirm);
        assert_eq!((late.out.as_str(), late.answer.as_str()), ("undone\n", "exit 0 undone 3"));
        // Whoever confirms in time keeps it.
        let kept = slow("1-a-1-1");
        assert_eq!(begin(&kept, "touch kept", "rm kept").answer, "confirm");
        assert_eq!(host.ask(&kept, WrapperVerb::Follow).answer, "confirm");
        assert_eq!(host.ask(&kept, WrapperVerb::Confirm).answer, "exit 0");
        assert!(host.has("kept"));
        // What failed is undone at once, and so is what is given up.
        assert_eq!(begin(&slow("1-a-2-1"), "touch failed; exit 7", "rm failed").answer, "exit 7 undone 0");
        assert!(!host.has("failed"));
        let dropped = slow("1-a-3-1");
        assert_eq!(begin(&dropped, "touch dropped", "rm dropped").answer, "confirm");
        assert_eq!(host.ask(&dropped, WrapperVerb::Kill).answer, "exit 0 undone 0");
        assert!(!host.has("dropped"));
    }
}

/// A verdict that is read between its creation and its content would undo what was confirmed.
#[test]
fn what_is_taken_is_never_seen_without_its_content() {
    let text = include_str!("../../src/steps/sh/wrapper.sh");
    let take = text.lines().find(|line| line.starts_with("take() {")).unwrap();
    let race = "at=0; while [ $at -lt 200 ]; do at=$((at + 1)); rm -f verdict; take verdict confirmed & \
                until [ -e verdict ]; do :; done; read -r verdict <verdict; echo \"$verdict\"; wait; done; \
                take verdict undone || echo taken";
    for shell in ["dash", "bash"] {
        let dir = tempfile::tempdir().unwrap();
        let ran =
            Command::new(shell).args(["-c", &format!("{take}\n{race}")]).current_dir(dir.path()).output();
        let expected = "confirmed\n".repeat(200) + "taken\n";
        assert_eq!(String::from_utf8_lossy(&ran.unwrap().stdout), expected, "{shell}");
    }
}

#[test]
fn old_runs_are_swept_and_what_is_under_way_is_kept() {
    for host in Host::both() {
        for operation in ["7-a-0-1", "8-a-0-1", "9-a-0-1"] {
            assert_eq!(host.run(&call(operation), "true").answer, "exit 0");
        }
        for operation in ["7-a-0-1", "9-a-0-1"] {
            let old = Command::new("touch").args(["-d", "9 days ago"]).arg(host.record(operation)).status();
            assert!(old.unwrap().success());
        }
        assert_eq!(host.ask(&call("9"), WrapperVerb::Sweep).answer, "ready");
        let left = ["7-a-0-1", "8-a-0-1", "9-a-0-1"].map(|operation| host.record(operation).exists());
        assert_eq!(left, [false, true, true]);
    }
}

/// The folder that is used where the home is not the login's own, and is gone with this.
struct Elsewhere(PathBuf);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_login_without_a_home_of_its_own_has_a_folder_that_is() {
    use std::os::unix::fs::PermissionsExt;
    for host in Host::both() {
        let site = format!("test-{}", host.dir.path().file_name().unwrap().to_string_lossy());
        let id = Command::new("id").arg("-u").output().unwrap();
        let id = String::from_utf8_lossy(&id.stdout).trim().to_string();
        let elsewhere = Elsewhere(PathBuf::from(format!("/var/tmp/rollcall-{id}-{site}")));
        let call = Call { site: &site, ..call("1-a-0-1") };
        let ask = |verb| {
            let mut command = host.command(&call, verb);
            command.env("HOME", "/nonexistent");
            self::ask(command, &call, verb).answer
        };
        assert_eq!(ask(WrapperVerb::Sweep), "ready");
        assert_eq!(fs::metadata(&elsewhere.0).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&elsewhere.0, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(ask(WrapperVerb::Sweep).starts_with("refused no place for its state: /var/tmp/"));
        fs::remove_dir_all(&elsewhere.0).unwrap();
        std::os::unix::fs::symlink(host.dir.path(), &elsewhere.0).unwrap();
        assert!(ask(WrapperVerb::Sweep).starts_with("refused no place for its state: /var/tmp/"));
        fs::remove_file(&elsewhere.0).unwrap();
    }
}

#[test]
fn a_host_without_setsid_does_it_another_way() {
    for without in [&["setsid"][..], &["setsid", "perl"][..]] {
        let host = Host::busybox();
        fs::remove_file(host.at("bin/setsid")).unwrap();
        if !without.contains(&"perl") {
            std::os::unix::fs::symlink("/usr/bin/perl", host.at("bin/perl")).unwrap();
        }
        let call = Call { limit: Duration::from_secs(1), ..call("1-a-0-1") };
        let mut child = host.begin(&call, "echo $$ >new; mv new pid; while :; do sleep 0.1; done", None);
        until("it runs", || host.has("pid"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(host.ask(&call, WrapperVerb::Follow).answer, "timeout");
        until("it is gone", || !is_running(&number_in(&host.at("pid"))));
    }
}

#[test]
fn operations_have_names_of_their_own() {
    assert_eq!(name_of("41/web-1.example/b0/2"), "41-web-1.example-b0-2");
}

/// All that a script can find out about what else this login runs, and what it keeps.
const SPY: &str = "{ env; ps -ef; ls -lR .local; for p in /proc/[0-9]*; do cat $p/environ $p/cmdline; ls -l $p/fd; \
                   done; find .local -type f -exec cat {} +; } 2>/dev/null";

#[test]
fn a_step_finds_out_neither_the_next_record_nor_what_seals_its_own() {
    for host in Host::both() {
        let now = call("1-spy-0-1");
        let said =
            host.run(&now, &format!("{SPY} | cat -v >found; {SPY} | tr '\\0' '\\n' >>found; wc -c <found"));
        assert_eq!(said.answer, "exit 0");
        let found = read(&host.at("found"));
        assert!(found.contains(&host.record("1-spy-0-1").display().to_string()), "its own record is seen");
        let line = seal("1-spy-0-1").line_to_start();
        let [_, word, key] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert!(!found.contains(word) && !found.contains(key));
        assert!(!found.contains(seal("1-spy-1-1").name()));
    }
}

#[test]
fn a_step_cannot_stand_in_for_the_next_one() {
    for host in Host::both() {
        // It makes every record whose name it can think of, and writes in each what it has of real ones.
        let evil = "cd .local/state/rollcall/here/ops; own=$(echo 1-a-0-1.*); for name in 1-a-1-1 1-a-1-1. \
                    1-a-1-1.${own#*.}; do mkdir $name; echo go >$name/go; echo exit 0 >$name/rc; done";
        assert_eq!(host.run(&call("1-a-0-1"), evil).answer, "exit 0");
        let said = host.run(&call("1-a-1-1"), "touch ran; exit 3");
        assert_eq!((said.answer.as_str(), host.has("ran")), ("exit 3", true));
        // Where a name is known all the same, what is in the record is not sealed, and is no end.
        for (operation, rc) in [("1-a-2-1", "exit 0".to_string()), ("1-a-3-1", sealed_end(&host, "1-a-0-1"))]
        {
            fs::create_dir(host.record(operation)).unwrap();
            write(&host.record(operation).join("rc"), &format!("{rc}\n"));
            for answer in [host.run(&call(operation), "touch never").answer, follow(&host, operation)] {
                assert_eq!(answer, format!("forged: {rc}"));
            }
        }
        assert!(!host.has("never"));
    }
}

/// What a host keeps of how an operation ended.
fn sealed_end(host: &Host, operation: &str) -> String {
    read(&host.record(operation).join("rc")).trim_end().to_string()
}

fn follow(host: &Host, operation: &str) -> String {
    host.ask(&call(operation), WrapperVerb::Follow).answer
}

#[test]
fn a_step_cannot_write_its_own_end() {
    let tries = [
        "echo exit 0 >rc",
        "cp ../1-a-0-1.*/rc rc",
        "mkdir rc; touch rc/x",
        "mkfifo rc",
        "ln -s /dev/null rc; echo exit 0 >new",
        "echo exit 0 >step.why",
        "echo exit 0 >rc; chmod 400 rc; echo exit 0 >step.why; echo confirm >waiting",
    ];
    for host in Host::both() {
        assert_eq!(host.run(&call("1-a-0-1"), "true").answer, "exit 0");
        for (at, forge) in (1..).zip(tries) {
            let operation = format!("1-a-{at}-1");
            let script = format!(
                "cd .local/state/rollcall/here/ops/{operation}.*; {forge}; until [ -e go{at} ]; do sleep 0.1; [ ! -e ~/go{at} ] || exit 3; done"
            );
            let child = host.begin(&call(&operation), &script, None);
            until("it has forged", || {
                let dir = host.record(&operation);
                ["rc", "step.why"].iter().any(|name| dir.join(name).symlink_metadata().is_ok())
            });
            if dir_file(&host, &operation, "rc") {
                assert!(follow(&host, &operation).starts_with("forged: exit 0"), "{forge}");
            }
            write(&host.at(&format!("go{at}")), "");
            child.wait_with_output().unwrap();
            let mut answer = follow(&host, &operation);
            until("the runner has written over it", || {
                answer = follow(&host, &operation);
                answer == "exit 3"
            });
            assert_eq!(answer, "exit 3", "{forge}");
        }
    }
}

fn dir_file(host: &Host, operation: &str, name: &str) -> bool {
    fs::symlink_metadata(host.record(operation).join(name)).is_ok_and(|found| found.is_file())
}

#[test]
fn a_step_cannot_confirm_itself() {
    for host in Host::both() {
        let confirmed = "cd .local/state/rollcall/here/ops/1-a-0-1.*; echo confirmed >verdict";
        let call = Call { within: Duration::from_secs(5), ..call("1-a-0-1") };
        let child = host.begin(&call, confirmed, Some("echo undone"));
        assert_eq!(said(&call, child.wait_with_output().unwrap()).answer, "exit 0 undone 0");
        assert_eq!(host.ask(&call, WrapperVerb::Confirm).answer, "exit 0 undone 0");
    }
}

#[test]
fn a_host_without_a_digest_begins_nothing_and_says_what_is_missing() {
    let host = Host::busybox();
    for name in ["sha256sum", "shasum", "sha256", "openssl"] {
        let _ = fs::remove_file(host.at("bin").join(name));
    }
    let answer = host.run(&call("1-a-0-1"), "touch ran").answer;
    assert!(answer.starts_with("refused no sha256sum, shasum, sha256 or openssl on the host"), "{answer}");
    assert!(answer.ends_with("; install one") && !host.has("ran"), "{answer}");
}
