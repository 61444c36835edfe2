//! Receipts of runs: the lines of docs/audit.md with real `ssh` and `ssh-keygen`.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::site::{Answer, Site, answer_of};
use crate::support::{keygen, read, write};

/// The shell lines of docs/audit.md, with an `ssh` that finds the door of the test.
fn lines_of_docs(site: &Site, who: &str) -> String {
    let docs = read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md").as_ref());
    let (_, rest) = docs.split_once("```sh\n").expect("the lines");
    let lines = rest.split_once("\n```").expect("their end").0;
    let key = site.dir.path().join(who);
    format!(
        "set -e\nssh() {{ shift; command ssh -F none -p {} -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
         -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null rollcall@127.0.0.1 \"$@\"; }}\n{lines}\n",
        site.port(),
        key.display()
    )
}

async fn shell(site: &Site, script: &str) -> Answer {
    let folder = site.dir.path().join("receipts");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(&folder).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    answer_of(command).await
}

const VERIFY: &str =
    "ssh-keygen -Y verify -f signers -I rollcall -n rollcall-receipt -s 1.receipt.sig < 1.receipt";

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_docs_verify_a_receipt_and_a_changed_byte_fails() {
    let site = Site::start(2).await;
    site.ask_as("bob", "deploy prod version=2.0.0").await.expect(0);
    let script = lines_of_docs(&site, "vic");
    assert!(script.contains(VERIFY), "{script}");
    let proven = shell(&site, &script).await.expect(0);
    assert!(
        proven.out.starts_with("Good \"rollcall-receipt\" signature for rollcall with ED25519 key"),
        "{proven:?}"
    );
    let path = site.dir.path().join("receipts/1.receipt");
    let text = read(&path);
    let receipt: serde_json::Value = serde_json::from_str(&text).unwrap();
    let text_of = |name: &str| receipt[name].as_str().unwrap_or_default().to_string();
    assert_eq!((text_of("form"), text_of("by")), ("rollcall-receipt-1".into(), "bob".into()));
    assert_eq!((text_of("outcome"), receipt["params"]["version"].as_str()), ("done".into(), Some("2.0.0")));
    assert_eq!(receipt["granted"]["rule"], "role operator");
    assert_eq!(receipt["hosts"]["web01"]["end"], "released");
    let row = receipt["granted"]["audit"].as_u64().unwrap();
    let audit = site.ask(&format!("audit --since {} --json", row - 1)).await.expect(0).out;
    let row: serde_json::Value = serde_json::from_str(audit.lines().next().unwrap()).unwrap();
    assert_eq!(row["line"], "deploy prod version=2.0.0");

    // The same bytes again, and after a restart.
    assert_eq!(site.ask("receipt 1").await.expect(0).out, text);
    for (from, to) in
        [("\"web01\"", "\"web03\""), ("\"bob\"", "\"ann\""), ("released", "releaseD"), ("\n}\n", "\n}")]
    {
        assert!(text.contains(from), "{from}: {text}");
        write(&path, &text.replacen(from, to, 1));
        assert_ne!(shell(&site, VERIFY).await.status, 0, "{from}");
    }
    write(&path, &text);
    shell(&site, VERIFY).await.expect(0);
    let other = VERIFY.replace("-n rollcall-receipt", "-n file");
    assert_ne!(shell(&site, &other).await.status, 0, "another namespace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_of_a_finished_run_that_its_reader_may_see() {
    let site = Site::without_daemon(1).await;
    keygen(&site.dir.path().join("lim"), "lim");
    let operators = site.config.join("operators");
    let key = read(&site.dir.path().join("lim.pub"));
    write(&operators, &format!("{}role=\"viewer\",groups=\"prod.web\" {key}", read(&operators)));
    write(&site.config.join("tasks/wait.toml"), "[[steps]]\nname = \"w\"\nrun = \"sleep 600\"\n");
    let mut site = site;
    site.start_daemon().await;
    site.ask("touch web01").await.expect(0);
    site.ask("run lb1 -- true").await.expect(0);
    site.ask("run 'web01:!lb1' -- true").await.expect(0);
    site.ask_as("lim", "receipt 1").await.expect(0);
    let hidden = site.ask_as("lim", "receipt 2").await.expect(64);
    assert!(hidden.err.contains("there is no run 2"), "{}", hidden.err);
    // Its title names a host that the reader may not see.
    let covered = site.ask_as("lim", "receipt 3").await.expect(77);
    assert!(
        covered.err.contains("the receipt of run 3 names hosts outside of your groups"),
        "{}",
        covered.err
    );
    assert!(!covered.err.contains("lb1"), "{}", covered.err);
    site.ask_as("lim", "receipt 3 --signature").await.expect(77);
    let client = site.ssh("ann", "wait web01").spawn().unwrap();
    let running = async || site.ask("receipt 4").await.status == 5;
    crate::support::eventually("the run is under way", running).await;
    let early = site.ask("receipt 4").await.expect(5);
    assert!(
        early.err.contains("run 4 is under way: a receipt is of a finished run; try: watch 4"),
        "{}",
        early.err
    );
    site.ask("cancel 4 --now").await.expect(0);
    client.wait_with_output().await.unwrap();
    let json = site.ask("receipt 1 --json").await.expect(64);
    assert!(json.err.contains("try: receipt N without --json"), "{}", json.err);
}
