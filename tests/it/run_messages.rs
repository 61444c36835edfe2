//! Runs notify people: by mail, webhook and command, one thread for each run, also when the daemon is killed.

use std::process::Stdio;
use std::time::Duration;

use mail_parser::MessageParser;
use serde_json::Value;
use tokio::process::Child;

use crate::support::daemon::spawn_daemon;
use crate::support::listeners::{Listener, Taken};
use crate::support::site::Site;
use crate::support::{eventually, read, write};

const ALL: &str = "runs = [\"started\", \"waiting for approval\", \"needs a person\", \"failed\", \"done\"]";

const ASKS: &str = r#"
hosts = "web"
vars.version = "1.0.0"
[rollout]
serial = 1
pause_after = { batch = 1, until = "approved" }
[[steps]]
name = "touch"
run = "touch {{ root }}/touched"
"#;

/// A site with channels; no daemon runs yet.
async fn site(channels: &str) -> Site {
    let site = Site::without_daemon(2).await;
    write(&site.config.join("tasks/asks.toml"), ASKS);
    write(&site.config.join("tasks/breaks.toml"), "[[steps]]\nname = \"break\"\nrun = \"exit 1\"\n");
    write(&site.config.join("hosts/lab.toml"), "[bench]\nhosts = \"bench01\"\n");
    let path = site.config.join("rollcall.toml");
    write(&path, &format!("{}{channels}", read(&path)));
    site
}

async fn until_taken(listener: &Listener, count: usize) -> Vec<Taken> {
    eventually("they are taken", async || listener.taken().len() >= count).await;
    listener.taken()
}

fn start(site: &Site, line: &str) -> Child {
    let mut command = site.ssh("ann", line);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_one_thread_and_its_messages_have_the_command_that_continues() {
    let (mail, hook) = (Listener::mail().await, Listener::hook().await);
    let log = tempfile::NamedTempFile::new().unwrap();
    let log = log.path();
    let channels = format!(
        "[[notify]]\nname = \"ops\"\n{ALL}\nmail = {{ from = \"rollcall@example.com\", to = \"ops@example.com\", smtp = \"{}\", tls = \"none\" }}\n\
         [[notify]]\nname = \"chat\"\nruns = [\"waiting for approval\", \"failed\"]\nonly = {{ tasks = [\"asks\", \"breaks\"] }}\n\
         [notify.webhook]\nurl = \"http://{}/hook\"\n\
         [notify.webhook.body]\nthread = \"{{{{ thread }}}}\"\nkind = \"{{{{ kind }}}}\"\nrun = \"{{{{ run }}}}\"\ntext = \"{{{{ text }}}}\"\n\
         [[notify]]\nname = \"script\"\n{ALL}\nonly = {{ groups = [\"prod.web\"] }}\n\
         command = \"echo $ROLLCALL_THREAD $ROLLCALL_KIND $ROLLCALL_COUNT $ROLLCALL_GROUP >>{log}\"\n\
         [[notify]]\nname = \"lab\"\n{ALL}\nonly = {{ groups = [\"lab\"] }}\ncommand = \"echo lab >>{log}\"\n",
        mail.address,
        hook.address,
        log = log.display(),
    );
    let mut site = site(&channels).await;
    site.start_daemon().await;
    let mut run = start(&site, "asks web");
    let two = until_taken(&mail, 2).await;
    let parsed = MessageParser::default();
    let (first, second) =
        (parsed.parse(two[0].body.as_bytes()).unwrap(), parsed.parse(two[1].body.as_bytes()).unwrap());
    assert_eq!(first.subject(), Some("[rollcall] run 1 started: asks web (2 hosts)"));
    let text = first.body_text(0).unwrap().replace('\r', "");
    assert!(text.starts_with("asks web\n\nby ann, started 20"), "{text}");
    assert!(text.contains("hosts: web[01-02] (2), of prod.web\n\nNext: ssh rollcall watch 1\n"), "{text}");
    assert_eq!(second.subject(), Some("[rollcall] run 1 waiting for approval: asks web (2 hosts)"));
    let text = second.body_text(0).unwrap().replace('\r', "");
    assert!(text.contains("\nNext: ssh rollcall approve 1\nDetails: ssh rollcall show 1\n"), "{text}");
    site.ask_as("bob", "approve 1").await.expect(0);
    let three = until_taken(&mail, 3).await;
    let last = parsed.parse(three[2].body.as_bytes()).unwrap();
    assert_eq!(last.subject(), Some("[rollcall] run 1 done: asks web (2 hosts)"));
    let text = last.body_text(0).unwrap().replace('\r', "");
    assert!(
        text.contains("web[01-02] (2)\n\nNext: ssh rollcall show 1\n") && text.contains(", took "),
        "{text}"
    );
    for answer in [&second, &last] {
        assert_eq!(answer.in_reply_to().as_text(), first.message_id());
        assert_eq!(answer.references().as_text(), first.message_id());
    }
    assert!(run.wait().await.unwrap().success());
    site.ask("breaks web01").await.expect(2);
    // Neither a check nor an ad-hoc command is a message.
    site.ask("check web01").await;
    site.ask("run web01 -- true").await.expect(0);
    site.ask("touch web01").await.expect(0);
    let mails = until_taken(&mail, 7).await;
    let failed = parsed.parse(mails[4].body.as_bytes()).unwrap();
    assert_eq!(failed.subject(), Some("[rollcall] run 2 failed: breaks web01 (1 host)"));
    let text = failed.body_text(0).unwrap().replace('\r', "");
    assert!(text.contains("failed: web01 (1)\n\nNext: ssh rollcall retry 2\n"), "{text}");
    let posted: Vec<Value> =
        until_taken(&hook, 2).await.iter().map(|taken| serde_json::from_str(&taken.body).unwrap()).collect();
    let words = |post: &Value| ["thread", "kind", "run"].map(|word| post[word].as_str().unwrap().to_string());
    assert_eq!(
        posted.iter().map(words).collect::<Vec<_>>(),
        [["run-1", "run-waiting", "1"], ["run-2", "run-failed", "2"]]
    );
    let lines = [
        "run-1 run-started 2 prod.web",
        "run-1 run-waiting 2 prod.web",
        "run-1 run-done 2 prod.web",
        "run-2 run-started 1 prod.web",
        "run-2 run-failed 1 prod.web",
    ];
    eventually("the command has all of them", async || read(log).lines().count() >= 7).await;
    let all = read(log);
    // The other group has none of them.
    let (first, last): (Vec<&str>, Vec<&str>) = all.lines().partition(|line| lines.contains(line));
    assert_eq!(first, lines, "{all}");
    let kinds: Vec<&str> =
        last.iter().filter_map(|line| line.split_once(' ')).map(|(_, rest)| rest).collect();
    assert_eq!(kinds, ["run-started 1 prod.web", "run-done 1 prod.web"], "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_neither_loses_nor_repeats_a_message_about_a_run() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let log = log.path();
    let channel = format!(
        "[[notify]]\nname = \"ops\"\nruns = [\"started\", \"done\"]\ncommand = \"echo $ROLLCALL_KEY >>{}\"\n",
        log.display()
    );
    let site = site(&channel).await;
    let mut wanted = Vec::new();
    for round in 1..=6u64 {
        let (mut daemon, port) = spawn_daemon(&site).await;
        let mut client = site
            .ssh_to(port, "ann", "touch web --wait")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At another point of the run, and of its messages, each time.
        tokio::time::sleep(Duration::from_millis(60 * round)).await;
        daemon.kill().await.unwrap();
        client.wait().await.unwrap();
    }
    let (mut daemon, port) = spawn_daemon(&site).await;
    site.ask_at(port, "touch web --wait").await.expect(0);
    eventually("all runs have ended", async || {
        let runs = site.ask_at(port, "runs --json").await.out;
        let runs: Vec<Value> = runs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        wanted = runs.iter().map(|run| run["run"].as_u64().unwrap()).collect();
        runs.iter().all(|run| !run["ended_at"].is_null())
    })
    .await;
    let keys = |log: &std::path::Path| read(log).lines().map(String::from).collect::<Vec<_>>();
    eventually("each run has both messages", async || {
        let keys = keys(log);
        wanted.iter().all(|run| {
            let root = format!("run-{run}");
            keys.contains(&root) && keys.iter().any(|key| key.starts_with(&format!("{root}.")))
        })
    })
    .await;
    // Only a delivery that was under way may be made twice, under the same key: no other message exists.
    let unique: std::collections::BTreeSet<String> = keys(log).into_iter().collect();
    assert_eq!(unique.len(), 2 * wanted.len(), "{unique:?}");
    daemon.kill().await.unwrap();
}
