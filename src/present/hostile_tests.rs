//! Every presenter with hostile output of a host: it never fails, steers a terminal, or imitates a line of rollcall.

use jiff::Timestamp;
use proptest::prelude::*;

use super::formats::render;
use super::live::Lines;
use super::report::{HostReport, Report};
use super::table::columns;
use super::{json, notice, recap, table, watching};
use crate::domain::ask::command::Format;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, Failure, FailureKind, Outcome, Verdict};
use crate::domain::base::output::{Output, is_steering, printable, to_text};
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::notify::notice::{About, Notice, NoticeContent, NoticeKind, SharedObservation};
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::event::{BracketDirection, Change, Event, EventKind, Progress, Stage};
use crate::domain::run::record::{Debt, RunSummary};
use crate::domain::run::run::Run;
use crate::domain::watch::roll::{CheckLine, Roll};

/// Longer than a width that Rust can format.
const TOO_WIDE: usize = 70_000;

fn at() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn host() -> HostName {
    HostName::from("web1")
}

fn plan(kind: RunKind) -> Plan {
    let text = r#"{"title": "run web", "kind": "run", "params": {}, "rollout": {"serial": [{"hosts": 1}]},
        "batches": [["web1", "web2"]],
        "hosts": {"web1": {"endpoint": {"name": "web1", "address": "web1", "port": 22, "login": "d"}, "steps": [],
            "rollback": [], "vars": {}, "observe": null, "checks": [], "checks_back": [], "balancer": null},
          "web2": {"endpoint": {"name": "web2", "address": "web2", "port": 22, "login": "d"}, "steps": [],
            "rollback": [], "vars": {}, "observe": null, "checks": [], "checks_back": [], "balancer": null}},
        "balancers": {}, "leases": [], "files_root": "files"}"#;
    Plan { kind, ..crate::domain::plan::plan::read(text).unwrap() }
}

fn events(text: &str) -> Vec<Event> {
    let output = || Output { text: text.into(), left_out: 0 };
    let result = || CheckResult {
        detail: text.into(),
        ..CheckResult::new(CheckId::new("http", "http"), Verdict::Critical, text)
    };
    let (why, name) = (text.to_string(), text.to_string());
    let kinds = vec![
        EventKind::ObserveFailed {
            host: host(),
            failure: Failure { kind: FailureKind::Unreachable, why: why.clone() },
        },
        EventKind::DrainEnded {
            balancer: "b".into(),
            hosts: vec![host()],
            change: Change::Refused { why: why.clone() },
        },
        EventKind::EnableEnded { balancer: "b".into(), hosts: vec![host()], change: Change::done(text) },
        EventKind::StepEnded {
            host: host(),
            way: BracketDirection::Forward,
            step: 0,
            name,
            attempt: 2,
            outcome: Outcome::Failed { code: Some(1), why: why.clone() },
            stdout: output(),
            stderr: output(),
            took_ms: 1,
            code: None,
        },
        EventKind::StepSkipped {
            host: host(),
            way: BracketDirection::Forward,
            step: 0,
            name: "s".into(),
            why: why.clone(),
            failed: true,
        },
        EventKind::ChecksEnded { host: host(), stage: Stage::Gate, results: vec![result()] },
        EventKind::RollbackStarted { host: host(), why: why.clone() },
        EventKind::HostSettled { host: host(), end: End::Held, why },
    ];
    (1..).zip(kinds).map(|(seq, kind)| Event { seq, run: RunId(1), at: at(), kind }).collect()
}

fn run(kind: RunKind, text: &str) -> Run {
    let result = CheckResult {
        detail: text.into(),
        ..CheckResult::new(CheckId::new("http", "http"), Verdict::Warning, text)
    };
    let (by, key, plan_sha256) = (String::new(), String::new(), String::new());
    let kinds = [
        EventKind::RunStarted { title: String::new(), by, key, plan_sha256, granted: None },
        EventKind::ChecksStarted { host: host(), stage: Stage::Roll },
        EventKind::ChecksEnded { host: host(), stage: Stage::Roll, results: vec![result] },
        EventKind::HostSettled { host: host(), end: End::Held, why: text.into() },
    ];
    let events = (1..).zip(kinds).map(|(seq, kind)| Event { seq, run: RunId(1), at: at(), kind });
    Run::replay(RunId(1), plan(kind), &events.collect::<Vec<Event>>()).unwrap()
}

fn roll(text: &str) -> Roll {
    let line = CheckLine {
        host: host(),
        group: "prod.web".into(),
        check: CheckId::new("http", "http").into(),
        verdict: Some(Verdict::Critical),
        hard: true,
        attempt: 1,
        max_attempts: 3,
        since: Some(at()),
        text: text.into(),
        last_at: Some(at()),
        took_ms: 1,
        readings: vec![],
        last_ok: Some((at(), text.into())),
        flapping: false,
        ack: None,
        quiet: None,
        next_at: None,
    };
    Roll { lines: vec![line], pace: Default::default() }
}

fn message(text: &str) -> Notice {
    let about = About {
        kind: NoticeKind::Opened,
        thread: "t".into(),
        first: true,
        check: CheckId::new("http", "http").into(),
        group: "prod.web".into(),
        since: at(),
        verdict: Verdict::Critical,
        hosts: "web1".into(),
        count: 1,
        of: 2,
        example: "web1".into(),
        seen: vec![SharedObservation {
            hosts: "web1".into(),
            verdict: Verdict::Critical,
            flapping: false,
            text: text.into(),
        }],
        not_shown: 0,
        new: String::new(),
        recovered: String::new(),
        dropped: String::new(),
        acknowledged: vec![],
        waited: None,
    };
    Notice { key: "k".into(), at: at(), what: NoticeContent::Incident(Box::new(about)) }
}

/// All screens about a host that printed `text`.
fn screens(text: &str) -> Vec<String> {
    let (all, released) = (events(text), RunKind::Release { task: "deploy".into() });
    let mut said = Vec::new();
    for kind in [RunKind::Run, RunKind::Check, released] {
        let (plan, run) = (plan(kind.clone()), run(kind, text));
        let mut lines = Lines::new(&plan);
        said.extend(all.iter().map(|event| lines.event(event)));
        said.push(lines.progress(&Progress { host: host(), line: text.into() }));
        said.push(recap::recap(&run, &all));
        said.push(json::recap(&run));
    }
    said.push(recap::host_story(&host(), &all));
    said.extend(all.iter().map(json::event));
    said.push(watching::status(&roll(text), at()));
    let debt = Debt {
        host: host(),
        balancer: "b".into(),
        run: RunId(1),
        by: "ann".into(),
        since: at(),
        why: text.into(),
        written_off: None,
    };
    said.push(table::debts(&[debt], at()));
    let summary = RunSummary {
        run: RunId(1),
        title: text.into(),
        kind: RunKind::Run,
        by: "ann".into(),
        started_at: at(),
        ended_at: None,
        outcome: None,
        hosts: vec![host()],
    };
    said.push(table::runs(&[summary], at()));
    said
}

/// The same in the formats of other programs, which have their own rules for multi-line texts.
fn formats(text: &str) -> Vec<String> {
    let report = Report {
        title: "check web".into(),
        run: Some(RunId(1)),
        at: at(),
        took: std::time::Duration::ZERO,
        verdict: Verdict::Critical,
        hosts: vec![HostReport {
            host: "web1".into(),
            group: "prod.web".into(),
            results: vec![CheckResult {
                detail: text.into(),
                ..CheckResult::new(CheckId::new("http", "http"), Verdict::Critical, text)
            }],
            missing: vec![],
        }],
    };
    let formats = [Format::Json, Format::Nagios, Format::Junit, Format::Tap, Format::Prometheus];
    formats.map(|format| render(&report, format)).into()
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| to_text(&bytes)),
        "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{e0001}a\r\n\t]{0,40}",
        Just("\\xff".repeat(TOO_WIDE / 4)),
        Just("ä".repeat(TOO_WIDE)),
        Just("\n".repeat(100)),
        Just("x\n---------------\nweb2\n---------------\n web2 | forged".to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_presenter_fails_whatever_hosts_print(text in hostile()) {
        for said in screens(&text).into_iter().chain(formats(&text)) {
            let _ = printable(&said);
        }
        let _ = (notice::words(&message(&text), "mail"), notice::subject(&message(&text)));
        let _ = columns(&[vec![text.clone(), "b".into(), text.clone()], vec!["a".into(), text]]);
    }

    #[test]
    fn messages_hold_nothing_that_steers_whoever_reads_them(text in hostile()) {
        let message = message(&text);
        let words = notice::words(&message, "mail");
        let all = words.values().filter_map(|value| value.as_str()).chain([]);
        for said in all.map(str::to_string).chain([notice::subject(&message), notice::text(&message)]) {
            let steers = said.chars().find(|c| is_steering(*c) || (c.is_control() && !matches!(c, '\n' | '\t')));
            prop_assert_eq!(steers, None, "{:?}", said);
        }
        prop_assert!(!notice::subject(&message).contains('\n'));
    }
}

#[test]
fn what_hosts_print_passes_for_no_line_of_rollcall() {
    let forged = "x\n---------------\nweb2\n---------------\nweb2 | step: ok\nrun 1: done";
    for said in screens(forged).iter().filter(|said| !said.starts_with(['{', '<'])) {
        let bare = said.lines().find(|line| ["web2", "run 1: done", "web2 | step: ok"].contains(line));
        assert_eq!(bare, None, "{said}");
    }
}

#[test]
fn long_cells_are_clipped_and_fill_up_no_other_row() {
    let text = columns(&[vec!["\\xff".repeat(20_000), "end".into()], vec!["a".into(), "b\nc".into()]]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].ends_with("…  end") && lines[0].chars().count() < 2_100, "{}", lines[0].len());
    assert!(lines[1].starts_with("a ") && lines[1].ends_with("b\\nc") && lines[1].len() < 300);
}
