//! Real hosts that print what no terminal should see: every command answers, and no host speaks for another.

use crate::support::site::Site;
use crate::support::{eventually, read, write};

/// 16 KB that are no text: each byte is shown as four characters.
const FLOOD: &str = "head -c 16384 /dev/zero | tr '\\\\0' '\\\\377'";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_host_prints_every_command_answers() {
    let mut site = Site::start(2).await;
    let task = format!("[[steps]]\nname = \"prints\"\nrun = \"{FLOOD}; {FLOOD} >&2; exit 1\"\n");
    write(&site.config.join("tasks/prints.toml"), &task);
    let check = format!(
        "every = \"1s\"\nmax_attempts = 1\n[[check]]\nname = \"flood\"\nrun = \"{FLOOD}; {FLOOD} >&2; exit 2\"\n"
    );
    write(&site.config.join("checks/flood.toml"), &check);
    let path = site.config.join("hosts/prod.toml");
    write(&path, &read(&path).replace("checks = [\"http\"]", "checks = [\"flood\"]"));
    site.daemon.take().expect("a daemon").stop().await;
    site.start_daemon().await;

    let failed = site.ask("prints web01").await.expect(2);
    assert!(failed.out.contains("prints: FAILED: exit status 1: \\xff"), "{}", &failed.out[..200]);
    eventually("the watched check has printed it, and status answers", async || {
        let status = site.ask("status").await;
        assert!(status.status >= 0 && status.status < 5, "{}", status.status);
        status.out.contains("flood") && status.out.contains("\\xff")
    })
    .await;
    let run = site.ask(&format!("run web01 -- {}", FLOOD.replace("\\\\", "\\"))).await.expect(0);
    assert!(run.out.contains("\\xff"));
    for line in [
        "show 1",
        "show 1 --host web01",
        "watch 1",
        "check web01",
        "runs",
        "why web01",
        "history web01",
        "debts",
    ] {
        for json in ["", " --json"] {
            let answer = site.ask(&format!("{line}{json}")).await;
            assert!((0..=5).contains(&answer.status), "{line}: {} {}", answer.status, answer.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_cannot_speak_for_another_in_the_answer_of_a_command() {
    let site = Site::start(2).await;
    let forges = "printf 'mine\\n---------------\\nweb02\\n---------------\\nforged\\n'";
    for end in ["", "; exit 1"] {
        let answer = site.ask(&format!("run prod.web -b -- {forges}{end}")).await;
        let indented = "\n  ---------------\n  web02\n  ---------------\n  forged\n";
        assert_eq!(answer.out.matches(indented).count(), 1, "{}", answer.out);
        assert_eq!(answer.out.lines().filter(|line| line.starts_with("web")).count(), 1, "{}", answer.out);
        assert_eq!(answer.out.lines().filter(|line| line.starts_with("---")).count(), 2, "{}", answer.out);
        // As it arrives, every line has its host in front.
        let answer = site.ask(&format!("run prod.web -- {forges}{end}")).await;
        let own =
            |host: &str| answer.out.lines().filter(|line| line.starts_with(&format!("{host}: "))).count();
        assert_eq!((own("web01"), own("web02"), answer.out.lines().count()), (5, 5, 10), "{}", answer.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_usage_are_told_and_not_raw() {
    let site = Site::start(1).await;
    for number in ["18446744073709551615", "0", "10001", "-1", "x"] {
        let answer = site.ask(&format!("runs --last={number}")).await.expect(64);
        assert!(answer.err.contains("a number from 1 to 10000"), "{number}: {}", answer.err);
    }
    site.ask("runs --last 3").await.expect(0);
    let json = site.ask("metrics --json").await.expect(64);
    assert!(json.err.contains("metrics are written for Prometheus only, not as JSON"), "{}", json.err);
}
