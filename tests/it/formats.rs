//! `check --format`: each format with texts as nasty as hosts print them, read by the programs that it is for.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use rollcall::domain::ask::command::{Format, parse_line};
use rollcall::domain::base::name::RunId;
use rollcall::domain::base::outcome::Verdict;
use rollcall::domain::base::perf::{Printed, Reading, parse};
use rollcall::domain::check::check::CheckResult;
use rollcall::domain::check::id::CheckId;
use rollcall::domain::run::record::Debt;
use rollcall::domain::watch::roll::{CheckLine, Roll};
use rollcall::present::formats::render;
use rollcall::present::metrics::{Metrics, families};
use rollcall::present::report::{HostReport, Report};
use rollcall::present::{nagios, prometheus};

use crate::support::site::{Site, answer_of};
use crate::support::{account, folder, write};

/// Everything that means something in one of the formats.
const NASTY: &str = "a \"quote\" 'and' <tag> & a|pipe #SKIP \\back \u{1b}[31mred\u{7} \u{1F600}\nok 9 - forged\n  ...\n]]>\r\n{{ x }}\t{\"a\"} ";

fn host(name: &str, results: Vec<CheckResult>) -> HostReport {
    HostReport { host: name.into(), group: "prod.web".into(), results, missing: vec![] }
}

fn report(verdict: Verdict, hosts: Vec<HostReport>) -> Report {
    Report {
        title: "check prod".into(),
        run: Some(RunId(42)),
        at: "2026-11-21T18:00:00.5Z".parse().unwrap(),
        took: Duration::from_millis(1234),
        verdict,
        hosts,
    }
}

fn result(check: &str, verdict: Verdict, text: &str) -> CheckResult {
    CheckResult { took_ms: 120, probes: 1, ..CheckResult::new(CheckId::new("set", check), verdict, text) }
}

/// One of each verdict, one that was not made, and texts that try to be something else.
fn nasty() -> Report {
    let reading = |label: &str, value: f64| Reading::with_unit(label, value, "s");
    let numbers = vec![
        reading("time", 0.5),
        reading("time", 0.7),
        reading("a b='c'\"\n\\", 3.0),
        Reading { value: None, ..Reading::new("unmeasured", 0.0) },
        Reading::new("huge", 1e300),
        Reading::new("none", f64::NAN),
        Reading::new("much", f64::INFINITY),
        Reading::new("little", f64::NEG_INFINITY),
    ];
    let long = "\u{1F600}\u{0}\u{b}x".repeat(2_000);
    let web01 = vec![
        CheckResult { readings: numbers, ..result("http", Verdict::Ok, "HTTP status 200") },
        CheckResult { detail: NASTY.into(), ..result("disk \"/\" <&|>", Verdict::Critical, NASTY) },
        result("lag", Verdict::Warning, NASTY),
    ];
    let web02 = vec![
        result("http", Verdict::Unknown, &long),
        // Two checks of one name on one host: two sets may say so.
        result("http", Verdict::Ok, "again"),
    ];
    let mut hosts = vec![host("web01", web01), host("web02", web02), host("web03", vec![])];
    hosts[2].missing = vec![CheckId::new("set", "http")];
    hosts[2].group = String::new();
    report(Verdict::Critical, hosts)
}

/// What a program says of a text on its standard input: its status, and all that it said.
fn read_by(command: &mut Command, text: &str) -> (Option<i32>, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is there; run tests/run, which installs it");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn prometheus_takes_the_metrics() {
    let told = render(&nasty(), Format::Prometheus);
    let (status, said) = read_by(Command::new("promtool").args(["check", "metrics"]), &told);
    assert_eq!((status, said.as_str()), (Some(0), ""), "{told}");
    for line in [
        "rollcall_check_status{host=\"web01\",group=\"prod.web\",set=\"set\",check=\"http\"} 0\n",
        "rollcall_check_status{host=\"web01\",group=\"prod.web\",set=\"set\",check=\"disk \\\"/\\\" <&|>\"} 2\n",
        "rollcall_check_status{host=\"web02\",group=\"prod.web\",set=\"set\",check=\"http\"} 3\n",
        "rollcall_check_status{host=\"web03\",group=\"\",set=\"set\",check=\"http\"} 3\n",
        "rollcall_check_duration_seconds{host=\"web01\",group=\"prod.web\",set=\"set\",check=\"http\"} 0.12\n",
        "check=\"http\",label=\"time\",unit=\"s\"} 0.5\n",
        "label=\"a b='c'\\\"\\n\\\\\",unit=\"s\"} 3\n",
        "label=\"unmeasured\",unit=\"\"} NaN\n",
        "label=\"much\",unit=\"\"} +Inf\n",
        "label=\"little\",unit=\"\"} -Inf\n",
    ] {
        assert!(told.contains(line), "{line}{told}");
    }
}

/// Everything that `metrics` may tell.
#[test]
fn prometheus_takes_how_rollcall_fares() {
    let line = |host: &str, verdict: Option<Verdict>| CheckLine {
        host: host.into(),
        group: "prod.web".into(),
        check: CheckId::new("set", "http \"x\"").into(),
        verdict,
        hard: true,
        attempt: 3,
        max_attempts: 3,
        since: Some("2026-11-21T18:00:00Z".parse().unwrap()),
        text: NASTY.into(),
        last_at: Some("2026-11-21T18:05:00Z".parse().unwrap()),
        took_ms: 20,
        readings: vec![Reading::with_unit("time", 0.5, "s")],
        last_ok: None,
        flapping: true,
        ack: None,
        quiet: None,
        next_at: None,
    };
    let lines = vec![line("web01", Some(Verdict::Critical)), line("web02", None)];
    let roll = Roll { lines, ..Roll::default() };
    let debt = Debt {
        host: "web01".into(),
        balancer: "prod.web".into(),
        run: RunId(7),
        by: "ann".into(),
        since: "2026-11-21T18:00:00Z".parse().unwrap(),
        why: "held".into(),
        written_off: None,
    };
    let channels = [("ops".to_string(), [3, 1, 0])].into_iter().collect();
    let metrics = Metrics {
        debts: &[debt],
        runs: &[],
        leases: &[("prod".to_string(), 7)],
        channels: &channels,
        roll: Some(&roll),
    };
    let told = prometheus::text(&families(&metrics));
    let (status, said) = read_by(Command::new("promtool").args(["check", "metrics"]), &told);
    assert_eq!((status, said.as_str()), (Some(0), ""), "{told}");
    for line in [
        "rollcall_debts 1\n",
        "rollcall_debt_since_timestamp_seconds{host=\"web01\",balancer=\"prod.web\"} 1795284000\n",
        "rollcall_lease_held{group=\"prod\",run=\"7\"} 1\n",
        "# TYPE rollcall_notices_delivered_total counter\nrollcall_notices_delivered_total{channel=\"ops\"} 3\n",
        "rollcall_check_status{host=\"web01\",group=\"prod.web\",set=\"set\",check=\"http \\\"x\\\"\"} 2\n",
        "rollcall_check_flapping{host=\"web01\",",
        "rollcall_schedule_lateness_p99_seconds 0\n",
    ] {
        assert!(told.contains(line), "{line}{told}");
    }
    assert!(!told.contains("web02"), "nobody has looked there yet");
}

#[test]
fn prove_reads_the_tests() {
    let told = render(&nasty(), Format::Tap);
    let dir = folder();
    let file = dir.path().join("checks.tap");
    std::fs::write(&file, &told).unwrap();
    let (status, said) = read_by(Command::new("prove").args(["--exec", "cat"]).arg(&file), "");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("Failed 3/6 subtests"), "{said}\n{told}");
    assert!(said.contains("Failed tests:  2, 4, 6"), "{said}");
    assert!(!said.contains("Parse errors") && !said.contains("skipped"), "{said}");
    assert!(
        told.contains(
            "ok 1 - web01 set/http\nnot ok 2 - web01 set/disk \"/\" <&|>\n  ---\n  severity: critical\n"
        ),
        "{told}"
    );

    let good = report(Verdict::Ok, vec![host("web01", vec![result("http", Verdict::Ok, "fine")])]);
    std::fs::write(&file, super::formats::render(&good, Format::Tap)).unwrap();
    let (status, said) = read_by(Command::new("prove").args(["--exec", "cat"]).arg(&file), "");
    assert!(status == Some(0) && said.contains("All tests successful"), "{said}");
    std::fs::write(&file, super::formats::render(&report(Verdict::Ok, vec![]), Format::Tap)).unwrap();
    let (status, said) = read_by(Command::new("prove").args(["--exec", "cat"]).arg(&file), "");
    assert!(status == Some(0) && said.contains("nothing was probed"), "{said}");
}

#[test]
fn junit_is_what_jenkins_and_ant_demand() {
    let told = render(&nasty(), Format::Junit);
    let document = roxmltree::Document::parse(&told).unwrap_or_else(|error| panic!("{error}\n{told}"));
    let root = document.root_element();
    assert_eq!((root.tag_name().name(), root.attribute("time")), ("testsuites", Some("1.234")));
    let suites: Vec<_> = root.children().filter(|node| node.is_element()).collect();
    assert_eq!(suites.len(), 3);
    for suite in &suites {
        for needed in [
            "name",
            "tests",
            "failures",
            "errors",
            "skipped",
            "time",
            "timestamp",
            "hostname",
            "id",
            "package",
        ] {
            assert!(suite.has_attribute(needed), "{needed}: {suite:?}");
        }
        assert_eq!(suite.attribute("timestamp"), Some("2026-11-21T18:00:00"), "without a zone");
        let names: Vec<&str> =
            suite.children().filter(|node| node.is_element()).map(|node| node.tag_name().name()).collect();
        // Ant's schema knows this order alone.
        let mut wanted = vec!["properties"];
        wanted.extend(names.iter().filter(|name| **name == "testcase"));
        wanted.extend(["system-out", "system-err"]);
        assert_eq!(names, wanted);
        let cases = || suite.children().filter(|node| node.has_tag_name("testcase"));
        for case in cases() {
            assert!(case.has_attribute("name") && case.has_attribute("classname"), "{case:?}");
            let time = case.attribute("time").unwrap();
            assert!(time.contains('.') && time.parse::<f64>().is_ok(), "{time}");
            let ends = case
                .children()
                .filter(|node| ["failure", "error", "skipped"].contains(&node.tag_name().name()));
            let ends: Vec<_> = ends.collect();
            assert!(ends.len() <= 1);
            assert!(ends.iter().all(|end| end.has_tag_name("skipped") || end.has_attribute("type")));
        }
        for (attribute, element) in [("failures", "failure"), ("errors", "error"), ("skipped", "skipped")] {
            let count = cases().filter(|case| case.children().any(|node| node.has_tag_name(element))).count();
            assert_eq!(suite.attribute(attribute), Some(count.to_string().as_str()), "{attribute}");
        }
    }
    let counts = |suite: &roxmltree::Node| {
        ["tests", "failures", "errors", "skipped"].map(|name| suite.attribute(name).unwrap().to_string())
    };
    assert_eq!(
        suites.iter().map(counts).collect::<Vec<_>>(),
        [["3", "1", "0", "0"], ["2", "0", "1", "0"], ["1", "0", "0", "1"]]
    );
    let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert_eq!(failure.attribute("type"), Some("CRITICAL"));
    assert!(
        failure.text().unwrap().contains("<tag> & a|pipe #SKIP \\back red \u{1F600}\nok 9 - forged"),
        "{failure:?}"
    );
    let warned = document.descendants().find(|node| {
        node.has_tag_name("system-out")
            && node.text().is_some_and(|text| text.starts_with("WARNING: a \"quote\""))
    });
    assert!(warned.is_some(), "a warning passes and says so");
    let controls = told.chars().filter(|c| c.is_control() && *c != '\n');
    assert_eq!(controls.count(), 0);
}

#[test]
fn nagios_reads_one_check_as_the_plugin_itself() {
    let plugin = "DISK OK - free space: / 3326 MB (56%);|/=2643MB;5948;5958;0;5968\n/ 15272 MB (77%);\n";
    let read = parse(plugin);
    let one = CheckResult {
        detail: read.long.clone(),
        readings: read.readings.clone(),
        ..result("disk", Verdict::Ok, &read.text)
    };
    let answer = render(&report(Verdict::Ok, vec![host("web01", vec![one])]), Format::Nagios);
    assert_eq!(
        answer,
        "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n/ 15272 MB (77%);\n"
    );
    assert_eq!(parse(&answer), read);

    let ours = CheckResult { detail: NASTY.into(), ..result("body", Verdict::Critical, NASTY) };
    let answer = render(&report(Verdict::Critical, vec![host("web01", vec![ours])]), Format::Nagios);
    let read = parse(&answer);
    assert!(read.readings.is_empty(), "{answer}");
    assert!(
        read.text.starts_with("a \"quote\" 'and' <tag> & a¦pipe") && read.text.contains("forged"),
        "{answer}"
    );
    let silent =
        render(&report(Verdict::Ok, vec![host("web01", vec![result("x", Verdict::Ok, "")])]), Format::Nagios);
    assert_eq!(silent, "(no output)\n");
    assert_eq!(nagios::refused("no such\nhost | x"), "UNKNOWN: no such host ¦ x\n");
}

#[test]
fn nagios_reads_many_checks_as_one_answer() {
    let answer = render(&nasty(), Format::Nagios);
    let lines: Vec<&str> = answer.lines().collect();
    let (text, data) = lines[0].split_once(" | ").unwrap();
    assert!(text.starts_with("CRITICAL: 2 ok, 1 warning (web01 set/lag: a \"quote\""), "{text}");
    assert!(text.ends_with(", 1 not made"), "{text}");
    assert!(data.starts_with("ok=2 warning=1 critical=1 unknown=1 web01/set/http/time=0.5s "), "{data}");
    let order: Vec<&str> = lines[1..].iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(order, ["[CRITICAL]", "[UNKNOWN]", "[WARNING]", "[OK]", "[OK]", "[UNKNOWN]"]);
    assert_eq!(answer.matches('|').count(), 1, "no text is taken for performance data");
    let none = render(&report(Verdict::Unknown, vec![]), Format::Nagios);
    assert_eq!(none, "UNKNOWN: nothing was probed | ok=0 warning=0 critical=0 unknown=0\n");
    let many: Vec<CheckResult> = (0..500)
        .map(|n| CheckResult {
            readings: vec![Reading::new("reading", 1.0)],
            ..result(&format!("check {n}"), Verdict::Critical, "no")
        })
        .collect();
    let answer = render(&report(Verdict::Critical, vec![host("web01", many)]), Format::Nagios);
    let first = answer.lines().next().unwrap();
    assert!(first.contains("; and 497 more)") && first.len() < 5_000, "{}", first.len());
}

#[test]
fn json_is_one_document() {
    let told = render(&nasty(), Format::Json);
    let value: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(value["schema"], "report");
    assert_eq!(value["version"], 2);
    assert_eq!(
        (&value["verdict"], &value["exit_status"], &value["run"]),
        (&"critical".into(), &2.into(), &42.into())
    );
    assert_eq!(value["hosts"][0]["checks"][1]["text"], NASTY);
    assert_eq!(value["hosts"][0]["checks"][0]["set"], "set");
    assert_eq!(value["hosts"][2]["not_made"][0], serde_json::json!({ "set": "set", "check": "http" }));
}

#[test]
fn the_grammar_names_the_formats() {
    let format =
        |line: &str| parse_line(line.as_bytes()).map(|request| (request.command.format(), request.json));
    assert_eq!(format("check prod"), Ok((Format::Text, false)));
    assert_eq!(format("check prod http version=1.0 --format junit"), Ok((Format::Junit, false)));
    assert_eq!(format("check --format=tap prod"), Ok((Format::Tap, false)));
    assert_eq!(format("check prod --format jsonl"), Ok((Format::Jsonl, true)));
    assert_eq!(format("check prod --json"), Ok((Format::Text, true)));
    assert_eq!(format("show 3 --format nagios"), Ok((Format::Nagios, false)));
    let wrong = format("check prod --format nagois").unwrap_err().text;
    assert!(
        wrong.contains("[possible values: text, json, jsonl, nagios, junit, tap, prometheus]"),
        "{wrong}"
    );
    assert!(format("check prod --json --format tap").unwrap_err().text.contains("ask for two answers"));
}

/// What Nagios runs, and what it would run instead: the same plugin on the same host, through the same sshd.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_stands_in_for_check_by_ssh() {
    let site = Site::start(2).await;
    let plugins = "/usr/lib/nagios/plugins";
    let port = site.hosts[0].sshd.address.port();
    let commands = [
        format!("{plugins}/check_procs -w 1:100000 -c 1:200000"),
        format!("{plugins}/check_procs -w 1:1 -c 1:100000"),
        format!("{plugins}/check_dummy 3 \"nobody knows\""),
        format!("{plugins}/check_tcp -H 127.0.0.1 -p 1"),
        "printf \"X WARNING - two lines | a=1;2;3;0;5 b=2s\\nlong text\\nmore of it\\n\"; exit 1".to_string(),
    ];
    let checks = commands
        .iter()
        .enumerate()
        .map(|(number, command)| format!("[[check]]\nname = \"c{number}\"\nplugin = '{command}'\n"));
    write(&site.config.join("checks/http.toml"), &checks.collect::<String>());
    site.ask("reload").await.expect(0);
    for (number, command) in commands.iter().enumerate() {
        let mut theirs = tokio::process::Command::new(format!("{plugins}/check_by_ssh"));
        theirs
            .args(["-H", "127.0.0.1", "-p", &port.to_string(), "-l", &account(), "-i"])
            .arg(site.dir.path().join("fleet"))
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "LogLevel=ERROR", "-t", "30", "-C", command]);
        let theirs = answer_of(theirs).await;
        let ours = site.ask(&format!("check web01 c{number} --format nagios")).await;
        assert_eq!((ours.status, ours.err.as_str()), (theirs.status, ""), "{command}: {ours:?} {theirs:?}");
        // How many processes there are changes between two looks; a plugin may end its numbers with a `;` or not.
        let read = |text: &str| {
            let numbers = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
            let Printed { text, long, readings, unread, left_out } = parse(text);
            let readings: Vec<String> =
                readings.iter().map(|reading| numbers(&reading.to_string())).collect();
            (numbers(&text), long, readings, unread, left_out)
        };
        assert_eq!(read(&ours.out), read(&theirs.out), "{command}");
        assert!(command.contains("check_procs") || ours.out == theirs.out, "{ours:?} {theirs:?}");
    }
    let many = site.ask("check prod --format nagios").await.expect(2);
    assert!(
        many.out.starts_with("CRITICAL: ") && many.out.contains("\n[CRITICAL] web01 http/c"),
        "{}",
        many.out
    );
    let refused = site.ask("check nonesuch --format nagios").await.expect(3);
    assert!(refused.out.starts_with("UNKNOWN: ") && refused.err.is_empty(), "{refused:?}");
    let shown = site.ask("show 1 --format nagios").await.expect(0);
    assert!(shown.out.starts_with("PROCS OK: "), "{}", shown.out);
    for format in ["json", "junit", "tap", "prometheus"] {
        let answer = site.ask(&format!("check prod --format {format}")).await.expect(2);
        assert!(answer.err.is_empty() && answer.out.contains("c3"), "{format}: {answer:?}");
    }
    let metrics = site.ask_as("vic", "metrics").await.expect(0);
    let (status, said) = read_by(Command::new("promtool").args(["check", "metrics"]), &metrics.out);
    assert_eq!((status, said.as_str(), metrics.err.as_str()), (Some(0), "", ""), "{}", metrics.out);
}
