//! rollcall's own scripts on this machine, in every shell that exists here: their real output is judged.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use super::*;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::output::Output;
use crate::domain::base::range::Limits;
use crate::domain::check::judge::judge;
use crate::domain::check::judge::judged::Judged;
use crate::domain::check::probe::{Disk, Load, Memory, Package, Service};

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

fn observe(shell: &[&str], script: &str) -> Observation {
    let ran = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(script).output().unwrap();
    let output = |bytes: Vec<u8>| Output { text: String::from_utf8(bytes).unwrap(), left_out: 0 };
    Observation::Exited {
        code: u32::try_from(ran.status.code().unwrap()).unwrap(),
        stdout: output(ran.stdout),
        stderr: output(ran.stderr),
    }
}

/// The same result in every shell.
fn seen_by_all(probe: &Probe, script: &str) -> Judged {
    let judged: Vec<Judged> = SHELLS.iter().map(|shell| judge(probe, &observe(shell, script))).collect();
    for (shell, other) in SHELLS.iter().zip(&judged) {
        assert_eq!(other.verdict, judged[0].verdict, "{shell:?}: {}", other.text);
    }
    judged[0].clone()
}

fn probed(probe: &Probe) -> Judged {
    seen_by_all(probe, &script_of(probe).unwrap())
}

fn critical(text: &str) -> Limits {
    Limits { warning: None, critical: Some(text.parse().unwrap()) }
}

#[test]
fn the_machine_itself_is_seen() {
    for limits in [critical("0:100"), critical("@0:100")] {
        let wanted = if limits == critical("0:100") { Verdict::Ok } else { Verdict::Critical };
        let probes = [
            Probe::Disk(Disk { path: "/".into(), inodes: false, limits: limits.clone() }),
            Probe::Memory(Memory { swap: false, limits: limits.clone() }),
        ];
        for probe in probes {
            let judged = probed(&probe);
            assert_eq!(judged.verdict, wanted, "{probe:?}: {}", judged.text);
        }
    }
    let load = probed(&Probe::Load(Load { over: 1, per_cpu: true, limits: critical("0:") }));
    assert_eq!(load.verdict, Verdict::Ok, "{}", load.text);
    let gone = probed(&Probe::Disk(Disk { path: "/no/such".into(), inodes: false, limits: critical("1") }));
    assert_eq!((gone.verdict, gone.text.as_str()), (Verdict::Unknown, "/no/such is not there"));
    let swap = probed(&Probe::Memory(Memory { swap: true, limits: critical("0:100") }));
    assert_eq!(swap.verdict, Verdict::Ok, "{}", swap.text);
}

#[test]
fn packages_of_this_machine_are_seen() {
    let package =
        |name: &str, installed| Probe::Package(Package { name: name.into(), installed, version: None });
    assert_eq!(probed(&package("dash", true)).verdict, Verdict::Ok);
    assert_eq!(probed(&package("no-such-package", true)).text, "not installed");
    assert_eq!(probed(&package("no-such-package", false)).verdict, Verdict::Ok);
    assert_eq!(probed(&package("-x", true)).text, "`-x` cannot be the name of a package");
}

#[test]
fn processes_are_counted_by_name_user_and_arguments() {
    let mut sleeper = Command::new("sleep").arg("123.25").spawn().unwrap();
    let process = |args: Option<&str>, count: &str| {
        let args = args.map(String::from);
        Probe::Process(Process { name: "sleep".into(), user: None, args, count: count.parse().unwrap() })
    };
    let found = probed(&process(Some(r"123\.25$"), "1:1"));
    let none = probed(&process(Some("no such words"), "0:0"));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!((found.verdict, found.text.as_str()), (Verdict::Ok, "1 process sleep"));
    assert_eq!(none.verdict, Verdict::Ok, "{}", none.text);
}

#[test]
fn a_process_may_have_a_blank_in_its_name_and_a_user_may_be_a_number() {
    let mut sleeper =
        Command::new("bash").args(["-c", "exec -a 'My App 2.0: worker' sleep 1234.75"]).spawn().unwrap();
    let process = |name: &str, user: Option<String>, count: &str| {
        let args = Some(r"1234\.75".to_string());
        probed(&Probe::Process(Process { name: name.into(), user, args, count: count.parse().unwrap() }))
    };
    let me = fs::metadata("/proc/self").unwrap().uid().to_string();
    let found = [
        ("My App 2.0", None),
        ("My App", None),
        ("sleep", None),
        ("sleep", Some(me)),
        ("sleep", Some("4711".into())),
    ]
    .map(|(name, user)| process(name, user, "1:1").verdict);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    use Verdict::{Critical, Ok};
    assert_eq!(found, [Ok, Ok, Ok, Ok, Critical]);
}

#[test]
fn who_listens_is_seen_with_ss_and_without() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let probe = |open| {
        Probe::Port(Port {
            port: port.to_string(),
            udp: false,
            open,
            address: Some("127.0.0.1".into()),
            process: None,
        })
    };
    let script = script_of(&probe(true)).unwrap();
    let without_ss = script.replace("has ss &&", "has no-such-ss &&");
    assert_ne!(script, without_ss);
    for script in [script, without_ss] {
        let judged = seen_by_all(&probe(true), &script);
        assert_eq!(judged.verdict, Verdict::Ok, "{}", judged.text);
        assert_eq!(seen_by_all(&probe(false), &script).verdict, Verdict::Critical);
    }
    drop(listener);
    assert_eq!(probed(&probe(false)).verdict, Verdict::Ok);
}

#[test]
fn files_are_seen_whatever_their_name_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("-a file's $(name)");
    fs::write(&path, "version 1.2\nsecond\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let file = |change: &dyn Fn(&mut FileProbe)| {
        let mut file = FileProbe { path: path.display().to_string(), exists: true, ..FileProbe::default() };
        change(&mut file);
        probed(&Probe::File(Box::new(file)))
    };
    let sum = sha256_hex(b"version 1.2\nsecond\n");
    let good = file(&|file| {
        file.mode = Some("0640".into());
        file.size = Some("19:19".parse().unwrap());
        file.newer_than = Some(std::time::Duration::from_secs(600));
        file.sha256 = Some(sum.clone());
        file.matches = Some(r"(?m)^second$".into());
    });
    assert_eq!(good.verdict, Verdict::Ok, "{}", good.text);
    assert_eq!(file(&|file| file.contains = Some("1.3".into())).verdict, Verdict::Critical);
    assert_eq!(file(&|file| file.sha256 = Some("0".repeat(64))).verdict, Verdict::Critical);
    assert_eq!(file(&|file| file.path = "/no/such/file".into()).text, "/no/such/file is not there");
    assert_eq!(file(&|file| (file.path, file.exists) = ("/no/such/file".into(), false)).verdict, Verdict::Ok);
}

#[test]
fn a_pattern_that_grep_does_not_take_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::write(&log, "x\n").unwrap();
    let script = with(&LOG, &[&log.display().to_string(), "", "a(", "", "", "", LOG_BYTES]);
    let probe = Probe::Log(Log {
        path: log.display().to_string(),
        fresh: None,
        appears: None,
        never: Some("a(".into()),
        limits: Limits::default(),
    });
    let judged = seen_by_all(&probe, &script);
    assert_eq!(
        (judged.verdict, judged.text.as_str()),
        (Verdict::Unknown, "grep does not take the pattern a(")
    );
}

#[test]
fn names_are_resolved_as_the_host_does() {
    let dns = |name: &str, answers: &[&str]| {
        let answers = answers.iter().map(|answer| answer.to_string()).collect();
        probed(&Probe::Dns(Dns { name: name.into(), record: "A".into(), server: None, answers }))
    };
    assert_eq!(dns("localhost", &["127.0.0.1"]).verdict, Verdict::Ok);
    assert_eq!(dns("127.0.0.5", &["127.0.0.1"]).verdict, Verdict::Critical);
    assert_eq!(dns("$(id)", &[]).text, "`$(id)` is no name");
}

/// Fakes of services that no container has.
#[test]
fn services_are_seen_through_the_init_system() {
    let folder = tempfile::tempdir().unwrap();
    let systemctl = r#"#!/bin/sh
case "$*" in
  is-system-running) echo running ;;
  'show -p LoadState app') echo LoadState=loaded ;;
  'show -p LoadState gone') echo LoadState=not-found ;;
  'is-active --quiet app') exit 0 ;;
  'is-enabled app') echo disabled; exit 1 ;;
  *) exit 1 ;;
esac
"#;
    let path = folder.path().join("systemctl");
    fs::write(&path, systemctl).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let service = |name: &str, running, enabled| {
        let probe = Probe::Service(Service { name: name.into(), running, enabled });
        let script = format!("PATH={}:$PATH\n{}", folder.path().display(), script_of(&probe).unwrap());
        seen_by_all(&probe, &script)
    };
    assert_eq!(service("app", Some(true), None).text, "runs: yes");
    assert_eq!(service("app", Some(true), Some(true)).text, "it will not come back after a reboot");
    assert_eq!(service("gone", Some(true), None).text, "it does not run");
    assert_eq!(service("a b", Some(true), None).verdict, Verdict::Unknown);
}
