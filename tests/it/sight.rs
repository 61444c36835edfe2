//! An operator with groups reads no name that lies outside of them, whatever they ask for and in whichever format.

use rollcall::domain::ask::command::{LOCAL, built_in_names};

use crate::support::site::Site;
use crate::support::{eventually, keygen, read, write};

/// Hosts that the operator may not see, with a login and an address that are found nowhere else.
const VAULT: &str =
    "[db.hosts]\n\"db7.vault.example.com\" = { address = \"127.0.0.9\", port = 1, login = \"vaultlogin\" }\n";

/// What a check of web hosts says is seen from other hosts, or compared with them.
const CHECKS: &str = r#"
[[check]]
name = "seen from afar"
tcp = { port = 9 }
from = "group:vault.db"
timeout = "2s"
[[check]]
name = "the same everywhere"
run = "hostname; echo $PPID"
same_across = "all"
timeout = "2s"
"#;

/// What must not be read: names, an address, a login, a path of the machine of rollcall, a channel.
fn hidden(site: &Site) -> Vec<String> {
    let root = site.config.display().to_string();
    ["lb1", "db7", "vault", "127.0.0.9", "duty-channel", &root].map(String::from).to_vec()
}

/// One line or more for each command, in each format.
fn lines() -> Vec<String> {
    let plain = [
        "",
        "help",
        "help deploy",
        "help touch",
        "deploy prod.web --nonesuch",
        "version",
        "whoami",
        "ask",
        "ask operator prod.web for 1h because x",
        "grant 1",
        "grant end 1",
        "sessions",
        "kick 999999",
        "setup",
        "web",
        "complete",
        "complete hosts",
        "complete deploy prod.web",
        "operator enroll ABCD-EFGH as eve",
        "board",
        "board runs",
        "board run 1",
        "board run 1 lb1 --all",
        "board host vault",
        "board host db7.vault.example.com",
        "board checks",
        "board debts",
        "hosts",
        "hosts all",
        "hosts lb1",
        "hosts vault",
        "hosts db7.vault.example.com",
        "hosts @none",
        "hosts zzz",
        "hosts all --unreachable",
        "hosts vault --unreachable",
        "ping all",
        "ping lb1",
        "ping vault",
        "plan deploy prod.web version=1.2.4",
        "plan deploy all version=1.2.4",
        "plan deploy vault version=1.2.4",
        "plan touch all",
        "plan --diff touch web01",
        "check prod.web version=1.2.3",
        "check all version=1.2.3",
        "check lb1",
        "check web01 zzz",
        "run all -- true",
        "run lb1 -- true",
        "run vault --fanout 1 --diff -- true",
        "copy vault /tmp/x",
        "fetch vault /etc/hostname",
        "fetch lb1 /nonesuch",
        "nodes fold @vault @all",
        "nodes expand '@*'",
        "last",
        "last run",
        "facts all",
        "logs all /nonesuch/x.log",
        "logs lb1 /nonesuch/x.log",
        "logs vault /x",
        "doctor",
        "doctor all",
        "doctor lb1",
        "doctor vault",
        "sudoers all",
        "sudoers lb1",
        "facts vault",
        "runs",
        "runs --last 100",
        "show 1",
        "show 2",
        "show 3",
        "show 1 --host web01",
        "show 1 --host lb1",
        "output 1 web01",
        "output 2 lb1",
        "watch 1",
        "watch 2",
        "artifacts 1",
        "artifacts 2",
        "cancel 1",
        "cancel 2",
        "pause 1",
        "resume 1",
        "approve 1",
        "retry 1",
        "retry 2",
        "debts",
        "settle web01 because x",
        "settle db7.vault.example.com because x",
        "balancer status prod.web",
        "balancer status all",
        "balancer status vault",
        "balancer drain web01 because x",
        "balancer enable web01",
        "releases",
        "releases vault",
        "rollback web01",
        "rollback vault",
        "mark bad deploy version=9.9.9 because x",
        "mark good deploy version=9.9.9 because x",
        "status",
        "status vault",
        "history web01",
        "history web01 the same everywhere",
        "history web01 seen from afar",
        "history lb1",
        "why web01",
        "why web01 seen from afar",
        "why db7.vault.example.com",
        "downtime",
        "downtime end 1",
        "downtime vault for 1h because x",
        "downtime web01 for 1h because x",
        "ack web01 seen from afar because x",
        "ack db7.vault.example.com reachable because x",
        "events",
        "events --type run-started",
        "audit --type login",
        "audit --operator ann",
        "audit verify",
        "config log",
        "config diff",
        "git-upload-pack config",
        "git-receive-pack config",
        "receipt 1",
        "receipt 2",
        "receipt 1 --signature",
        "receipt --allowed-signers",
        "report",
        "report vault",
        "report web01 --for 1h",
        "queue",
        "lock",
        "lock vault for 1h because x",
        "lock web01 for 1h because x",
        "unlock 1 because x",
        "hold vault",
        "freeze",
        "freeze vault for 1h because x",
        "freeze end 2 because x",
        "reload",
        "host accept web01",
        "host accept lb1",
        "host accept all",
        "host forget lb1",
        "host forget vault",
        "notify list",
        "notify test",
        "notify test duty-channel",
        "metrics",
        "deploy prod.web version=1.2.4",
        "deploy vault version=1.2.4",
        "touch all",
        "touch lb1",
        "touch web01 --check",
    ];
    let formats = ["json", "jsonl", "nagios", "junit", "tap", "prometheus"];
    let formatted = formats.iter().flat_map(|format| {
        [
            format!("check all version=1.2.3 --format {format}"),
            format!("show 1 --format {format}"),
            format!("check web01 --format {format}"),
        ]
    });
    let as_json = plain.iter().filter(|line| !line.contains(" -- ")).map(|line| format!("{line} --json"));
    let json = as_json.chain(["run web01 --json -- true".to_string()]);
    plain.iter().map(|line| line.to_string()).chain(json).chain(formatted).collect()
}

/// A site with hosts that `lim` may not see, on which ann has done this and that.
async fn site() -> Site {
    let mut site = Site::without_daemon(1).await;
    keygen(&site.dir.path().join("lim"), "lim");
    let key = read(&site.dir.path().join("lim.pub"));
    let operators = site.config.join("operators");
    write(&operators, &format!("{}role=\"admin\",groups=\"prod.web\" {key}", read(&operators)));
    write(&site.config.join("hosts/vault.toml"), VAULT);
    write(&site.config.join("checks/far.toml"), &format!("every = \"1s\"\n{CHECKS}"));
    let hosts = site.config.join("hosts/prod.toml");
    write(&hosts, &read(&hosts).replace("checks = [\"http\"]", "checks = [\"http\", \"far\"]"));
    let settings = site.config.join("rollcall.toml");
    write(&settings, &(read(&settings) + "[[notify]]\nname = \"duty-channel\"\ncommand = \"true\"\n"));
    site.start_daemon().await;
    site.ask("touch web01").await.expect(0);
    site.ask("run all -- true").await;
    site.ask("downtime vault for 1h because x").await.expect(0);
    site.ask("lock vault for 1h because db7 burns").await.expect(0);
    site.ask("freeze vault for 1h because db7 burns").await.expect(0);
    eventually("the schedule looks", async || site.ask("status web01").await.out.contains("seen from afar"))
        .await;
    site
}

/// Whether a text holds a name as a whole word: a digest may hold the letters of a name by chance.
fn names(text: &str, name: &str) -> bool {
    let is_end = |beside: Option<char>| !beside.is_some_and(char::is_alphanumeric);
    text.match_indices(name).any(|(at, _)| {
        is_end(text[..at].chars().next_back()) && is_end(text[at + name.len()..].chars().next())
    })
}

async fn reads_nothing_hidden(site: &Site, lines: &[String]) {
    let hidden = hidden(site);
    for line in lines {
        let answer = site.ask_as("lim", line).await;
        let read = format!("{}{}", answer.out, answer.err);
        // What was typed may come back.
        let found = hidden.iter().find(|name| names(&read, name) && !line.contains(name.as_str()));
        assert_eq!(found, None, "{line}: {read}");
        assert!(!read.contains("vaultlogin"), "{line}: {read}");
        assert_ne!(answer.status, 255, "{line}: {read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_names_what_an_operator_may_not_see() {
    let site = site().await;
    let lines = lines();
    for name in built_in_names().iter().filter(|name| !LOCAL.contains(&name.as_str())) {
        assert!(lines.iter().any(|line| line.split(' ').next() == Some(name)), "no line asks for `{name}`");
    }
    reads_nothing_hidden(&site, &lines).await;

    // The balancer's host cannot be reached: what says so does not name it.
    let hosts = site.config.join("hosts/prod.toml");
    let text = read(&hosts);
    let at = text.find("lb1 = {").unwrap();
    write(&hosts, &format!("{}lb1 = {{ address = \"127.0.0.9\", port = 1 }}\n", &text[..at]));
    site.ask("reload").await.expect(0);
    let lines = [
        "balancer status web01",
        "balancer drain web01 because x",
        "deploy prod.web version=1.2.5",
        "debts",
        "show 1",
    ];
    reads_nothing_hidden(&site, &lines.map(String::from)).await;
}
