//! The grammar of commands.

use std::time::Duration;

use super::*;
use crate::domain::ask::adhoc::{AdHoc, CopyAsk, FetchAsk, NodesAsk, NodesVerb};
use crate::domain::ask::output::{ByteRange, OutputOf, OutputPart};
use crate::domain::ask::run_ask::{RunAnswer, RunAsk, RunLimits, RunWork, ScriptAsk};
use crate::domain::base::name::RunId;

fn of_output(attempt: Option<u32>, part: OutputPart) -> Command {
    let step = Some(OutputOf { step: "restart".into(), attempt, part });
    Command::Output { run: RunId(41), host: "web01".into(), step }
}

fn parse(line: &str) -> Result<Command, String> {
    parse_line(line.as_bytes()).map(|request| request.command).map_err(|error| error.text)
}

fn params(pairs: &[(&str, &str)]) -> Params {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn lines_become_commands() {
    let s = |text: &str| text.to_string();
    let table = [
        ("whoami", Command::Whoami),
        ("hosts web --unreachable", Command::Hosts { selector: s("web"), unreachable: true }),
        ("ping web", Command::AdHoc(AdHoc::Ping { selector: s("web") })),
        ("hosts", Command::Hosts { selector: s("all"), unreachable: false }),
        ("facts prod --fresh", Command::Facts { selector: s("prod"), fresh: true }),
        ("hosts 'web:!web03'", Command::Hosts { selector: s("web:!web03"), unreachable: false }),
        (
            "deploy prod version=1.2.3",
            Command::Task { ask: Ask::new("deploy", "prod", &params(&[("version", "1.2.3")])), check: false },
        ),
        (
            "deploy prod 'message=two words' x==",
            Command::Task {
                ask: Ask::new("deploy", "prod", &params(&[("message", "two words"), ("x", "=")])),
                check: false,
            },
        ),
        (
            "plan deploy prod version=1",
            Command::Plan { ask: Ask::new("deploy", "prod", &params(&[("version", "1")])), diff: false },
        ),
        (
            "check prod",
            Command::Check { selector: s("prod"), name: None, params: params(&[]), format: Format::Text },
        ),
        (
            "check prod http version=1",
            Command::Check {
                selector: s("prod"),
                name: Some(s("http")),
                params: params(&[("version", "1")]),
                format: Format::Text,
            },
        ),
        ("run web -- ls *.log | wc -l", Command::Run(RunAsk::line("web", "ls *.log | wc -l"))),
        ("run web -- echo 'it is' -- \"x\"", Command::Run(RunAsk::line("web", "echo 'it is' -- \"x\""))),
        ("run 'a -- b' -- true", Command::Run(RunAsk::line("a -- b", "true"))),
        ("run web -b -- id", Command::Run(RunAsk { answer: RunAnswer::Folded, ..RunAsk::line("web", "id") })),
        (
            "run --fold web -- id -b",
            Command::Run(RunAsk { answer: RunAnswer::Folded, ..RunAsk::line("web", "id -b") }),
        ),
        ("runs --last 3", Command::Runs { last: 3 }),
        ("output 41 web01", Command::Output { run: RunId(41), host: s("web01"), step: None }),
        (
            "output 41 web01 restart --attempt 2 --lines 1200-1700",
            of_output(Some(2), OutputPart::Lines { from: 1200, to: Some(1700) }),
        ),
        ("output 41 web01 restart --lines 7-", of_output(None, OutputPart::Lines { from: 7, to: None })),
        ("output 41 web01 restart --line 7", of_output(None, OutputPart::Around(7))),
        ("output 41 web01 restart", of_output(None, OutputPart::Tail(500))),
        ("output 41 web01 restart --search 'a b'", of_output(None, OutputPart::Search(s("a b")))),
        ("output 41 web01 restart --problems", of_output(None, OutputPart::Problems)),
        (
            "output 41 web01 restart --raw --bytes=-500",
            of_output(None, OutputPart::Raw(ByteRange::Last(500))),
        ),
        (
            "show 41 --host web01",
            Command::Show { run: RunId(41), host: Some(s("web01")), format: Format::Text },
        ),
        ("cancel 41 --now", Command::Cancel { run: RunId(41), now: true }),
        ("pause 41", Command::Pause { run: RunId(41) }),
        ("resume 41", Command::Resume { run: RunId(41) }),
        ("approve 41", Command::Approve { run: RunId(41) }),
        ("retry 41", Command::Retry { run: RunId(41) }),
        (
            "settle web01 because it is on the scrap heap",
            Command::Settle { host: s("web01"), write_off: false, reason: s("it is on the scrap heap") },
        ),
        (
            "settle web01 --write-off because gone",
            Command::Settle { host: s("web01"), write_off: true, reason: s("gone") },
        ),
        (
            "balancer drain web01 because new disk",
            Command::Drain { selector: s("web01"), reason: s("new disk") },
        ),
        ("balancer enable web01", Command::Enable { selector: s("web01") }),
        ("releases", Command::Releases { selector: s("all") }),
        ("rollback prod.web", Command::Rollback { selector: s("prod.web"), to: None }),
        ("rollback prod.web to=1.3.0", Command::Rollback { selector: s("prod.web"), to: Some(s("1.3.0")) }),
        (
            "mark bad deploy version=1.2.3 because it leaks",
            Command::Mark {
                task: s("deploy"),
                params: params(&[("version", "1.2.3")]),
                bad: true,
                reason: s("it leaks"),
            },
        ),
        (
            "host accept web01 SHA256:x",
            Command::HostKeys(HostKeys::Accept {
                selector: s("web01"),
                fingerprint: Some(s("SHA256:x")),
                trust: false,
            }),
        ),
        ("sudoers prod", Command::Sudoers { selector: s("prod") }),
        (
            "host accept prod -",
            Command::HostKeys(HostKeys::Accept {
                selector: s("prod"),
                fingerprint: Some(s("-")),
                trust: false,
            }),
        ),
        ("host forget prod", Command::HostKeys(HostKeys::Forget { selector: s("prod") })),
        ("balancer status prod", Command::BalancerStatus { selector: s("prod") }),
    ];
    for (line, wanted) in table {
        assert_eq!(parse(line), Ok(wanted), "{line}");
    }
    assert!(parse_line(b"deploy prod --json").unwrap().json);
    assert!(parse_line(b"--json runs").unwrap().json);
}

#[test]
fn help_is_found_wherever_it_is_asked_for() {
    let all = |line: &str| matches!(parse(line), Ok(Command::Help { topic: Topic::All(text) }) if text.contains("Every task is a command"));
    for line in ["", "help", "--help", "-h", "--json --help"] {
        assert!(all(line), "{line}");
    }
    let table = [
        ("run --help", "ssh rollcall run SELECTOR [OPTIONS] -- COMMAND"),
        ("run web -h", "ssh rollcall run SELECTOR [OPTIONS] -- COMMAND"),
        ("check -h", "ssh rollcall check"),
        ("help host accept", "ssh rollcall host accept"),
        ("host accept --help", "ssh rollcall host accept"),
        ("help balancer drain", "ssh rollcall balancer drain SELECTOR because REASON"),
        ("balancer drain -h", "ssh rollcall balancer drain SELECTOR because REASON"),
        ("help balancer", "ssh rollcall balancer"),
        ("balancer --help", "ssh rollcall balancer"),
        ("help run web", "ssh rollcall run"),
        ("show 41 --help", "ssh rollcall show"),
    ];
    for (line, usage) in table {
        match parse(line) {
            Ok(Command::Help { topic: Topic::Command(text) }) => {
                assert!(text.contains(&format!("Usage: {usage}")), "{line}: {text}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    for line in ["help deploy", "deploy --help", "deploy prod version=1 -h"] {
        assert_eq!(parse(line), Ok(Command::Help { topic: Topic::Name("deploy".into()) }), "{line}");
    }
    // Behind `--` and `because` it is text.
    assert_eq!(parse("run web -- ls --help"), Ok(Command::Run(RunAsk::line("web", "ls --help"))));
    assert!(!matches!(parse("ack web1 disk because -h"), Ok(Command::Help { .. })));
    for line in ["version", "--version", "-V"] {
        assert_eq!(parse(line), Ok(Command::Version), "{line}");
    }
}

#[test]
fn words_that_are_no_command_get_an_answer_of_their_own() {
    let table = [
        (
            "ls",
            "rollcall is no shell: it runs tasks, checks and commands on hosts; to run `ls` on hosts: run SELECTOR -- ls",
        ),
        ("exit", "rollcall is no shell, and there is no session to leave"),
        ("serve", "`serve` is a command of the program, on the daemon's machine: rollcall serve"),
        (
            "hosts?",
            "no task or command is called `hosts?`; did you mean `hosts`? (tasks: deploy, touch; commands: help)",
        ),
        ("?", "no task or command is called `?`; did you mean `help`?"),
        ("HELP", "no task or command is called `HELP`; did you mean `help`?"),
        ("depoly", "no task or command is called `depoly`; did you mean `deploy`?"),
        ("sever", "no task or command is called `sever` (tasks"),
        ("zzz", "no task or command is called `zzz` (tasks: deploy, touch; commands: help)"),
    ];
    for (word, wanted) in table {
        let said = crate::domain::ask::help::unknown_word(word, ["deploy", "touch"]).to_string();
        assert!(said.starts_with(wanted), "{word}: {said}");
    }
}

#[test]
fn what_is_not_understood_says_what_to_write() {
    let long = "x".repeat(LINE_LIMIT_BYTES + 1);
    let table = [
        (
            "rollback prod version=1",
            "`rollback` has no parameter `version`; try: rollback SELECTOR to=VERSION",
        ),
        (
            "plan rollback prod version=1",
            "`rollback` has no parameter `version`; try: rollback SELECTOR to=VERSION",
        ),
        ("plan rollback prod --diff", "`plan rollback` has no options"),
        ("plan rollback prod --force", "`plan rollback` has no options"),
        ("plan --tags x rollback prod", "`plan rollback` has no options"),
        ("deploy 'prod", "a quote is not closed"),
        ("run web uptime", "unexpected argument 'uptime' found"),
        ("run web", "the following required arguments were not provided"),
        ("output 41 web01 --raw", "the following required arguments were not provided"),
        ("output 41 web01 5 --lines 0-5", "`0-5` are no lines"),
        ("output 41 web01 5 --raw --bytes x", "`x` are no bytes"),
        ("output 41 web01 5 --raw --tail 5", "the argument '--raw' cannot be used with"),
        ("show x", "invalid value 'x' for '<RUN>'"),
        ("show -1", "unexpected argument '-1' found"),
        ("settle web01 gone", "say why, for the record: ... because REASON"),
        ("mark bad deploy because", "say why, for the record: ... because REASON"),
        ("help host acept", "no command is called `host acept`; did you mean `host accept`?; try: help host"),
        ("help balancer x", "no command is called `balancer x`; try: help balancer"),
        ("a\0b", "the command holds a NUL character"),
        (long.as_str(), "a command has at most 65536 bytes"),
    ];
    for (line, wanted) in table {
        let error = parse(line).expect_err(line);
        assert!(error.starts_with(wanted), "{line}: {error}");
        assert!(!error.contains("--help"), "{error}");
    }
    // Whether there is such a task is known at the door.
    let table = [
        ("deploy", "`deploy` needs to know where; try: deploy SELECTOR [NAME=VALUE...]"),
        ("deploy prod version", "`version` is no parameter; write NAME=VALUE, as in version=1.4.2"),
        ("deploy prod a=1 a=2", "`a` is given twice"),
        ("deploy prod --hard", "`deploy` has no option `--hard`; parameters are written NAME=VALUE"),
    ];
    for (line, wanted) in table {
        match parse(line) {
            Ok(Command::Misread { word, why }) => {
                assert!(word == "deploy" && why.starts_with(wanted), "{why}")
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    assert_eq!(parse_line(b"\xff").unwrap_err().text, "the command is not UTF-8");
}

#[test]
fn shell_syntax_is_never_read_here() {
    for line in [
        "; id",
        "$(id)",
        "`id`",
        "whoami; id",
        "whoami\nid",
        "deploy prod && id",
        "\u{202e}whoami",
        "-- x",
        "--help",
    ] {
        match parse(line) {
            Err(_) | Ok(Command::Task { .. } | Command::Misread { .. } | Command::Help { .. }) => {}
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn no_line_makes_it_panic() {
    proptest::proptest!(|(line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60))| {
        let _ = parse_line(&line);
    });
    proptest::proptest!(|(line in "(run|deploy|show|help|check|host accept|cancel|--json) ?[-a-z0-9= '\"]{0,20}( -- )?.{0,10}")| {
        let _ = parse_line(line.as_bytes());
    });
}

#[test]
fn lines_about_what_is_watched_become_commands() {
    let s = |text: &str| text.to_string();
    let downtime = |check: Option<&str>, hours: u64| Command::Downtime {
        selector: s("prod.web"),
        check: check.map(s),
        time: Duration::from_secs(hours * 3600),
        reason: s("new kernel"),
    };
    let table = [
        ("status", Command::Status { selector: s("all") }),
        ("status prod", Command::Status { selector: s("prod") }),
        (
            "history web1 serves the release",
            Command::History { host: s("web1"), check: Some(s("serves the release")) },
        ),
        ("why web1", Command::Why { host: s("web1"), check: None }),
        ("downtime", Command::Downtimes),
        ("downtime list", Command::Downtimes),
        ("downtime end 3", Command::DowntimeEnd { id: 3 }),
        ("downtime prod.web for 2h because new kernel", downtime(None, 2)),
        (
            "downtime prod.web serves the release for 2d because new kernel",
            downtime(Some("serves the release"), 48),
        ),
        (
            "ack web1 disk because it is ordered",
            Command::Ack { host: s("web1"), check: s("disk"), reason: s("it is ordered") },
        ),
    ];
    for (line, wanted) in table {
        assert_eq!(parse(line), Ok(wanted), "{line}");
    }
}

#[test]
fn what_is_missing_is_said_with_how_it_is_written() {
    for (line, wanted) in [
        ("downtime web1", "say why, for the record"),
        ("downtime web1 because x", "say for how long"),
        ("downtime web1 for ever because x", "`ever` is no time"),
        ("downtime for 2h because x", "say which hosts"),
        ("downtime web1 for 2h because", "say why"),
        ("downtime end x", "`x` is no number of a downtime"),
        ("ack web1 disk", "say why"),
        ("ack web1 because x", "say which check"),
    ] {
        let said = parse(line).unwrap_err();
        assert!(said.contains(wanted), "{line}: {said}");
    }
}

#[test]
fn a_line_means_the_same_whatever_was_read_before_it() {
    let lines = [
        "hosts prod --json",
        "hosts",
        "hosts prod web",
        "balancer drain web01 because a test",
        "balancer",
        "runs --last 5",
        "runs --last x",
        "nonsense --odd",
        "deploy prod version=1 --wait --json",
        "show 1 --host web01 --format json",
        "help balancer drain",
    ];
    let read = |line: &str| parse_line(line.as_bytes());
    let alone: Vec<_> = lines.iter().map(|line| read(line)).collect();
    for (before, behind) in lines.iter().flat_map(|before| lines.iter().map(move |behind| (before, behind))) {
        let _ = read(before);
        let place = lines.iter().position(|line| line == behind).unwrap();
        assert_eq!(read(behind), alone[place], "`{behind}` behind `{before}`");
    }
}

#[test]
fn a_run_has_limits_and_may_be_a_script() {
    let limits = RunLimits { timeout: Some(Duration::from_secs(30)), fanout: Some(20), sudo: true };
    let line =
        RunAsk { limits: limits.clone(), answer: RunAnswer::Compared, ..RunAsk::line("web", "id --sudo") };
    let script = |args: &[&str], limits: &RunLimits| {
        let args = args.iter().map(|arg| arg.to_string()).collect();
        let work = RunWork::Script(ScriptAsk { sha256: None, args });
        Ok(Command::Run(RunAsk { work, limits: limits.clone(), ..RunAsk::line("web", "") }))
    };
    let none = RunLimits::default();
    assert_eq!(
        parse("run web --diff --timeout 30s --fanout 20 --sudo -- id --sudo"),
        Ok(Command::Run(line.clone()))
    );
    assert_eq!(parse("run web --script"), script(&[], &none));
    assert_eq!(parse("run web --script -- a 'b  c' --sudo"), script(&["a", "b  c", "--sudo"], &none));
    assert_eq!(
        parse("--json run web --script -- a 'b  c' --sudo"),
        script(&["a", "b  c", "--sudo"], &none),
        "an option in front of it changes nothing behind `--`"
    );
    assert_eq!(parse("run web --sudo --script --fanout 20 --timeout 30s --"), script(&[], &limits));
    assert_eq!(line.title(), "run web --timeout 30s --fanout 20 --sudo -- id --sudo");
    for (line, why) in [
        ("run web", "required"),
        ("run web --fanout 0 -- id", "0 is not in 1"),
        ("run web --timeout 30 -- id", "`30` is no time"),
        ("run web --timeout 25h -- id", "24 hours at most"),
        ("run web -b --diff -- id", "cannot be used with"),
        ("run web --json --diff -- id", "compares none"),
        ("run web --script -- 'a", "a quote behind `--` is not closed"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(why), "{line}: {error}");
    }
}

#[test]
fn files_names_and_the_last_run_are_asked_for() {
    let copy = CopyAsk {
        selector: "web".into(),
        to: "/etc/a b".into(),
        sha256: None,
        mode: None,
        owner: None,
        backup: false,
        limits: RunLimits::default(),
    };
    let own = CopyAsk { mode: Some(0o750), owner: Some("root:app".into()), backup: true, ..copy.clone() };
    let nodes = |verb, words: &[&str]| {
        let words = words.iter().map(|word| word.to_string()).collect();
        AdHoc::Nodes(NodesAsk { verb, words })
    };
    let fetch = |sudo| {
        let limits = RunLimits { sudo, ..RunLimits::default() };
        AdHoc::Fetch(FetchAsk { host: "web01".into(), path: "/x".into(), limits })
    };
    let table = [
        ("copy web '/etc/a b'", AdHoc::Copy(copy.clone())),
        ("copy web '/etc/a b' --mode 644", AdHoc::Copy(CopyAsk { mode: Some(0o644), ..copy })),
        ("copy web '/etc/a b' --mode 0750 --owner root:app --backup", AdHoc::Copy(own.clone())),
        ("fetch web01 /x", fetch(false)),
        ("fetch web01 /x --sudo", fetch(true)),
        ("nodes fold a1 a2", nodes(NodesVerb::Fold, &["a1", "a2"])),
        ("nodes count", nodes(NodesVerb::Count, &[])),
        ("last", AdHoc::Last { task: None }),
        ("last deploy", AdHoc::Last { task: Some("deploy".into()) }),
    ];
    for (line, wanted) in table {
        assert_eq!(parse(line), Ok(Command::AdHoc(wanted)), "{line}");
    }
    assert!(nodes(NodesVerb::Fold, &["-"]).reads_input() && nodes(NodesVerb::Fold, &[]).reads_input());
    let own = CopyAsk { sha256: Some("0123456789abcdef".into()), ..own };
    assert_eq!(own.title(), "copy web '/etc/a b' --mode 750 --owner root:app --backup <sha256:0123456789ab");
    for (line, why) in [
        ("copy web /etc/", "say the name of the file, too: /etc/NAME"),
        ("copy web /x --mode 999", "octal digits"),
        ("copy web '~/x'", "begins in the home of the login: x"),
        ("fetch web01 '~/x'", "begins in the home of the login: x"),
        ("fetch web01", "required"),
        ("nodes sort a", "invalid value"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(why), "{line}: {error}");
    }
}
