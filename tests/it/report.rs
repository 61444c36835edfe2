//! `report`: what happened to hosts in a time, after real deploys over real ssh.

use serde_json::Value;

use crate::support::api::Forward;
use crate::support::site::Site;
use crate::support::{eventually, read, write};

/// Web01 is never ok, web02 always, and one check cannot be observed.
const WATCHED: &str = r#"
every = "1s"
[[check]]
name = "flag"
run = "case {{ root }} in *web01) exit 1;; esac"
[[check]]
name = "blind"
run = "exit 3"
plugin = true
"#;

async fn report(site: &Site, line: &str) -> Value {
    let answer = site.ask(&format!("report {line} --json")).await.expect(0);
    serde_json::from_str(&answer.out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_counts_deploys_failures_and_their_recovery() {
    let site = Site::start(2).await;
    let none = report(&site, "prod").await;
    assert_eq!((&none["schema"], &none["hosts"]), (&"group-report".into(), &3.into()), "{none}");
    assert_eq!(none["releases"]["deploys"], 0);
    assert_eq!(none["releases"]["change_failure_rate"], Value::Null);

    site.ask("deploy prod version=2.0.0 'hook=false'").await.expect(2);
    let failed = report(&site, "prod").await["releases"].clone();
    assert_eq!((&failed["deploys"], &failed["failed"]), (&1.into(), &1.into()), "{failed}");
    assert_eq!((&failed["not_recovered"], &failed["recovery"]), (&1.into(), &Value::Null), "{failed}");
    assert_eq!((&failed["hosts_rolled_back"], &failed["lead_time"]), (&1.into(), &Value::Null), "{failed}");

    site.ask("deploy prod version=2.0.1").await.expect(0);
    site.ask("deploy web01 version=2.0.2").await.expect(0);
    site.ask("rollback web01").await.expect(0);
    site.ask("touch web01").await.expect(0);
    let whole = report(&site, "prod").await;
    let all = &whole["releases"];
    let number = |name: &str| all[name].as_u64().unwrap();
    let found =
        ["deploys", "good", "failed", "unknown", "cancelled", "under_way", "not_recovered", "rollbacks"]
            .map(number);
    assert_eq!(found, [3, 2, 1, 0, 0, 0, 0, 1], "{all}");
    assert_eq!((&all["recovery"]["count"], &all["duration"]["count"]), (&1.into(), &3.into()), "{all}");
    assert!((all["change_failure_rate"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9, "{all}");
    assert!(whole["notes"][0].as_str().unwrap().contains("the first run on record started then"), "{whole}");
    // The failed run ended before it reached web02; the later one did not concern it.
    let second = report(&site, "web02").await["releases"].clone();
    let found = ["deploys", "good", "failed", "not_started"].map(|name| second[name].as_u64().unwrap());
    assert_eq!(found, [1, 1, 0, 1], "{second}");
    assert_eq!(report(&site, "lb1").await["releases"]["deploys"], 0);

    let text = site.ask_as("vic", "report prod --for 12h").await.expect(0).out;
    for part in [
        "prod: 3 hosts, ",
        "2 good, 1 failed",
        "change failure rate  33.33%",
        "lead time            not known",
        "rollbacks            1",
        "deploys rolled back 1 host\n",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let api = Forward::open(&site, "vic").await;
    let same = api.get("/v1/report?selector=web02&for=7d").await.expect(200).json();
    assert_eq!(same["releases"]["not_started"], 1, "{same}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_names_hosts_that_were_left_out_of_rotation() {
    let site = Site::start(2).await;
    assert_eq!(report(&site, "prod").await["left_out"], serde_json::json!([]));
    site.ask("balancer drain web02 because disk").await;
    let out = report(&site, "prod").await["left_out"].clone();
    assert_eq!(
        (&out[0]["host"], &out[0]["run"], &out[0]["until"]),
        (&"web02".into(), &1.into(), &Value::Null)
    );
    assert!(site.ask("report prod").await.expect(0).out.contains("still out"));
    assert_eq!(
        report(&site, "web01").await["left_out"],
        serde_json::json!([]),
        "of the selected hosts alone"
    );
    site.ask("balancer enable web02").await.expect(0);
    let out = report(&site, "prod").await["left_out"].clone();
    assert!(out[0]["until"].is_string() && out.as_array().unwrap().len() == 1, "{out}");
    // A deploy drains each host, and leaves none out.
    site.ask("deploy prod version=2.0.0").await.expect(0);
    assert_eq!(report(&site, "prod").await["left_out"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_has_the_worst_hosts_of_each_check_and_counts_nothing_unobserved() {
    let mut site = Site::without_daemon(2).await;
    let path = site.config.join("hosts/prod.toml");
    write(&path, &read(&path).replace("checks = [\"http\"]", "checks = [\"watched\"]"));
    write(&site.config.join("checks/watched.toml"), WATCHED);
    site.start_daemon().await;
    let of = |whole: &Value, name: &str| {
        let checks = whole["checks"].as_array().unwrap();
        checks.iter().find(|one| one["check"] == name).cloned().unwrap_or_default()
    };
    eventually("both checks are probed on both hosts", async || {
        let whole = report(&site, "prod").await;
        let both = |name| of(&whole, name)["hosts"].as_array().is_some_and(|hosts| hosts.len() == 2);
        both("flag") && both("blind")
    })
    .await;
    let whole = report(&site, "prod").await;
    let (flag, blind) = (of(&whole, "flag"), of(&whole, "blind"));
    assert_eq!(
        (&flag["hosts"][0]["host"], &flag["hosts"][0]["share"]),
        (&"web01".into(), &0.0.into()),
        "{flag}"
    );
    assert_eq!(
        (&flag["hosts"][1]["host"], &flag["hosts"][1]["share"]),
        (&"web02".into(), &1.0.into()),
        "{flag}"
    );
    assert_eq!(blind["share"], Value::Null, "{blind}");
    assert!(blind["unknown"].as_u64().unwrap() > 0, "{blind}");
    let text = site.ask("report web01").await.expect(0).out;
    assert!(text.contains("web01 0.00%") && !text.contains("web02"), "{text}");
}
