//! `events`: the journal as a stream, whose numbers last.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::support::daemon::spawn_daemon;
use crate::support::site::{Answer, Site};
use crate::support::{DEADLINE, keygen, read, write};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_an_operator_with_groups_ends_when_the_hosts_change() {
    let site = Site::start(1).await;
    keygen(&site.dir.path().join("web"), "web");
    let operators = site.config.join("operators");
    let line = format!("role=\"operator\",groups=\"prod.web\" {}", read(&site.dir.path().join("web.pub")));
    write(&operators, &(read(&operators) + &line));
    site.ask("reload").await.expect(0);
    site.ask("touch web01").await.expect(0);
    let mut limited = site.ssh("web", "events --since 0 --type run-ended --follow").spawn().unwrap();
    let mut out = BufReader::new(limited.stdout.take().unwrap()).lines();
    let line = timeout(DEADLINE, out.next_line()).await.expect("an event").unwrap().unwrap();
    let seq = serde_json::from_str::<Value>(&line).unwrap()["seq"].clone();
    // Another file than that of hosts changes nothing of what they see.
    let task = site.config.join("tasks/touch.toml");
    write(&task, &(read(&task) + "\n"));
    site.ask("reload").await.expect(0);
    write(&site.config.join("hosts/lab.toml"), "[bench]\nhosts = \"bench01\"\n");
    site.ask("reload").await.expect(0);
    let ended = timeout(DEADLINE, limited.wait_with_output()).await.expect("it ends").unwrap();
    let err = String::from_utf8_lossy(&ended.stderr).into_owned();
    let why = format!(
        "rollcall: the hosts of the configuration have changed, and what you may see may be different; to continue: events \
         --since {seq} --follow\n"
    );
    assert_eq!((ended.status.code(), err), (Some(130), why));
}
