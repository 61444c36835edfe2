//! A check is its set and its name: two sets with a check of one name stay apart wherever a check is named, on real
//! sshd.

use serde_json::Value;

use crate::support::site::Site;
use crate::support::{eventually, read, write};

const HTTP: &str = r#"
every = "1s"
max_attempts = 1
[[check]]
name = "up"
run = "test ! -e {{ root }}/bad-http && echo http {{ version }}"
[[check]]
name = "log"
log = { path = "{{ root }}/http.log", never = "FATAL" }
"#;

const API: &str = r#"
every = "1s"
max_attempts = 1
[[check]]
name = "up"
run = "test ! -e {{ root }}/bad-api && echo api {{ version }}"
[[check]]
name = "log"
log = { path = "{{ root }}/api.log", never = "FATAL" }
[[check]]
name = "reachable"
run = "echo the service answers"
"#;

/// Hosts whose group has two sets with checks of the same names.
async fn site(sets: &str) -> Site {
    let mut site = Site::without_daemon(2).await;
    set_checks(&site, sets);
    write(&site.config.join("checks/http.toml"), HTTP);
    write(&site.config.join("checks/api.toml"), API);
    for (host, log) in [(0, "http.log"), (0, "api.log"), (1, "http.log"), (1, "api.log")] {
        write(&site.hosts[host].dir.join(log), "a line\n");
    }
    site.start_daemon().await;
    site.ask("deploy prod version=1.0.1").await.expect(0);
    site
}

fn set_checks(site: &Site, sets: &str) {
    let path = site.config.join("hosts/prod.toml");
    let text = read(&path);
    let rest = text.split_once("checks = [").unwrap().1.split_once(']').unwrap().1.to_string();
    write(&path, &format!("[web]\nchecks = [{sets}]{rest}"));
}

async fn restart(site: &mut Site) {
    site.daemon.take().expect("a daemon").stop().await;
    site.start_daemon().await;
}

/// What `status` says of one check; of the host itself where there is no set.
async fn line(site: &Site, set: Option<&str>, check: &str) -> Value {
    let answer = site.ask("status --json").await;
    let lines = answer.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_it = |line: &Value| {
        line["schema"] == "status"
            && line["host"] == "web01"
            && line["check"] == check
            && line["set"] == serde_json::json!(set)
    };
    lines.into_iter().find(is_it).unwrap_or(Value::Null)
}

async fn says(site: &Site, set: Option<&str>, check: &str, text: &str) {
    eventually(&format!("{set:?}/{check} says {text}"), async || {
        line(site, set, check).await["text"] == text
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_deploy_each_of_two_checks_of_one_name_asks_what_it_asked_before() {
    let site = site("\"http\", \"api\"").await;
    site.ask("deploy prod version=1.0.2").await.expect(0);
    says(&site, Some("http"), "up", "http 1.0.2").await;
    says(&site, Some("api"), "up", "api 1.0.2").await;
    says(&site, None, "reachable", "it answers").await;
    // And both stand apart in every format, in history and in words.
    let report = site.ask("check web01 --format prometheus").await.expect(0).out;
    assert!(report.contains(r#"set="http",check="up""#), "{report}");
    assert!(report.contains(r#"set="api",check="up""#), "{report}");
    let history = site.ask("history web01").await.expect(0).out;
    let of_set = site.ask("history web01 api").await.expect(0).out;
    assert!(of_set.contains("web01 api/up: ") && !of_set.contains("http/up"), "{of_set}");
    assert!(history.contains("web01 http/up: ") && history.contains("web01 api/up: "), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_probes_of_logs_with_one_name_each_go_on_where_they_ended() {
    let site = site("\"http\", \"api\"").await;
    site.ask("check web01").await.expect(0);
    let log = site.hosts[0].dir.join("api.log");
    write(&log, &(read(&log) + "FATAL\n"));
    let seen = site.ask("check web01").await.expect(2).out;
    assert!(seen.contains("critical  web01  api/log: "), "{seen}");
    assert!(seen.contains("ok        web01  http/log: "), "{seen}");
    // A line is judged once, whoever else looked at another log in between.
    for line in ["check web01", "check web01 http/log", "check web01 api/log"] {
        site.ask(line).await.expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_and_history_stay_with_their_check_when_sets_change_places() {
    let mut site = site("\"http\", \"api\"").await;
    write(&site.hosts[0].dir.join("bad-http"), "");
    says(&site, Some("http"), "up", "exit status 1, wanted 0").await;
    site.ask("ack web01 http/up because known").await.expect(0);
    site.daemon.take().expect("a daemon").stop().await;
    set_checks(&site, "\"api\", \"http\"");
    site.start_daemon().await;
    says(&site, Some("api"), "up", "api 1.0.1").await;
    assert_eq!(line(&site, Some("http"), "up").await["ack"]["why"], "known");
    assert_eq!(line(&site, Some("api"), "up").await["ack"], Value::Null);
    let history = site.ask("history web01 api/up").await.expect(0).out;
    assert!(!history.contains("exit status 1"), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_called_reachable_is_not_whether_the_host_is_reached() {
    let mut site = site("\"api\"").await;
    says(&site, Some("api"), "reachable", "the service answers").await;
    says(&site, None, "reachable", "it answers").await;
    restart(&mut site).await;
    says(&site, Some("api"), "reachable", "the service answers").await;
    says(&site, None, "reachable", "it answers").await;
    // The run of a check does not write into the contact's history either.
    site.ask("check web01 reachable").await.expect(0);
    let history = site.ask("history web01 reachable").await.expect(0).out;
    assert!(!history.contains("the service answers"), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_checks_have_is_an_error_that_lists_both() {
    let site = site("\"http\", \"api\"").await;
    let both = "`up` is ambiguous: api/up, http/up; write one of them";
    for line in [
        "check web01 up",
        "history web01 up",
        "why web01 up",
        "ack web01 up because x",
        "downtime web01 up for 1h because x",
    ] {
        let answer = site.ask(line).await.expect(64);
        assert!(answer.err.contains(both), "{line}: {}", answer.err);
    }
    // Where only one host of two sets is meant, the bare name is enough.
    set_checks(&site, "\"api\"");
    site.ask("reload").await.expect(0);
    let one = site.ask("check web01 up").await.expect(0);
    assert!(one.out.contains("api/up: api 1.0.1"), "{}", one.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_names_two_checks_is_a_mistake_at_load() {
    let site = site("\"http\", \"api\"").await;
    // A task without a version has none for its checks.
    write(&site.config.join("checks/api.toml"), &API.replace("api {{ version }}", "api"));
    let task = |name: &str| format!("[[steps]]\nname = \"verify\"\ncheck = \"{name}\"\n");
    write(&site.config.join("tasks/verify.toml"), &task("up"));
    let refused = site.ask("reload").await;
    assert_ne!(refused.status, 0);
    assert!(refused.err.contains("`up` is ambiguous: api/up, http/up"), "{refused:?}");
    write(&site.config.join("tasks/verify.toml"), &task("api/up"));
    site.ask("reload").await.expect(0);
    write(&site.hosts[0].dir.join("bad-http"), "");
    site.ask("verify web01").await.expect(0);
    write(&site.hosts[0].dir.join("bad-api"), "");
    let failed = site.ask("verify web01").await;
    assert_eq!(failed.status, 2, "{failed:?}");
    assert!(failed.out.contains("check api/up: critical"), "{failed:?}");
}
