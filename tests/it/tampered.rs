//! What was planned is what is done: neither the store nor `files/` can be changed between a plan and its approval.

use std::os::unix::fs::symlink;
use std::path::Path;

use rusqlite::Connection;

use crate::support::daemon::spawn_daemon;
use crate::support::site::{FIRST, Site, answer_of};
use crate::support::{eventually, read, write};

const NEW: &str = "2.0.0";

/// Lets the release wait after its first host, and puts steps behind those that it has.
fn with_pause(site: &Site, steps: &str) {
    let path = site.config.join("tasks/deploy.toml");
    let pause = "[rollout]\nserial = 1\npause_after = { batch = 1, until = \"approved\" }\n";
    let text = read(&path).replace("[rollout]\nserial = [1, \"25%\", \"100%\"]\n", pause);
    assert!(text.contains(pause));
    write(&path, &(text + steps));
}

async fn until_paused(site: &Site, port: u16) {
    let paused = async || site.ask_at(port, "show 1").await.out.contains("to go on: approve 1");
    eventually("it waits for an approval", paused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_changed_in_the_store_while_it_waited_is_not_carried_out() {
    let site = Site::without_daemon(2).await;
    with_pause(&site, "");
    let (mut daemon, port) = spawn_daemon(&site).await;
    let client = site.ssh_to(port, "ann", &format!("deploy prod version={NEW}")).spawn().unwrap();
    until_paused(&site, port).await;
    daemon.kill().await.unwrap();
    client.wait_with_output().await.unwrap();
    let store = site.dir.path().join("state/rollcall.db");
    let change = format!("UPDATE run SET plan = replace(plan, '{NEW}', '6.6.6')");
    assert_eq!(Connection::open(&store).unwrap().execute(&change, []).unwrap(), 1);

    let (mut daemon, port) = spawn_daemon(&site).await;
    let why = "run 1 was changed in the store: its plan is not the one that was journaled when it began; rollcall does \
               nothing with it; try: restore the store from a copy";
    for line in ["show 1", "watch 1"] {
        let shown = site.ask_at(port, line).await;
        assert!(shown.status != 0 && (shown.out.clone() + &shown.err).contains(why), "{line}: {shown:?}");
    }
    for line in ["approve 1", "resume 1", "retry 1"] {
        let refused = site.ask_at(port, line).await;
        assert_ne!(refused.status, 0, "{line}: {refused:?}");
    }
    assert_eq!(site.releases(), [NEW, FIRST]);
    // It keeps nobody from the hosts.
    let other = site.ssh_to(port, "ann", &format!("deploy web02 version={NEW}"));
    answer_of(other).await.expect(0);
    assert_eq!(site.releases(), [NEW, NEW]);
    daemon.kill().await.unwrap();
}

/// True when any file below a folder holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    let found = std::process::Command::new("grep").args(["-rqsF", "-D", "skip", text]).arg(folder).status();
    found.unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_swapped_for_a_link_to_a_secret_while_a_plan_waited_is_not_sent() {
    let table = [
        ("sent/one", "upload = { from = \"sent/one\", to = \"{{ root }}/got\" }"),
        ("sent/tree/deep/one", "upload = { from = \"sent/tree/\", to = \"{{ root }}/got\" }"),
        ("sent/script", "script = { from = \"sent/script\" }"),
    ];
    for (file, step) in table {
        let site = Site::without_daemon(2).await;
        let files = site.config.join("files");
        let secret = site.dir.path().join("secret");
        write(&secret, "the-daemon-alone-may-read-this\n");
        write(&files.join(file), "echo planned\n");
        with_pause(&site, &format!("[[steps]]\nname = \"sends\"\n{step}\n"));
        let (mut daemon, port) = spawn_daemon(&site).await;
        let client = site.ssh_to(port, "ann", &format!("deploy prod version={NEW}")).spawn().unwrap();
        until_paused(&site, port).await;
        std::fs::remove_file(files.join(file)).unwrap();
        symlink(&secret, files.join(file)).unwrap();
        site.ask_at(port, "approve 1").await.expect(0);
        let output = client.wait_with_output().await.unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let why = format!(
            "sends: FAILED: files/{file}: is a link that leaves files/; try: the same again, with a new plan"
        );
        assert!(out.contains(&why), "{out}");
        for host in &site.hosts {
            assert!(!holds(&host.dir, "the-daemon-alone"), "{file}: the secret is on {}", host.name);
        }
        // Another content is no content of this plan either.
        std::fs::remove_file(files.join(file)).unwrap();
        daemon.kill().await.unwrap();
    }
}
