//! What happened since an operator has opened the fleet before: by their key, with exact sums.

use rusqlite::Connection;
use serde_json::Value;

use crate::support::site::Site;

/// The lines about it.
async fn since(site: &Site, who: &str, line: &str) -> Vec<String> {
    let answer = site.ask_as(who, &format!("{line} --json")).await.expect(0);
    let page: Value = serde_json::from_str(&answer.out).unwrap();
    let lines =
        page["head"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap().to_string());
    let from = |line: &String| line.starts_with("since your last visit, ");
    let lines: Vec<String> = lines.skip_while(|line| !from(line)).collect();
    lines
        .into_iter()
        .take_while(|line| from(line) || line.contains(" opened and ") || line.contains(" critical"))
        .collect()
}

/// All visits began long ago.
fn time_passes(site: &Site) {
    let store = Connection::open(site.dir.path().join("state/rollcall.db")).unwrap();
    store.busy_timeout(crate::support::DEADLINE).unwrap();
    let sql = "UPDATE fleet_visit SET body = json_set(body, '$.begun', '2026-01-01T00:00:00Z')";
    assert!(store.execute(sql, []).unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_reads_what_happened_since_its_last_visit() {
    let site = Site::start(2).await;
    let none: Vec<String> = Vec::new();
    for who in ["ann", "bob"] {
        assert_eq!(since(&site, who, "board").await, none, "the first visit of {who}");
    }
    site.ask("touch prod.web").await.expect(0);
    assert_eq!(since(&site, "ann", "board").await, none, "it is the same visit");
    time_passes(&site);
    // An open page is no visit.
    assert_eq!(since(&site, "bob", "board --open").await, none);
    let of_bob = since(&site, "bob", "board").await;
    assert!(of_bob[0].contains(": 1 run ended (1 done)") && of_bob.len() == 1, "{of_bob:?}");
    assert_eq!(since(&site, "bob", "board").await, of_bob, "a reload says the same");
    assert_eq!(since(&site, "bob", "board --open").await, of_bob);
    // Ann has seen that run, and sees what comes later.
    site.ask_as("bob", "balancer drain web01 because x").await.expect(0);
    let of_ann = since(&site, "ann", "board").await;
    assert!(of_ann[0].contains(": 1 run ended (1 done)"), "{of_ann:?}");
    assert_eq!(of_ann[1..], ["1 debt was opened and is open"]);
    time_passes(&site);
    site.ask_as("bob", "run web02 -- false").await.expect(2);
    site.ask_as("bob", "balancer enable web01").await.expect(0);
    let of_bob = since(&site, "bob", "board").await;
    assert!(of_bob[0].contains(": 3 runs ended (2 done, 1 failed)") && of_bob.len() == 1, "{of_bob:?}");
    let of_ann = since(&site, "ann", "board").await;
    assert!(of_ann[0].contains(": 2 runs ended (1 done, 1 failed)") && of_ann.len() == 1, "{of_ann:?}");
    time_passes(&site);
    let quiet = since(&site, "ann", "board").await;
    assert!(
        quiet[0].ends_with(": no run has ended, no debt was opened, no check became critical"),
        "{quiet:?}"
    );
    // The past says nothing of it.
    site.ask("board --at 1").await.expect(64);
    assert_eq!(since(&site, "ann", "board run 1 --at 2").await, none);
}
