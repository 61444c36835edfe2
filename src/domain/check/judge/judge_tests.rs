//! Each kind of probe with its observations: verdict and sentence.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::domain::base::range::{Limits, Range};
use crate::domain::check::judge::judged::VALUE_BYTES;
use crate::domain::check::probe::*;
use crate::domain::check::seen::{Handshake, HttpAnswer};

fn exited(code: u32, stdout: &str) -> Observation {
    Observation::Exited {
        code,
        stdout: Output { text: stdout.into(), left_out: 0 },
        stderr: Output::default(),
    }
}

/// The output of rollcall's own scripts, as a login may print it.
fn said(lines: &str) -> Observation {
    let lines = lines.lines().map(|line| format!("rollcall {}\n", line.trim())).collect::<String>();
    exited(0, &format!("welcome to this host\n{lines}rollcall done\n"))
}

fn run(expect: Expect) -> Probe {
    Probe::Run { command: "x".into(), expect }
}

fn range(text: &str) -> Option<Range> {
    Some(text.parse::<Range>().unwrap())
}

fn limits(warning: &str, critical: &str) -> Limits {
    let some = |text: &str| if text.is_empty() { None } else { range(text) };
    Limits { warning: some(warning), critical: some(critical) }
}

fn hold(table: Vec<(Probe, Observation, Verdict, &str)>) {
    for (probe, seen, verdict, text) in table {
        let judged = judge(&probe, &seen);
        assert_eq!((judged.verdict, judged.text.as_str()), (verdict, text), "{probe:?} {seen:?}");
    }
}

#[test]
fn commands_are_judged_by_status_text_and_number() {
    use Verdict::{Critical, Ok, Unknown, Warning};
    let some = |text: &str| Some(text.to_string());
    let numbers =
        |warning: &str, critical: &str| Expect { limits: limits(warning, critical), ..Expect::default() };
    hold(vec![
        (run(Expect::default()), exited(0, "fine\n"), Ok, "fine"),
        (run(Expect::default()), exited(3, ""), Critical, "exit status 3, wanted 0"),
        (run(Expect { exit: 1, ..Expect::default() }), exited(1, ""), Ok, "exit status 1"),
        (run(Expect { equals: some("yes"), ..Expect::default() }), exited(0, "yes\n"), Ok, "yes"),
        (
            run(Expect { equals: some("yes"), ..Expect::default() }),
            exited(0, "no\n"),
            Critical,
            r#"stdout is "no", wanted "yes""#,
        ),
        (
            run(Expect { contains: some("es"), ..Expect::default() }),
            exited(0, "no\n"),
            Critical,
            r#"stdout is "no", wanted it to contain "es""#,
        ),
        (run(Expect { matches: some("^n.$"), ..Expect::default() }), exited(0, "no\n"), Ok, "no"),
        (run(numbers("", "10")), exited(0, "lag: 12 s"), Critical, "12 is not in critical range 10"),
        (run(numbers("10", "20")), exited(0, "12"), Warning, "12 is not in warning range 10"),
        (
            run(numbers("10", "")),
            exited(0, "lag: 12 of 90"),
            Unknown,
            r#"stdout is "lag: 12 of 90", wanted a number"#,
        ),
        (run(numbers("10", "")), exited(0, "95,7"), Unknown, r#"stdout is "95,7", wanted a number"#),
        (run(numbers("10", "")), exited(0, "none"), Unknown, r#"stdout is "none", wanted a number"#),
    ]);
}

#[test]
fn a_metric_that_gives_no_number_is_unknown() {
    use Verdict::{Critical, Ok, Unknown};
    let metric = |limits| Probe::Metric(Metric { command: "x".into(), unit: "s".into(), limits });
    hold(vec![
        (metric(limits("5", "10")), exited(0, "3.5\n"), Ok, "3.5 s"),
        (metric(limits("5", "10")), exited(0, "42"), Critical, "42 s is not in critical range 10"),
        (metric(limits("5", "10")), exited(1, ""), Unknown, "exit status 1"),
        (
            metric(limits("5", "10")),
            exited(0, " 7.5e0\n\n"),
            Verdict::Warning,
            "7.5 s is not in warning range 5",
        ),
    ]);
    for said in [
        "NULL",
        "95,7",
        "0x1f",
        "1 234",
        "1.234,5",
        "3.5s",
        "12 apples",
        "1_000",
        "1'000",
        "nan",
        "inf",
        "",
        "--",
        "1\n2",
        "٣",
    ] {
        let judged = judge(&metric(limits("5", "10")), &exited(0, said));
        assert_eq!(judged.verdict, Unknown, "{said}");
        let seen = format!("stdout is {:?}", shorten(said.trim()));
        assert_eq!(judged.text, seen + ", wanted a number and nothing else");
    }
    let judged = judge(&metric(limits("5", "10")), &exited(0, "3.5"));
    assert_eq!(judged.readings[0].to_string(), "value=3.5s;5;10");
}

#[test]
fn the_exit_status_of_a_plugin_decides_and_never_its_text() {
    use Verdict::{Critical, Ok, Unknown, Warning};
    let plugin = || Probe::Plugin(Plugin { command: "check_x".into(), upload: None });
    hold(vec![
        (plugin(), exited(0, "CRITICAL - all is well | a=1\n"), Ok, "CRITICAL - all is well"),
        (plugin(), exited(1, "W\n"), Warning, "W"),
        (plugin(), exited(2, "OK - not at all\nmore"), Critical, "OK - not at all"),
        (plugin(), exited(3, "U\n"), Unknown, "U"),
        (plugin(), exited(4, "OK\n"), Unknown, "exit status 4 is no plugin's: OK"),
        (plugin(), exited(0, ""), Ok, "the plugin said nothing (exit status 0)"),
        (
            plugin(),
            Observation::Signalled { signal: "KILL".into() },
            Unknown,
            "the command was ended by signal KILL",
        ),
        (plugin(), Observation::TimedOut { after: Duration::from_secs(1) }, Unknown, "no answer within 1s"),
    ]);
    let judged = judge(&plugin(), &exited(127, ""));
    assert_eq!(judged.verdict, Unknown);
    assert!(judged.text.contains("try: the package that has it"), "{}", judged.text);
    let judged = judge(&plugin(), &exited(0, "T | a=95,7 b=1\nlong"));
    assert_eq!(judged.detail, "long\nperformance data that is no number: a=95,7");
    let judged = judge(&plugin(), &exited(2, "T | a=1;2;3 b=U\nlong\ntext"));
    assert_eq!(
        (judged.readings.len(), judged.detail.as_str(), judged.value.as_deref()),
        (2, "long\ntext", Some("1"))
    );
}

fn http(change: impl FnOnce(&mut Http)) -> Probe {
    let mut http = Http::get("80", "/");
    change(&mut http);
    Probe::Http(Box::new(http))
}

fn answered(status: u16, headers: &[(&str, &str)], body: &str) -> Observation {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let took = Duration::from_millis(250);
    Observation::Answered(Box::new(HttpAnswer {
        status,
        headers,
        body: body.into(),
        took,
        cut: false,
        revalidated: None,
    }))
}

#[test]
fn http_answers_are_judged_by_status_body_headers_json_and_time() {
    use Verdict::{Critical, Ok, Warning};
    let json = |path: &'static str, value| http(move |http| _ = http.json.insert(path.into(), value));
    let body = r#"{"db": {"state": "up", "lag": 3}, "list": [1, 2]}"#;
    hold(vec![
        (http(|_| {}), answered(200, &[], ""), Ok, "HTTP status 200"),
        (
            http(|_| {}),
            answered(301, &[("location", "/x")], ""),
            Critical,
            "HTTP status 301, wanted 200 (it leads to /x)",
        ),
        (
            http(|http| http.status = Status::Any(vec![200, 204])),
            answered(204, &[], ""),
            Ok,
            "HTTP status 204",
        ),
        (
            http(|http| http.status = Status::Any(vec![200, 204])),
            answered(500, &[], ""),
            Critical,
            "HTTP status 500, wanted 200 or 204",
        ),
        (
            http(|http| http.body.contains = Some("1.2".into())),
            answered(200, &[], "v1.3"),
            Critical,
            r#"body is "v1.3", wanted it to contain "1.2""#,
        ),
        (
            http(|http| _ = http.answers.insert("content-type".into(), "html".into())),
            answered(200, &[("Content-Type", "text/html")], ""),
            Ok,
            "HTTP status 200",
        ),
        (
            http(|http| _ = http.answers.insert("x-a".into(), "b".into())),
            answered(200, &[], ""),
            Critical,
            "there is no header x-a",
        ),
        (json("$.db.state", json!("up")), answered(200, &[], body), Ok, "HTTP status 200"),
        (json("db.lag", json!(3.0)), answered(200, &[], body), Ok, "HTTP status 200"),
        (json("db.lag", json!("3")), answered(200, &[], body), Ok, "HTTP status 200"),
        (json("$.list[1]", json!(3)), answered(200, &[], body), Critical, "$.list[1] is 2, wanted 3"),
        (json("$.no", json!(1)), answered(200, &[], body), Critical, "the body has nothing at $.no"),
        (json("$.no", json!(1)), answered(200, &[], "<html>"), Critical, r#"body is "<html>", wanted JSON"#),
        (
            http(|http| http.limits = limits("0.2", "0.5")),
            answered(200, &[], ""),
            Warning,
            "HTTP status 200, after 0.25 s, which is not in warning range 0.2",
        ),
        (
            http(|_| {}),
            Observation::TimedOut { after: Duration::from_secs(1) },
            Critical,
            "no answer within 1s",
        ),
        (http(|_| {}), Observation::NoService { why: "refused".into() }, Critical, "refused"),
    ]);
}

#[test]
fn what_caches_may_do_is_told_as_rfc_9111_has_it() {
    use Verdict::{Critical, Ok};
    let cache = |cache: Cache| http(move |http| http.cache = Some(cache));
    let fresh = |text: &str| cache(Cache { fresh: range(text), ..Cache::default() });
    let shared = |yes| cache(Cache { shared: Some(yes), ..Cache::default() });
    let dates = [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("expires", "Sun, 06 Nov 1994 09:49:37 GMT")];
    hold(vec![
        (fresh("60:"), answered(200, &[("cache-control", "public, max-age=300")], ""), Ok, "HTTP status 200"),
        (
            fresh("60:"),
            answered(200, &[("cache-control", "max-age=300"), ("age", "290")], ""),
            Critical,
            "it is fresh for 10 seconds, which is not in range 60:",
        ),
        (
            fresh("60:"),
            answered(200, &[("cache-control", "max-age=1, s-maxage=100")], ""),
            Ok,
            "HTTP status 200",
        ),
        (
            fresh("0:0"),
            answered(200, &[("cache-control", "no-store, max-age=300")], ""),
            Ok,
            "HTTP status 200",
        ),
        (fresh("3600:3600"), answered(200, &dates, ""), Ok, "HTTP status 200"),
        (
            fresh("60:"),
            answered(200, &[], ""),
            Critical,
            "nothing says for how long it is fresh (no max-age, no Expires)",
        ),
        (
            shared(true),
            answered(200, &[("cache-control", "private")], ""),
            Critical,
            "no shared cache may keep it (Cache-Control: private)",
        ),
        (
            shared(false),
            answered(200, &[("cache-control", "max-age=5")], ""),
            Critical,
            "a shared cache may keep it (Cache-Control: max-age=5)",
        ),
        (
            cache(Cache { revalidates: Some(true), ..Cache::default() }),
            answered(200, &[], ""),
            Critical,
            "it has no validator (ETag, Last-Modified) to ask again with",
        ),
    ]);
}

#[test]
fn connections_certificates_and_names_are_judged() {
    use Verdict::{Critical, Ok, Warning};
    let tcp = |contains: Option<&str>| {
        Probe::Tcp(Tcp {
            address: "127.0.0.1".into(),
            port: "25".into(),
            send: None,
            banner: BodyExpect { contains: contains.map(String::from), matches: None },
            limits: Limits::default(),
        })
    };
    let connected =
        |banner: &str| Observation::Connected { banner: banner.into(), took: Duration::from_millis(1) };
    let tls = |names: &[&str], limits| {
        let names = names.iter().map(|name| name.to_string()).collect();
        Probe::Tls(Tls {
            address: "a".into(),
            port: "443".into(),
            name: None,
            names,
            trust: Trust::Full,
            limits,
        })
    };
    let shook = |days_left, distrusted: Option<&str>| {
        Observation::Shook(Box::new(Handshake {
            subject: "CN=x".into(),
            issuer: "CN=ca".into(),
            names: vec!["*.example.com".into(), "example.com".into()],
            days_left,
            distrusted: distrusted.map(String::from),
            cannot_tell: None,
            chain: 2,
        }))
    };
    let dns = |answers: &[&str]| {
        let answers = answers.iter().map(|answer| answer.to_string()).collect();
        Probe::Dns(Dns { name: "db".into(), record: String::new(), server: None, answers })
    };
    hold(vec![
        (tcp(None), connected(""), Ok, "port 25 accepts connections"),
        (tcp(Some("220")), connected("220 mx\r\n"), Ok, r#"port 25 says "220 mx""#),
        (
            tcp(Some("220")),
            connected("554 no\r\n"),
            Critical,
            r#"the banner is "554 no", wanted it to contain "220""#,
        ),
        (tls(&["www.example.com"], limits("30:", "7:")), shook(40.0, None), Ok, "CN=x (CN=ca), 40 days left"),
        (
            tls(&[], limits("30:", "7:")),
            shook(20.0, None),
            Warning,
            "CN=x (CN=ca), 20 days left is not in warning range 30:",
        ),
        (
            tls(&["a.b.example.com"], limits("", "")),
            shook(20.0, None),
            Critical,
            "the certificate is not for a.b.example.com; its names are *.example.com, example.com",
        ),
        (
            tls(&[], limits("", "")),
            shook(20.0, Some("expired")),
            Critical,
            "the certificate is not trusted: expired",
        ),
        (tls(&[], limits("", "")), shook(-2.0, None), Critical, "the certificate has expired 2 days ago"),
        (dns(&["10.0.0.1"]), said("answer 10.0.0.1"), Ok, "db is 10.0.0.1"),
        (dns(&["10.0.0.2"]), said("answer 10.0.0.1"), Critical, "db is 10.0.0.1, wanted 10.0.0.2"),
        (dns(&["mx.example.com"]), said("answer MX.example.com."), Ok, "db is mx.example.com"),
        (dns(&[]), said(""), Critical, "db has no answer"),
    ]);
}

#[test]
fn what_hosts_say_of_themselves_is_judged() {
    use Verdict::{Critical, Ok, Unknown, Warning};
    let port = |open, process: Option<&str>| {
        let process = process.map(String::from);
        Probe::Port(Port { port: "80".into(), udp: false, open, address: None, process })
    };
    let service = |running, enabled| Probe::Service(Service { name: "x".into(), running, enabled });
    let process = |count: &str| {
        Probe::Process(Process {
            name: "nginx".into(),
            user: None,
            args: None,
            count: count.parse().unwrap(),
        })
    };
    let package = |version: Option<&str>| {
        Probe::Package(Package { name: "x".into(), installed: true, version: version.map(String::from) })
    };
    hold(vec![
        (port(true, None), said("listens 0.0.0.0 80 nginx\nlistens :: 8080 x"), Ok, "nginx on 0.0.0.0:80"),
        (
            port(true, Some("nginx")),
            said("listens 0.0.0.0 80 apache2"),
            Critical,
            "apache2 on 0.0.0.0:80, wanted nginx",
        ),
        (port(true, None), said("listens :: 8080 x"), Critical, "no process listens on port 80"),
        (port(false, None), said("listens * 80 "), Critical, "a process listens: *:80"),
        (port(false, None), said(""), Ok, "no process listens on port 80"),
        (process("1:"), said("count 0"), Critical, "0 processes nginx is not in critical range 1:"),
        (process("1:1"), said("count 1"), Ok, "1 process nginx"),
        (
            service(Some(true), Some(true)),
            said("runs yes\nenabled no"),
            Critical,
            "it will not come back after a reboot",
        ),
        (
            service(Some(true), Some(true)),
            said("runs yes\nenabled yes"),
            Ok,
            "runs: yes, starts with the host: yes",
        ),
        (service(Some(true), None), said("runs no\nenabled yes"), Critical, "it does not run"),
        (
            service(None, Some(true)),
            said("runs no\nenabled static"),
            Unknown,
            r#"the init system says "static""#,
        ),
        (package(Some("1.2*")), said("version 1.2.3-1"), Ok, "version 1.2.3-1"),
        (package(Some("1.3")), said("version 1.2.3-1"), Critical, "version 1.2.3-1, wanted 1.3"),
        (package(None), said("version"), Critical, "not installed"),
        (
            Probe::Disk(Disk { path: "/".into(), inodes: false, limits: limits("80", "90") }),
            said("used 85\nfree 15"),
            Warning,
            "85% used is not in warning range 80",
        ),
        (
            Probe::Disk(Disk { path: "/x".into(), inodes: false, limits: limits("80", "90") }),
            said(""),
            Unknown,
            "df reports nothing about /x",
        ),
        (
            Probe::Load(Load { over: 5, per_cpu: true, limits: limits("1", "2") }),
            said("load1 9\nload5 6\nload15 1\ncpus 4"),
            Warning,
            "load 1.5 for each of 4 processors is not in warning range 1",
        ),
        (
            Probe::Memory(Memory { swap: false, limits: limits("", "90") }),
            said("total 1024000\navailable 512000"),
            Ok,
            "50% of 1000 MiB used",
        ),
        (
            Probe::Memory(Memory { swap: true, limits: limits("", "90") }),
            said("swap_total 0\nswap_free 0"),
            Ok,
            "there is no swap",
        ),
        (
            Probe::Clock { limits: limits("", "1") },
            Observation::Ticked { ahead: -3.0, give_or_take: 0.01 },
            Critical,
            "3 s behind (give or take 0.010 s) is not in critical range 1",
        ),
        (
            Probe::Clock { limits: limits("", "1") },
            Observation::Ticked { ahead: 0.4, give_or_take: 0.5 },
            Ok,
            "0 s ahead (give or take 0.500 s)",
        ),
        (
            process("1:"),
            exited(0, "rollcall count 1\n"),
            Unknown,
            "the probe ended with exit status 0: rollcall count 1",
        ),
        (process("1:"), said("unknown ps is not here"), Unknown, "ps is not here"),
    ]);
}

#[test]
fn files_and_logs_are_judged() {
    use Verdict::{Critical, Ok};
    let file = |change: fn(&mut FileProbe)| {
        let mut file = FileProbe { path: "/f".into(), exists: true, ..FileProbe::default() };
        change(&mut file);
        Probe::File(Box::new(file))
    };
    let there = "mode 640\nowner app\ngroup adm\nsize 12\nage 90";
    let log = |change: fn(&mut Log)| {
        let mut log =
            Log { path: "/l".into(), fresh: None, appears: None, never: None, limits: Limits::default() };
        change(&mut log);
        Probe::Log(log)
    };
    hold(vec![
        (file(|_| {}), said(there), Ok, "12 bytes, written 90s ago"),
        (file(|_| {}), said("missing"), Critical, "/f is not there"),
        (file(|file| file.exists = false), said("missing"), Ok, "it is not there"),
        (file(|file| file.mode = Some("0600".into())), said(there), Critical, "its mode is 640, wanted 600"),
        (file(|file| file.owner = Some("app".into())), said(there), Ok, "12 bytes, written 90s ago"),
        (
            file(|file| file.newer_than = Some(Duration::from_secs(60))),
            said(there),
            Critical,
            "it was written 90s ago, wanted within 60s",
        ),
        (
            file(|file| file.size = range("100:")),
            said(there),
            Critical,
            "it has 12 bytes, which is not in range 100:",
        ),
        (
            file(|file| file.contains = Some("b".into())),
            said(&format!("{there}\nline a\nline b")),
            Ok,
            "12 bytes, written 90s ago",
        ),
        (
            file(|file| file.contains = Some("c".into())),
            said(&format!("{there}\nunreadable")),
            Verdict::Unknown,
            "the login may not read it; try: a check with `run` and sudo",
        ),
        (
            log(|log| log.fresh = Some(Duration::from_secs(60))),
            said("age 61\nlines 0"),
            Critical,
            "last written 61s ago, wanted within 60s",
        ),
        (
            log(|log| log.fresh = Some(Duration::from_secs(60))),
            said("age 6\nlines 0"),
            Ok,
            "last written 6s ago",
        ),
        (
            log(|log| log.never = Some("E".into())),
            said("age 1\nlines 9\nnever 2\nnever_line E: x\nsince 30"),
            Critical,
            "2 lines since the last probe, 30s ago: E: x",
        ),
        (
            log(|log| log.appears = Some("done".into())),
            said("age 1\nlines 9\nappears 0"),
            Critical,
            "no line in the log (this is the first probe)",
        ),
        (
            log(|log| log.appears = Some("done".into())),
            said("age 1\nlines 9\nskipped it was emptied\nappears 0\nsince 30"),
            Verdict::Unknown,
            "lines of /l since the last probe, 30s ago, were not read: it was emptied",
        ),
        (
            log(|log| log.appears = Some("done".into())),
            said("age 1\nlines 9\nskipped it was emptied\nappears 1\nsince 30"),
            Ok,
            "last written 1s ago",
        ),
        (
            log(|log| log.never = Some("E".into())),
            said("age 1\nlines 9\nskipped it was emptied\nnever 0\nsince 30"),
            Verdict::Unknown,
            "lines of /l since the last probe, 30s ago, were not read: it was emptied",
        ),
        (
            log(|log| log.never = Some("E".into())),
            said("age 1\nlines 9\nskipped it was emptied\nnever 1\nnever_line E\nsince 30"),
            Critical,
            "1 lines since the last probe, 30s ago: E",
        ),
        (
            log(|log| log.limits = limits("", "10:")),
            said("age 1\nlines 5\nsince 60"),
            Critical,
            "5 lines a minute is not in critical range 10:",
        ),
        (
            log(|log| log.limits = limits("", "10:")),
            said("age 1\nlines 5"),
            Ok,
            "last written 1s ago; counting lines from here on",
        ),
    ]);
}

#[test]
fn what_could_not_be_seen_is_unknown() {
    for seen in [
        Observation::Blind { why: "forwarding is not allowed".into() },
        Observation::NoContact { why: "connection lost".into() },
    ] {
        for probe in [http(|_| {}), run(Expect::default())] {
            assert_eq!(judge(&probe, &seen).verdict, Verdict::Unknown, "{seen:?}");
        }
    }
    let odd = Observation::Connected { banner: String::new(), took: Duration::ZERO };
    assert_eq!(judge(&http(|_| {}), &odd).verdict, Verdict::Unknown);
}

#[test]
fn what_differs_behind_the_end_of_what_is_kept_differs() {
    let long = |end: &str| exited(0, &("x".repeat(VALUE_BYTES) + end));
    let value = |seen: &Observation| judge(&run(Expect::default()), seen).value.unwrap();
    assert_ne!(value(&long("a")), value(&long("b")));
    assert_eq!(value(&long("a")), value(&long("a")));
}
