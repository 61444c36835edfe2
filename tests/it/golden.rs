//! Stores that earlier builds of rollcall wrote open, and mean the same. `tests/golden/README.md` says what is in them
//! and how they were made.

use std::path::Path;

use serde_json::Value;

use crate::support::site::{Answer, Site};
use crate::support::{eventually, keygen, read, write};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/first");

/// The sets of that time, for the same names; the hosts are other ones.
const HTTP: &str = r#"
every = "5h"
[[check]]
name = "up"
run = "true"
[[check]]
name = "log"
log = { path = "{{ root }}/app.log", never = "FATAL" }
[[check]]
name = "flag"
run = "true"
[[check]]
name = "from here"
tcp = { port = "{{ app_port }}" }
from = "daemon"
[[check]]
name = "manual"
run = "true"
"#;

const API: &str = "every = \"5h\"\n[[check]]\nname = \"up\"\nrun = \"true\"\n";

/// A daemon on a copy of the store. It probes nothing by itself.
async fn opened() -> Site {
    opened_with("").await
}

async fn opened_with(more: &str) -> Site {
    let mut site = Site::without_daemon(2).await;
    for file in ["rollcall.db", "rollcall.db.head"] {
        std::fs::copy(Path::new(GOLDEN).join(file), site.dir.path().join("state").join(file)).unwrap();
    }
    // Without its key a store that is there is refused.
    keygen(&site.dir.path().join("state/host_key"), "rollcall");
    let hosts = site.config.join("hosts/prod.toml");
    write(&hosts, &read(&hosts).replace("checks = [\"http\"]", "checks = [\"http\", \"api\"]"));
    write(&site.config.join("checks/http.toml"), HTTP);
    write(&site.config.join("checks/api.toml"), API);
    let settings = read(&site.config.join("rollcall.toml"));
    write(&site.config.join("rollcall.toml"), &format!("{settings}\n[schedule]\nenabled = false\n{more}"));
    site.start_daemon().await;
    site
}

/// What that build answered to a line: without the remark on open debts, which both add.
fn said(line: &str) -> String {
    let all = read(&Path::new(GOLDEN).join("said.txt"));
    let (_, rest) = all.split_once(&format!("$ ann: {line}\n")).unwrap_or_else(|| panic!("{line} was asked"));
    let answer = rest.split("(status ").next().unwrap();
    answer
        .lines()
        .filter(|line| !line.starts_with("out of rotation: web02 ("))
        .map(|line| line.to_string() + "\n")
        .collect()
}

async fn ask(site: &Site, line: &str) -> Answer {
    site.ask(line).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_of_an_earlier_build_are_shown_as_it_showed_them() {
    let site = opened().await;
    for run in 1..=12 {
        for line in [format!("watch {run}"), format!("watch {run} --json")] {
            assert_eq!(ask(&site, &line).await.out, said(&line), "{line}");
        }
    }
    // Ages go on; everything else stands.
    let runs = ask(&site, "runs").await.out;
    for line in said("runs").lines().skip(1) {
        let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let [number, _, rest @ ..] = words.as_slice() else { panic!("{line}") };
        let now = runs.lines().find(|line| line.starts_with(&format!("{number} "))).unwrap();
        assert!(rest.iter().all(|word| now.contains(word)), "{line}\n{now}");
    }
    assert!(ask(&site, "releases web01").await.out.contains("deploy hook=true version=1.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_are_removed_and_what_is_missing_is_said() {
    let mut site = opened_with("[retention]\nruns = \"1d\"\n").await;
    eventually("the first run is removed", async || {
        site.ask("show 1").await.err.contains("run 1 was removed by")
    })
    .await;
    let gone = site.ask("board run 1").await;
    assert!(gone.err.contains("the oldest run that may be there is "), "{gone:?}");
    let none = site.ask("show 999").await;
    assert!(none.err.contains("there is no run 999"), "{none:?}");
    // The run with the open debt is there, and everything after it.
    assert!(site.ask("debts").await.out.contains("web02"));
    let events = site.ask("events --since 0").await.expect(0).out;
    let first: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    let second: Value = serde_json::from_str(events.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&first["schema"], &first["oldest"]), (&"gap".into(), &second["seq"]), "{first}");
    assert!(!site.ask("events --since 1h").await.out.contains("\"gap\""));
    eventually("it is on record", async || {
        site.ask("audit --type rows-removed").await.out.contains("of the journal")
    })
    .await;
    let verified = site.ask("audit verify").await.expect(0).out;
    assert!(verified.contains("of the journal were removed by [retention]"), "{verified}");
    // A rollback still knows what was there.
    assert!(site.ask("releases web01").await.out.contains("deploy hook=true version=1.0.1"));
    site.daemon.take().unwrap().stop().await;
    site.start_daemon().await;
    site.ask("audit verify").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_debts_and_downtimes_of_an_earlier_build_stand() {
    let site = opened().await;
    let debts = ask(&site, "debts --json").await.out;
    assert_eq!(debts, said("debts --json"));
    let downtimes = ask(&site, "downtime --json").await.out;
    let of = |text: &str| -> Vec<Value> {
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        text.lines()
            .map(line)
            .map(|line| serde_json::json!([line["id"], line["why"], line["until"]]))
            .collect()
    };
    assert_eq!(of(&downtimes), of(&said("downtime --json")));
    // The host goes back by the debt, which is paid.
    let refused = ask(&site, "balancer drain web02 because twice").await;
    assert!(refused.out.contains("web02") || refused.err.contains("web02"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_and_history_of_an_earlier_build_go_to_the_one_check_that_they_are_of() {
    let site = opened().await;
    let lines = ask(&site, "status --json").await.out;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |host: &str, set: Option<&str>, check: &str| {
        let is_it = |line: &&Value| {
            line["host"] == host && line["set"] == serde_json::json!(set) && line["check"] == check
        };
        lines.iter().find(is_it).unwrap_or_else(|| panic!("{host} {set:?} {check}")).clone()
    };
    let flag = line("web02", Some("http"), "flag");
    assert_eq!((&flag["verdict"], &flag["ack"]["why"]), (&"critical".into(), &"the flag is known".into()));
    // The second check of one name had its full name already.
    let api = line("web01", Some("api"), "up");
    assert_eq!((&api["verdict"], &api["ack"]["why"]), (&"critical".into(), &"the api is known".into()));
    // The first one had the body of the second: it begins anew, and what was kept stays as history.
    let http = line("web01", Some("http"), "up");
    assert_eq!((&http["verdict"], &http["ack"]), (&Value::Null, &Value::Null));
    assert_eq!(line("web01", None, "reachable")["verdict"], "ok");
    // Downtimes by a name and by a set still hold.
    assert_eq!(line("web01", Some("http"), "flag")["quiet"]["why"], "new disk");
    assert_eq!(line("web02", Some("api"), "up")["quiet"]["why"], "new api");
    assert_eq!(line("web01", Some("api"), "up")["quiet"], Value::Null);

    // Runs that changed the host, and not those that looked at it.
    let why = ask(&site, "why web02").await.out;
    let titles = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("  between  "));
        lines.map(|line| line.split(" ago: ").last().unwrap().to_string()).collect()
    };
    let wanted = said("why web02");
    assert_eq!(titles(&why).len(), 2, "{why}");
    assert_eq!(titles(&why), titles(&wanted));

    let history = ask(&site, "history web02 flag").await.out;
    assert!(history.starts_with("web02 http/flag: "), "{history}");
    assert!(history.contains("acknowledged by bob: the flag is known"), "{history}");
    let all = ask(&site, "history web01").await.out;
    assert!(all.contains("web01 up: ") && all.contains("web01 reachable: "), "{all}");
    let why = ask(&site, "why web01").await.out;
    assert!(why.contains("web01 api/up: critical") && !why.contains("web01 up: "), "{why}");
}
