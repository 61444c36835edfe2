//! What operators can do with runs, debts and releases, with plain ssh on real parts.

use tokio::process::Child;

use crate::support::site::{Answer, FIRST, Site};
use crate::support::{eventually, read, write};

const NEW: &str = "2.0.0";
const NEXT: &str = "3.0.0";

/// Puts lines into the `[rollout]` of the task and has it read again.
async fn with_rollout(site: &Site, lines: &str) {
    let path = site.config.join("tasks/deploy.toml");
    let text = read(&path).replace(
        "[rollout]\nserial = [1, \"25%\", \"100%\"]\n",
        &format!("[rollout]\nserial = 1\n{lines}\n"),
    );
    write(&path, &text);
    site.ask("reload").await.expect(0);
}

fn start(site: &Site, line: &str) -> Child {
    site.ssh("ann", line).spawn().unwrap()
}

/// Starts a release, and waits until a step of web01 stands still; the file `go` lets it go on.
async fn deploy_until_hook(site: &Site) -> Child {
    let hook = "touch in-hook; until [ -e go ]; do sleep 0.05; done";
    let client = start(site, &format!("deploy prod version={NEW} 'hook={hook}'"));
    let mark = site.hosts[0].dir.join("in-hook");
    eventually("the step runs", async || mark.exists()).await;
    client
}

/// The rest of what a client that was started is told.
async fn told(child: Child) -> Answer {
    let output = child.wait_with_output().await.unwrap();
    Answer {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

async fn until_shown(site: &Site, run: u64, text: &str) {
    eventually(text, async || site.ask(&format!("show {run}")).await.out.contains(text)).await;
}

async fn deploy(site: &Site, version: &str) -> Answer {
    site.ask(&format!("deploy prod version={version}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_the_approval_of_a_second_person() {
    let site = Site::start(2).await;
    with_rollout(&site, "pause_after = { batch = 1, until = \"approved\", second_person = true }").await;
    let client = start(&site, &format!("deploy prod version={NEW}"));
    until_shown(
        &site,
        1,
        "paused by rollcall: for approval by a second person, after 1 batch; to go on: approve 1",
    )
    .await;
    assert_eq!(site.releases(), [NEW, FIRST]);

    let own = site.ask("approve 1").await.expect(77);
    assert!(own.err.contains("ann asked for run 1, and its task wants a second person"), "{}", own.err);
    let around = site.ask("resume 1").await.expect(69);
    assert!(around.err.contains("run 1 waits for an approval; try: approve 1"), "{}", around.err);
    let viewer = site.ask_as("vic", "approve 1").await.expect(77);
    assert!(viewer.err.contains("needs the role operator"), "{}", viewer.err);
    let other = site.ask_as("bob", "approve 1").await.expect(0);
    assert_eq!(other.out, "run 1: approved; it continues; see: watch 1\n");
    let told = told(client).await.expect(0);
    assert!(told.out.contains("approved by bob, for the plan "), "{}", told.out);
    assert_eq!(site.releases(), [NEW; 2]);
    let late = site.ask_as("bob", "approve 1").await.expect(69);
    assert!(late.err.contains("run 1 is not under way; see: show 1"), "{}", late.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_paused_and_resumed() {
    let site = Site::start(2).await;
    with_rollout(&site, "").await;
    let client = deploy_until_hook(&site).await;
    let paused = site.ask_as("bob", "pause 1").await.expect(0);
    assert!(paused.out.contains("hosts in their bracket finish it"), "{}", paused.out);
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
    until_shown(&site, 1, "prod.web: back in rotation: web01").await;
    assert_eq!(site.releases(), [NEW, FIRST]);
    site.ask("resume 1").await.expect(0);
    let told = told(client).await.expect(0);
    assert!(told.out.contains("paused by bob: until it is resumed; to go on: resume 1"), "{}", told.out);
    assert!(told.out.contains("resumed by ann"), "{}", told.out);
    assert_eq!(site.releases(), [NEW; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_known_taken_back_and_refused() {
    let site = Site::start(2).await;
    assert_eq!(site.ask("releases").await.expect(0).out, "nothing on record: lb1,web[01-02]\n");
    let none = site.ask("rollback prod.web").await.expect(69);
    assert!(none.err.contains("no release is on record for `prod.web`"), "{}", none.err);
    deploy(&site, NEW).await.expect(0);
    let first = site.ask("rollback prod.web").await.expect(69);
    assert!(first.err.contains("no good release before its present one is on record"), "{}", first.err);
    deploy(&site, NEXT).await.expect(0);
    let told = site.ask("releases prod.web").await.expect(0);
    assert!(told.out.contains("web01  deploy hook=true version=3.0.0"), "{}", told.out);
    assert!(told.out.contains("good   deploy hook=true version=2.0.0"), "{}", told.out);

    let marked =
        site.ask(&format!("mark bad deploy hook=true version={NEXT} because it leaks")).await.expect(0);
    assert!(marked.out.contains("is marked bad: it is not deployed"), "{}", marked.out);
    let refused = deploy(&site, NEXT).await.expect(69);
    assert!(
        refused.err.contains("deploy hook=true version=3.0.0 is marked bad by ann: it leaks"),
        "{}",
        refused.err
    );
    let back = site.ask("rollback prod.web").await.expect(0);
    assert!(back.out.contains("run 3: rollback prod.web, by ann: 2 hosts"), "{}", back.out);
    assert_eq!(site.releases(), [NEW; 2]);
    let nowhere = site.ask("rollback prod.web").await.expect(69);
    assert!(
        nowhere.err.contains("no good release before its present one"),
        "the bad one is not gone back to: {}",
        nowhere.err
    );
    site.ask(&format!("mark good deploy hook=true version={NEXT} because it was the disk")).await.expect(0);
    deploy(&site, NEXT).await.expect(0);
    assert_eq!(site.releases(), [NEXT; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_that_failed_are_tried_again() {
    let site = Site::start(3).await;
    with_rollout(&site, "").await;
    write(&site.hosts[1].dir.join("no-space"), "");
    let failed = site.ask(&format!("deploy prod version={NEW} 'hook=test ! -e no-space'")).await.expect(2);
    assert!(failed.out.contains("rolled-back  1  web02"), "{}", failed.out);
    std::fs::remove_file(site.hosts[1].dir.join("no-space")).unwrap();
    let again = site.ask("retry 1").await.expect(0);
    assert!(again.out.contains("run 2: retry 1: deploy prod"), "{}", again.out);
    assert!(again.out.contains("  released  2  web[02-03]"), "{}", again.out);
    assert_eq!(site.releases(), [NEW; 3]);
    let nothing = site.ask("retry 2").await.expect(69);
    assert!(nothing.err.contains("run 2 left no host to try again"), "{}", nothing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_taken_out_and_put_back_by_hand_and_debts_are_settled() {
    let site = Site::start(3).await;
    let server = |at: usize| site.hosts[at].server.clone();
    let out = site.ask_as("bob", "balancer drain web01 because of a new disk").await.expect(0);
    assert!(out.out.contains("  held  1  web01  taken out by bob because of a new disk"), "{}", out.out);
    assert!(out.err.contains("out of rotation: web01 (1 open debt); see: debts"), "{}", out.err);
    assert_eq!(site.nginx.out_of_rotation(), [server(0)]);
    let debts = site.ask("debts").await.expect(0);
    assert!(debts.out.contains("web01  prod.web  1    bob"), "{}", debts.out);

    let early = site.ask("settle web01 because it is fine").await.expect(3);
    assert!(early.err.contains("web01 is out in prod.web"), "{}", early.err);
    assert!(
        early.err.contains("try: balancer enable web01; or, to leave it so: settle web01 --write-off"),
        "{}",
        early.err
    );
    let back = site.ask("balancer enable web01").await.expect(0);
    assert!(back.out.contains("  done  1  web01"), "{}", back.out);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
    assert!(site.ask("debts").await.out.starts_with("no debts"));

    // Put back by somebody else: the look pays. Left out for good: a word pays, and stays on record.
    site.ask("balancer drain web[01-02] because of a new disk").await.expect(0);
    site.nginx.put_back(&server(0));
    let paid = site.ask("settle web01 because bob put it back").await.expect(0);
    assert_eq!(paid.out, "web01: in rotation in prod.web; its debt is paid\n");
    let off = site.ask("settle web02 --write-off because it is scrap").await.expect(0);
    assert!(off.out.starts_with("web02: written off, and not put back in prod.web"), "{}", off.out);
    let debts = site.ask("debts").await;
    assert!(debts.out.contains("written off by ann, 0s ago: it is scrap"), "{debts:#?}");
    assert!(!debts.err.contains("open debt") && !debts.out.contains("back"), "{debts:#?}");
    let status = site.ask("balancer status web02").await.expect(0);
    assert!(status.out.contains("out       run 3, written off by ann"), "{}", status.out);
    let twice = site.ask("settle web02 --write-off because x").await.expect(69);
    assert!(
        twice.err.contains("written off already, by ann: it is scrap; to put it back: balancer enable web02")
    );
    let not_yet = site.ask("settle web02 because x").await.expect(3);
    assert!(not_yet.err.contains("web02 is out in prod.web"), "{}", not_yet.err);
    let story = site.ask("show 3 --host web02").await.expect(0);
    assert!(story.out.contains("its debt is written off by ann: it is scrap"), "{}", story.out);
    assert!(site.ask("show 3").await.out.contains("written off, and not put back by this run: web02"));
    // Only a command for it puts it back; then it is gone from the list.
    site.ask("balancer enable web02").await.expect(0);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
    assert!(site.ask("debts").await.out.starts_with("no debts"));
    // One that a colleague has put back is settled by the probe.
    site.ask("balancer drain web02 because of a new disk").await.expect(0);
    site.ask("settle web02 --write-off because it is scrap").await.expect(0);
    site.nginx.put_back(&server(1));
    site.ask("settle web02 because bob put it back").await.expect(0);
    assert!(site.ask("debts").await.out.starts_with("no debts"));
    site.ask("show 5").await.expect(0);
    site.ask("balancer drain web02 because of a new disk").await.expect(0);
    let nobody = site.ask("settle web01 because x").await.expect(64);
    assert!(nobody.err.contains("no debt is open for `web01`"), "{}", nobody.err);
    // The last server of a balancer is never taken out.
    let last = site.ask("balancer drain web[01,03] because of a fire").await.expect(2);
    assert!(last.out.contains("not-started  1  web03  too few would be left in service"), "{}", last.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_forgets_a_drain_is_noticed_and_the_host_taken_out_again() {
    let site = Site::start(2).await;
    with_rollout(&site, "").await;
    let client = deploy_until_hook(&site).await;
    site.nginx.put_back(&site.hosts[0].server);
    until_shown(
        &site,
        1,
        "sends requests to web01 in their bracket: another process or a reload has enabled them",
    )
    .await;
    until_shown(&site, 1, "prod.web: out of rotation again: web01").await;
    assert_eq!(site.nginx.out_of_rotation(), [site.hosts[0].server.clone()]);
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
    told(client).await.expect(0);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_key_that_ssh_makes_logs_in() {
    let mut site = Site::without_daemon(1).await;
    let operators = site.config.join("operators");
    let types = [
        ("ed25519", "256"),
        ("rsa", "3072"),
        ("rsa", "4096"),
        ("ecdsa", "256"),
        ("ecdsa", "384"),
        ("ecdsa", "521"),
    ];
    let names: Vec<String> = types.iter().map(|(kind, bits)| format!("{kind}{bits}")).collect();
    for ((kind, bits), name) in types.iter().zip(&names) {
        let path = site.dir.path().join(name);
        let mut made = std::process::Command::new("ssh-keygen");
        let made = made.args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", name, "-f"]).arg(&path).status();
        assert!(made.unwrap().success());
        write(
            &operators,
            &format!("{}role=\"viewer\" {}", read(&operators), read(&path.with_extension("pub"))),
        );
    }
    site.start_daemon().await;
    for name in &names {
        let answer = site.ask_as(name, "whoami").await.expect(0);
        assert!(answer.out.contains(name.as_str()), "{answer:#?}");
    }
}

/// Hosts refuse a rollcall whose term is lower than one that they know.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_know_a_rollcall_whose_store_was_restored_or_begun_anew() {
    let mut site = Site::without_daemon(1).await;
    let state = site.dir.path().join("state");
    let (kept, files) =
        (site.dir.path().join("kept"), ["rollcall.db", "rollcall.db.head", "rollcall.db.audit-head"]);
    std::fs::create_dir(&kept).unwrap();
    // A session may hold the store for a moment more: what it has written last is in the log of SQLite until then.
    let wal = state.join("rollcall.db-wal");
    let closed = async || eventually("the store is closed", async || !wal.exists()).await;
    for start in 0..3 {
        site.start_daemon().await;
        site.ask("touch web01").await.expect(0);
        site.daemon.take().unwrap().stop().await;
        closed().await;
        let copied =
            files.iter().filter(|_| start == 0).map(|file| std::fs::copy(state.join(file), kept.join(file)));
        copied.for_each(|copied| _ = copied.unwrap());
    }
    // Terms follow the clock by the second, and these starts were within one.
    let seconds = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let begun = seconds();
    eventually("the clock is past the terms of these starts", async || seconds() > begun + 3).await;
    for file in files {
        std::fs::copy(kept.join(file), state.join(file)).unwrap();
    }
    site.start_daemon().await;
    site.ask("touch web01").await.expect(0);
    site.daemon.take().unwrap().stop().await;
    closed().await;
    for entry in std::fs::read_dir(&state)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rollcall.db"))
    {
        std::fs::remove_file(entry.path()).unwrap();
    }
    site.start_daemon().await;
    site.ask("touch web01").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_leads_to_what_was_there_directly_before_and_a_restart_is_no_release() {
    let site = Site::start(2).await;
    let restart = "[rollout]\nserial = 1\n[[steps]]\nname = \"restart\"\nrun = \"echo x >>restarts\"\nin = \"{{ root }}\"\n";
    write(&site.config.join("tasks/restart.toml"), restart);
    site.ask("reload").await.expect(0);
    let host = &site.hosts[0];
    for version in ["1.1.0", "1.2.0", "1.1.0"] {
        site.ask(&format!("deploy prod.web version={version}")).await.expect(0);
    }
    for times in 1..=2 {
        let answer = site.ask("restart prod.web").await.expect(0);
        assert!(answer.out.contains("released  2  web[01-02]"), "{answer:#?}");
        assert_eq!(read(&host.dir.join("restarts")).lines().count(), times, "it is done each time");
    }
    site.ask("rollback prod.web").await.expect(0);
    assert_eq!(host.release(), "1.2.0", "directly before the present one");
    site.ask("rollback prod.web").await.expect(0);
    assert_eq!(host.release(), "1.1.0", "further back, and not to what was left");
    site.ask("deploy prod.web version=1.3.0").await.expect(0);
    site.ask("rollback prod.web").await.expect(0);
    assert_eq!(host.release(), "1.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_after_a_deploy_that_stopped_leaves_the_hosts_that_it_never_reached() {
    let site = Site::start(3).await;
    for version in ["1.1.0", "1.2.0"] {
        site.ask(&format!("deploy prod.web version={version}")).await.expect(0);
    }
    site.ask("deploy web01 version=1.3.0").await.expect(0);
    let plan = site.ask("plan rollback prod.web").await.expect(0);
    let stays = "unchanged, if in rotation and checks pass: web[02-03] (on this release already";
    assert!(plan.out.contains(stays), "{}", plan.out);
    site.ask("rollback prod.web").await.expect(0);
    assert_eq!(site.releases(), ["1.2.0"; 3]);
    let releases = site.ask("releases prod.web").await.expect(0).out;
    let run_of = |line: &'_ str| {
        line.split("  ").map(str::trim).filter(|word| !word.is_empty()).nth(3).map(String::from)
    };
    let runs: Vec<String> = releases.lines().skip(1).filter_map(run_of).collect();
    assert_eq!(runs, ["4", "2", "2"], "who stays has its release from the run that put it there: {releases}");
    site.ask("rollback prod.web").await.expect(0);
    assert_eq!(site.releases(), ["1.1.0"; 3], "once all are on one release, all go further back");
}
