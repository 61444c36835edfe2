//! The end of a run as an operator and a script see it: the exit status, the balancer, the words.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::haproxy::Haproxy;
use crate::support::listeners::Listener;
use crate::support::site::{Answer, Site};
use crate::support::{DEADLINE, eventually, read, write};

fn has(answer: &Answer, text: &str) {
    assert!(answer.out.contains(text) || answer.err.contains(text), "{text}\n{answer:#?}");
}

/// Removes the line of a host from nginx's file, as a colleague who rebuilt it.
fn without_line(site: &Site, host: usize) {
    let config = site.nginx.config();
    let line = format!("server {} max_fails=0;", site.hosts[host].server);
    let text = read(&config);
    assert!(text.contains(&line), "{text}");
    write(&config, &text.replace(&line, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_nginx_does_not_know_is_found_before_the_run() {
    let site = Site::start(3).await;
    without_line(&site, 1);
    let config = site.nginx.config();
    let missing = format!(
        "prod.web: lb1: {}: no upstream block has a line `server {}` for web02; try: add the server there; or leave the \
         host out, as in `GROUP:!web02`",
        config.display(),
        site.hosts[1].server
    );
    for line in ["plan deploy prod version=2.0.0", "deploy prod version=2.0.0"] {
        has(&site.ask(line).await.expect(69), &missing);
    }
    has(&site.ask("plan deploy prod version=2.0.0").await, "batch 1: web01");
    assert_eq!(site.ask("runs").await.out, "no runs yet\n", "nothing was started");
    assert_eq!(site.releases(), ["1.0.0", "1.0.0", "1.0.0"]);
    site.ask("deploy 'prod:!web02' version=2.0.0").await.expect(0);
    assert_eq!(site.releases(), ["2.0.0", "1.0.0", "2.0.0"]);
    // The only one of the balancer that is left, where the group has three.
    without_line(&site, 2);
    let full = site.ask("deploy web01 version=3.0.0").await.expect(69);
    has(
        &full,
        "prod.web: 1 of 1 servers must stay in service (min_in_service): web01 can never be taken out; try: ",
    );
    // It has this release already, and is not taken out.
    site.ask("deploy web01 version=2.0.0").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_haproxy_does_not_know_is_found_before_the_run() {
    let site = Site::start(3).await;
    let servers: Vec<String> =
        site.hosts[..2].iter().map(|host| format!("{} {}", host.name, host.server)).collect();
    let haproxy = Haproxy::start(&site.dir.path().join("haproxy"), &servers).await;
    let socket = haproxy.socket();
    site.stand_behind(&format!(
        "driver = \"haproxy\"\non = \"lb\"\nsocket = \"{}\"\nbackend = \"app\"\n",
        socket.display()
    ))
    .await;
    let missing = "prod.web: lb1: backend `app`: no server is called `web03` there; did you mean `web01`? \
                   (servers: web01, web02); try: add the server there";
    has(&site.ask("plan deploy prod version=2.0.0").await.expect(69), missing);
    has(&site.ask("deploy prod version=2.0.0").await.expect(69), missing);
    assert_eq!(haproxy.drained().await, Vec::<String>::new());
    site.ask("deploy 'web0[1-2]' version=2.0.0").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_does_not_answer_is_unknown_and_lacks_no_server() {
    let mut site = Site::without_daemon(2).await;
    let hosts = site.config.join("hosts/prod.toml");
    let port = format!("port = {} }}", site.lb.address.port());
    write(&hosts, &read(&hosts).replace(&port, "port = 1 }"));
    site.start_daemon().await;
    let plan = site.ask("plan deploy prod version=2.0.0").await.expect(0);
    has(&plan, "rollcall: whether every host can be taken out is not known yet: prod.web: lb1");
    let run = site.ask("deploy prod version=2.0.0").await;
    has(&run, "whether every host can be taken out is not known yet: prod.web: lb1");
    assert!(run.status == 2 || run.status == 4, "it is tried, and fails: {run:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_waits_for_room_says_whose_drain_it_waits_for() {
    let site = Site::start(2).await;
    site.ask("balancer drain web02 because of a test").await.expect(0);
    let mut run = site.ssh("ann", "deploy web01 version=2.0.0").spawn().expect("ssh");
    let mut lines = BufReader::new(run.stdout.take().expect("its output")).lines();
    let wanted = "prod.web: web01 waits: 1 of 2 must stay in service, 1 are; web02 is drained by run 1";
    let waits = async {
        while let Some(line) = lines.next_line().await.expect("lines") {
            if line == wanted {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(DEADLINE, waits).await.expect("it waits"), "it ended");
    // What can change is waited for: the other one is put back.
    site.nginx.put_back(&site.hosts[1].server);
    let rest = async {
        let mut rest = Vec::new();
        while let Some(line) = lines.next_line().await.expect("lines") {
            rest.push(line);
        }
        rest
    };
    let rest = tokio::time::timeout(DEADLINE + Duration::from_secs(20), rest).await.expect("an end");
    assert!(run.wait().await.expect("an end").success(), "{rest:#?}");
    assert!(!rest.iter().any(|line| line == wanted), "it is said once: {rest:#?}");
    assert_eq!(site.releases(), ["2.0.0", "1.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_names_its_target_and_goes_to_a_named_one() {
    let site = Site::start(2).await;
    for line in [
        "deploy prod version=1.1.0",
        "deploy prod version=1.3.0",
        "deploy web01 version=1.4.0",
        "deploy web01 version=1.2.0",
        "deploy web02 version=1.2.0",
    ] {
        site.ask(line).await.expect(0);
    }
    let none = site.ask("rollback prod to=9.9.9").await.expect(69);
    has(
        &none,
        "web01: no good release `9.9.9` is on record; the good ones are: deploy hook=true version=1.2.0, deploy hook=true \
         version=1.4.0, deploy hook=true version=1.3.0, deploy hook=true version=1.1.0; see: releases web01",
    );
    // Each host has its own way back.
    let each = [
        "back to deploy hook=true version=1.4.0: web01\n",
        "back to deploy hook=true version=1.3.0: web02\n",
    ];
    let plan = site.ask("plan rollback prod").await.expect(0);
    each.iter().for_each(|line| has(&plan, line));
    let plan = site.ask("plan rollback prod to=1.3.0").await.expect(0);
    has(&plan, "plan: rollback prod to=1.3.0\n");
    has(&plan, "back to deploy hook=true version=1.3.0: web[01-02]\n");
    assert_eq!(site.releases(), ["1.2.0", "1.2.0"], "nothing is touched");
    let run = site.ask("rollback prod").await.expect(0);
    let head: Vec<&str> = run.out.lines().take(3).map(str::trim).collect();
    assert!(each.iter().all(|line| head[1..].contains(&line.trim())), "{run:#?}");
    assert_eq!(site.releases(), ["1.4.0", "1.3.0"]);
    let run = site.ask("rollback prod to=version=1.1.0").await.expect(0);
    has(&run, "back to deploy hook=true version=1.1.0: web[01-02]\n");
    assert_eq!(site.releases(), ["1.1.0", "1.1.0"]);
    has(&site.ask("rollback prod version=1.1.0").await.expect(64), "try: rollback SELECTOR to=VERSION");
    // Forward again, to a release that a rollback had left; and back from there.
    site.ask("rollback web01 to=1.4.0").await.expect(0);
    site.ask("rollback web01").await.expect(0);
    assert_eq!(site.releases(), ["1.1.0", "1.1.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn force_deploys_hosts_that_are_on_the_release_already() {
    let site = Site::start(2).await;
    site.ask("deploy prod version=1.1.0").await.expect(0);
    site.ask("deploy web01 version=1.2.0").await.expect(0);
    let plan = site.ask("plan deploy prod version=1.2.0").await.expect(0);
    has(
        &plan,
        "unchanged, if in rotation and checks pass: web01 (on this release already; to deploy all the same: --force)\n",
    );
    let run = site.ask("deploy prod version=1.2.0").await.expect(0);
    assert!(run.out.contains("released   1  web02") && run.out.contains("unchanged  1  web01"), "{run:#?}");
    let plan = site.ask("plan deploy prod version=1.2.0 --force").await.expect(0);
    assert!(!plan.out.contains("unchanged, if"), "{plan:#?}");
    let run = site.ask("deploy prod version=1.2.0 --force").await.expect(0);
    has(&run, "deploy prod hook=true version=1.2.0 --force, by ann");
    has(&run, "released  2  web[01-02]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_last_host_has_begun_changes_nothing_and_is_said_to_be_late() {
    let site = Site::start(1).await;
    let hosts = site.config.join("hosts/prod.toml");
    write(&hosts, &read(&hosts).replace("[web.balancer]\n", "[web.balancer]\nmin_in_service = 0\n"));
    site.ask("reload").await.expect(0);
    let hook = "touch in-hook; until [ -e go ]; do sleep 0.05; done";
    let run = site.ssh("ann", &format!("deploy prod version=2.0.0 'hook={hook}'")).spawn().expect("ssh");
    let mark = site.hosts[0].dir.join("in-hook");
    eventually("the step runs", async || mark.exists()).await;
    let show = site.ask("show 1").await.expect(0);
    has(&show, "run 1: under way\nout of rotation while the run works on it: web01\n");
    assert!(!show.out.contains("a person is needed"), "{show:#?}");
    has(&site.ask("why web01").await, "  next     watch 1\n");
    site.ask_as("bob", "cancel 1").await.expect(0);
    write(&site.hosts[0].dir.join("go"), "");
    let output = run.wait_with_output().await.expect("an end");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let late = "the cancel by bob came too late to stop anything: every host had begun\n";
    assert!(said.contains("run 1: done\n  released  1  web01") && said.ends_with(late), "{said}");
    assert_eq!(site.releases(), ["2.0.0"]);
    let runs = site.ask("runs --json").await.expect(0);
    assert!(runs.out.contains("\"outcome\":\"done\""), "{runs:#?}");
}

/// Checks that cannot be rendered before the first deploy, and one that is made on another host.
const UNPROVEN: &str = "every = \"1s\"\nmax_attempts = 1\n[[check]]\nname = \"release\"\nrun = \"echo {{ version }}\"\n\
                        [[check]]\nname = \"from elsewhere\"\nrun = \"true\"\nfrom = \"group:lb\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_never_reached_is_never_called_reachable() {
    let mut site = Site::without_daemon(3).await;
    write(&site.config.join("checks/http.toml"), UNPROVEN);
    let known = site.dir.path().join("state/known_hosts");
    write(&known, &read(&known).replace(&site.hosts[0].sshd.known_hosts_line(), ""));
    let hosts = site.config.join("hosts/prod.toml");
    let root = format!("root = \"{}\"", site.hosts[1].dir.display());
    write(&hosts, &read(&hosts).replace(&root, &format!("login = \"stranger\", {root}")));
    site.start_daemon().await;
    let all = async || {
        let status = site.ask("status --json").await;
        let lines =
            status.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("json"));
        lines.filter(|line| line["check"] == "reachable" && line["set"].is_null()).collect::<Vec<_>>()
    };
    let mut contacts = Vec::new();
    eventually("every host was probed", async || {
        contacts = all().await;
        for host in ["web01", "web02"] {
            let ok = |line: &serde_json::Value| line["host"] == host && line["verdict"] == "ok";
            assert!(!contacts.iter().any(ok), "{contacts:#?}");
        }
        contacts.iter().filter(|line| !line["verdict"].is_null()).count() == 3
    })
    .await;
    let of = |host: &str| contacts.iter().find(|line| line["host"] == host).expect("a line").clone();
    let said = |host: &str| of(host)["text"].as_str().unwrap_or_default().to_string();
    assert_eq!(of("web01")["verdict"], "critical");
    assert!(
        said("web01").contains("host key: not known: it presents")
            && said("web01").contains("then: host accept web01 SHA256:")
    );
    assert_eq!(of("web02")["verdict"], "critical");
    assert!(
        said("web02").contains("none accepted for login `stranger`; try: its authorized_keys on the host")
    );
    assert_eq!((of("web03")["verdict"].as_str(), said("web03").as_str()), (Some("ok"), "it answers"));
    let why = site.ask("why web01 reachable").await.expect(2);
    has(&why, "host accept web01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_by_deploy_is_reported_as_recovered_in_the_same_thread() {
    let hook = Listener::hook().await;
    let mut site = Site::without_daemon(2).await;
    let settings = site.config.join("rollcall.toml");
    let channel = format!(
        "[[notify]]\nname = \"pager\"\ngather = \"0s\"\n[notify.webhook]\nurl = \"http://{}/\"\n[notify.webhook.body]\n\
         kind = \"{{{{ kind }}}}\"\nthread = \"{{{{ thread }}}}\"\nsince = \"{{{{ since }}}}\"\ntext = \"{{{{ subject }}}}\"\n",
        hook.address
    );
    write(&settings, &(read(&settings) + &channel));
    let flag =
        "every = \"1s\"\nmax_attempts = 1\n[[check]]\nname = \"flag\"\nrun = \"test ! -e {{ root }}/bad\"\n";
    write(&site.config.join("checks/http.toml"), flag);
    site.start_daemon().await;
    write(&site.hosts[0].dir.join("bad"), "");
    let taken = async |count: usize| {
        eventually("they are taken", async || hook.taken().len() >= count).await;
        let bodies = hook.taken();
        bodies
            .iter()
            .map(|one| serde_json::from_str(&one.body).expect("json"))
            .collect::<Vec<serde_json::Value>>()
    };
    assert_eq!(taken(1).await[0]["kind"], "opened");
    let why = site.ask("why web01 flag --json").await.expect(2);
    let why: serde_json::Value = serde_json::from_str(&why.out).expect("json");
    assert_eq!(why["since"], taken(1).await[0]["since"], "the message and `why` agree");
    assert!(taken(1).await[0]["text"].as_str().is_some_and(|text| text.ends_with("web01 (1/2) prod")));
    // Long enough for many probes, had there been any.
    site.ask("deploy prod version=2.0.0 'hook=sleep 2; rm -f bad'").await.expect(0);
    let all = taken(2).await;
    let kinds: Vec<&str> = all.iter().map(|one| one["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["opened", "recovered"], "{all:#?}");
    assert_eq!(all[0]["thread"], all[1]["thread"]);
    site.ask("why web01 flag").await.expect(0);
    assert_eq!(hook.taken().len(), 2, "recovered is the last word");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_names_the_gate_that_holds_a_host_and_its_check() {
    let site = Site::start(2).await;
    let task = site.config.join("tasks/deploy.toml");
    write(&task, &read(&task).replace("on_failure = \"rollback\"", "on_failure = \"stop\""));
    site.ask("reload").await.expect(0);
    site.ask("deploy web01 version=2.0.0 'hook=touch releases/2.0.0/BROKEN'").await.expect(3);
    let why = site.ask("why web01").await.expect(2);
    has(&why, "web01 is out of rotation in prod.web: run 1 took it out ");
    has(&why, "  gate     check http/serves the release is critical: ");
    has(&why, "  next     show 1 --host web01; if `check web01` is ok, put it back: balancer enable web01\n");
    assert!(!why.out.contains("every check was ok"), "{why:#?}");
    let json = site.ask("why web01 --json").await.expect(2);
    has(&json, "{\"schema\":\"held\",\"version\":1,\"host\":\"web01\"");
    site.ask("settle web01 --write-off because it is scrap").await.expect(0);
    has(&site.ask("why web01").await.expect(2), "  note     written off by ann, 0s ago: it is scrap\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_counts_the_hosts_that_have_its_verdict() {
    let site = Site::start(3).await;
    site.ask("deploy prod version=1.0.1").await.expect(0);
    let sshd = &site.hosts[1].sshd;
    write(&sshd.dir.join("no-entry"), "");
    sshd.cut();
    let check = site.ask("check prod.web").await.expect(3);
    assert!(check.out.ends_with("run 2: unknown on 1 of 3 hosts\n"), "{check:#?}");
    write(&site.hosts[2].dir.join("down"), "");
    let check = site.ask("check prod.web").await.expect(2);
    assert!(check.out.ends_with("run 3: critical on 1 of 3 hosts\n"), "{check:#?}");
}
