//! `events`: the journal as a stream, whose numbers last.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::support::DEADLINE;
use crate::support::daemon::spawn_daemon;
use crate::support::site::{Answer, Site};

fn lines(answer: &Answer) -> Vec<Value> {
    answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(answer: &Answer) -> Vec<u64> {
    lines(answer).iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_numbered_without_a_gap_over_restarts() {
    let site = Site::without_daemon(1).await;
    let (mut daemon, port) = spawn_daemon(&site).await;
    site.ask_at(port, "touch web01").await.expect(0);
    let first = numbers(&site.ask_at(port, "events").await.expect(0));
    assert_eq!(first, (1..=first.len() as u64).collect::<Vec<_>>());
    // A follower sees what happens next, and goes on behind what it has seen.
    let mut follower =
        site.ssh_to(port, "vic", &format!("events --since {} --follow", first.len())).spawn().unwrap();
    let mut out = BufReader::new(follower.stdout.take().unwrap()).lines();
    site.ask_at(port, "touch web01").await.expect(0);
    let line = timeout(DEADLINE, out.next_line()).await.expect("an event").unwrap().unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["seq"], &event["type"], &event["run"]),
        (&(first.len() + 1).into(), &"run-started".into(), &2.into())
    );
    daemon.kill().await.unwrap();
    let (_daemon, port) = spawn_daemon(&site).await;
    let all = numbers(&site.ask_at(port, "events --since 0").await.expect(0));
    assert!(all.len() > first.len());
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    // By type and by time.
    let ended = lines(&site.ask_at(port, "events --type run-started,run-ended").await.expect(0));
    let types: Vec<&str> = ended.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["run-started", "run-ended", "run-started", "run-ended"]);
    assert_eq!(numbers(&site.ask_at(port, "events --since 1h").await.expect(0)), all);
    // A number that the journal does not have yet.
    let gap = lines(&site.ask_at(port, "events --since 4000").await.expect(0));
    assert_eq!(
        (&gap[0]["schema"], &gap[0]["since"], &gap[0]["newest"]),
        (&"gap".into(), &4000.into(), &all.len().into())
    );
    let err = site.ask_at(port, "events --type run-start").await.expect(64).err;
    assert!(
        err.starts_with("rollcall: no event has the type `run-start`; did you mean `run-started`? (known: "),
        "{err}"
    );
    let err = site.ask_at(port, "events --since yesterday").await.expect(64).err;
    let wanted =
        "rollcall: `yesterday` is neither a number of an event nor a time; try: --since 41, --since 2h\n";
    assert_eq!(err, wanted);
}
