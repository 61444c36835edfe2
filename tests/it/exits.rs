//! A command that did not do what it was asked for exits non-zero, and says why. One line or more for each
//! command of the grammar, against real hosts and a real nginx.

use std::process::Stdio;

use rollcall::domain::ask::command::command_paths;
use tokio::process::Command;

use crate::support::site::Site;
use crate::support::{read, write};

/// A host that refuses connections.
const DEAD: &str = "[box.hosts]\ndead01 = { address = \"127.0.0.1\", port = 1, root = \"/tmp\" }\n";

/// A task that works nowhere.
const BREAK: &str = "[[steps]]\nname = \"break\"\nrun = \"exit 7\"\n";

/// A task whose dry run has to ask the host.
const GUARDED: &str = "[[steps]]\nname = \"guarded\"\nrun = \"true\"\nunless = \"true\"\n";

/// The command, how it is asked in vain, the exit status, and a part of the answer. Run 1 has ended well.
const LINES: &[(&str, &str, i32, &str)] = &[
    ("help", "help nonesuch", 64, "no task or command is called `nonesuch`"),
    ("version", "version really", 64, "unexpected argument"),
    ("operator enroll", "operator enroll ABCD-EFGH as eve", 64, "no key waits with the code `ABCD-EFGH`"),
    ("operator enroll", "operator enroll ABCD-EFGH", 64, "required arguments were not provided"),
    ("whoami", "whoami really", 64, "unexpected argument"),
    ("ask", "ask nonesuch prod for 1h because x", 64, "there is no role `nonesuch`"),
    ("ask", "ask operator prod for 30d because x", 64, "temporary rights last for 7 days at most"),
    ("ask", "ask operator for 1h because x", 64, "say which role, and in which groups"),
    ("ask", "ask operator prod for 1h", 64, "say why, for the record"),
    ("grant", "grant 99", 64, "no request or right 99 is open; see: ask"),
    ("grant", "grant end 99", 64, "no request or right 99 is open; see: ask"),
    ("grant", "grant", 64, "required arguments were not provided"),
    ("sessions", "sessions really", 64, "unexpected argument"),
    ("kick", "kick 999999", 64, "there is no session 999999; see: sessions"),
    ("kick", "kick bob", 64, "invalid value"),
    ("setup", "setup -x", 64, "unexpected argument"),
    ("setup", "setup 1x", 64, "a name has letters, digits"),
    ("setup", "setup --host 'a b'", 64, "the name or the address of the machine of rollcall"),
    ("web", "web --port 0", 64, "invalid value '0' for '--port <PORT>'"),
    ("web", "web now", 64, "unexpected argument"),
    ("complete", "complete --break-glass", 64, "say why, for the record"),
    ("board", "board rums", 64, "there is no page `rums`; pages are: runs, run N"),
    ("board", "board run 99", 64, "there is no run 99; try: runs"),
    ("board", "board run 1 web99", 64, "run 1 has no host `web99`; try: board run 1"),
    ("board", "board run 1 web01 99", 64, "has no step 99 in run 1; try: board run 1 web01"),
    ("board", "board host nonesuch", 64, "no group or host is called"),
    ("board", "board check nonesuch", 64, "no check `nonesuch` is watched; try: board checks"),
    ("board", "board --at 5", 64, "only pages of runs show an earlier state; try: without --at"),
    ("board", "board run x", 64, "`x` is no number"),
    ("hosts", "hosts nonesuch", 64, "no group or host is called"),
    ("plan", "plan nonesuch prod.web", 64, "no task or command is called `nonesuch`"),
    ("plan", "plan deploy prod.web", 64, "needs version=VALUE"),
    ("plan", "plan deploy prod.web version=6.6.6", 69, "is marked bad by ann"),
    ("plan", "plan --diff guarded dead01", 4, "dead01"),
    ("check", "check prod.web nonesuch", 64, "no host of `prod.web` has a check"),
    ("check", "check dead01", 64, "no host of `dead01` has checks"),
    ("check", "check web01 version=9.9.9", 2, "critical"),
    ("run", "run web01 -- false", 2, "exit status 1"),
    ("run", "run dead01 -- true", 4, "dead01"),
    ("run", "run web01 --sudo -- false", 2, "exit status 1"),
    ("run", "run web01 --fanout 0 -- true", 64, "0 is not in 1"),
    ("ping", "ping dead01", 4, "not reachable"),
    ("copy", "copy nonesuch /x", 64, "no group or host is called"),
    ("copy", "copy web01 /x/", 64, "say the name of the file"),
    ("fetch", "fetch web01 /nonesuch", 2, "/nonesuch is not there"),
    ("fetch", "fetch dead01 /etc/passwd", 4, "dead01"),
    ("nodes", "nodes fold @nonesuch", 64, "no group or host is called"),
    ("nodes", "nodes count 'web[3-1]'", 64, "bad range"),
    ("last", "last nonesuch", 64, "you have started no run of `nonesuch`"),
    ("ping", "ping nonesuch", 64, "no group or host is called"),
    ("hosts", "hosts nonesuch --unreachable", 64, "no group or host is called"),
    ("facts", "facts dead01", 4, "dead01"),
    ("logs", "logs nonesuch /x", 64, "no group or host is called"),
    ("logs", "logs web01 x.log", 64, "is neither a unit of the journal nor an absolute path"),
    ("logs", "logs web01 /x --since 1h", 64, "`--since` is for the journal"),
    ("logs", "logs web01 /x --lines 5001", 64, "5001"),
    ("logs", "logs web01 /nonesuch/x.log", 2, "web01: exit status 1: tail: cannot open"),
    ("logs", "logs dead01 /x", 4, "dead01"),
    ("logs", "logs dead01 /x -f", 4, "dead01"),
    ("doctor", "doctor dead01", 4, "cannot connect to dead01"),
    ("doctor", "doctor nonesuch", 64, "no group or host is called"),
    ("sudoers", "sudoers nonesuch", 64, "no group or host is called"),
    ("runs", "runs --last 0", 64, "a number from 1 to"),
    ("show", "show 99", 64, "there is no run 99; try: runs"),
    ("show", "show 1 --host web99", 64, "run 1 has no host `web99`"),
    ("output", "output 99 web01", 64, "there is no run 99; try: runs"),
    ("output", "output 1 web99", 64, "run 1 has no host `web99`"),
    ("output", "output 1 web01 nonesuch", 64, "no step `nonesuch` has run on"),
    ("watch", "watch 99", 64, "there is no run 99; try: runs"),
    ("artifacts", "artifacts 1", 64, "run 1 has kept nothing"),
    ("cancel", "cancel 1", 69, "run 1 is not under way"),
    ("cancel", "cancel 99", 64, "there is no run 99"),
    ("pause", "pause 1", 69, "run 1 is not under way"),
    ("resume", "resume 1", 69, "run 1 is not under way"),
    ("approve", "approve 1", 69, "run 1 is not under way"),
    ("retry", "retry 1", 69, "run 1 left no host to try again"),
    ("retry", "retry 99", 64, "there is no run 99"),
    ("debts", "debts please", 64, "unexpected argument"),
    ("settle", "settle web01 because x", 64, "no debt is open for `web01`"),
    ("balancer status", "balancer status nonesuch", 64, "no group or host is called"),
    ("balancer enable", "balancer enable web01", 69, "rollcall has taken none of `web01` out of rotation"),
    ("balancer drain", "balancer drain dead01 because x", 69, "dead01 is behind no balancer"),
    ("balancer drain", "balancer drain prod.web because x", 2, "not-started  1"),
    ("balancer drain", "balancer drain web02 because x", 2, "too few would be left in service"),
    ("settle", "settle web01 because x", 3, "web01 is out in prod.web"),
    ("releases", "releases nonesuch", 64, "no group or host is called"),
    ("rollback", "rollback prod.web", 69, "no release is on record"),
    ("mark bad", "mark bad nonesuch because x", 64, "there is no task `nonesuch`"),
    ("mark good", "mark good deploy nonesuch=1 because x", 64, "has no parameter `nonesuch`"),
    ("status", "status nonesuch", 64, "no group or host is called"),
    ("history", "history web01 nonesuch", 64, "nothing was ever seen of a check `nonesuch`"),
    ("why", "why web01 nonesuch", 64, "nonesuch"),
    ("downtime", "downtime end 99", 64, "no downtime has the number 99"),
    ("downtime", "downtime web01 nonesuch for 1h because x", 64, "there is no check or set of checks"),
    ("queue", "queue prod", 64, "unexpected argument"),
    ("lock", "lock nonesuch for 1h because x", 64, "no group or host is called"),
    ("unlock", "unlock 99", 64, "no lock or hold has the number 99"),
    ("hold", "hold nonesuch", 64, "no group or host is called"),
    ("freeze", "freeze end 99", 64, "no freeze has the number 99"),
    ("events", "events --type nonesuch", 64, "no event has the type `nonesuch`"),
    ("audit", "audit --type nonesuch", 64, "no row has the type `nonesuch`"),
    ("audit", "audit --since yesterday", 64, "neither a number of a row nor a time"),
    ("audit", "audit nonesuch", 64, "invalid value"),
    ("config log", "config log really", 64, "unexpected argument"),
    (
        "git-upload-pack",
        "git-upload-pack /nonesuch",
        64,
        "there is no repository `/nonesuch`; try: ssh://rollcall/config",
    ),
    (
        "git-receive-pack",
        "git-receive-pack nonesuch",
        64,
        "there is no repository `nonesuch`; try: ssh://rollcall/config",
    ),
    ("config diff", "config diff 0000", 64, "no kept version starts with `0000`"),
    ("report", "report nonesuch", 64, "no group or host is called"),
    ("report", "report prod --for soon", 64, "is no time"),
    ("receipt", "receipt 99", 64, "there is no run 99"),
    ("receipt", "receipt", 64, "required arguments were not provided"),
    ("ack", "ack web01 nonesuch because x", 64, "web01 `nonesuch`: it is not watched"),
    ("notify list", "notify list all", 64, "unexpected argument"),
    ("notify test", "notify test nonesuch", 64, "no channel is called `nonesuch`"),
    ("notify test", "notify test broken", 4, "was not delivered"),
    ("metrics", "metrics --json", 64, "not as JSON"),
    ("host accept", "host accept web01 SHA256:nonesuch", 2, "SHA256:"),
    ("host accept", "host accept dead01", 2, "dead01"),
    ("host accept", "host accept lb1 --trust", 2, "CHANGED"),
    (
        "host accept",
        "host accept prod.web SET:nonesuch",
        2,
        "the keys are not those that were shown; nothing was recorded",
    ),
    ("host accept", "host accept web01 -", 64, "the input has no key"),
    ("host forget", "host forget nonesuch", 64, "no group or host is called"),
    ("TASK", "nonesuch prod.web", 64, "no task or command is called `nonesuch`"),
    ("TASK", "break web01", 2, "exit status 7"),
    ("TASK", "touch dead01", 4, "dead01"),
    (
        "TASK",
        "deploy prod.web version=6.6.6",
        69,
        "if that is over: mark good deploy hook=true version=6.6.6",
    ),
    ("reload", "reload", 64, "nothing was taken over"),
];

async fn site() -> Site {
    let mut site = Site::without_daemon(2).await;
    write(&site.config.join("hosts/box.toml"), DEAD);
    write(&site.config.join("tasks/break.toml"), BREAK);
    write(&site.config.join("tasks/guarded.toml"), GUARDED);
    let settings = site.config.join("rollcall.toml");
    write(&settings, &(read(&settings) + "[[notify]]\nname = \"broken\"\ncommand = \"false\"\n"));
    // The key of the balancer's host is not the recorded one.
    let known = site.dir.path().join("state/known_hosts");
    let port = format!("]:{} ", site.lb.address.port());
    let other = read(&known).lines().find(|line| !line.contains(&port)).unwrap().to_string();
    let key = other.split_once(' ').unwrap().1;
    let changed = |line: &str| match line.split_once(' ') {
        Some((host, _)) if line.contains(&port) => format!("{host} {key}\n"),
        _ => format!("{line}\n"),
    };
    write(&site.dir.path().join("as-it-was"), &read(&known));
    site.start_daemon().await;
    site.ask("touch web01").await.expect(0);
    site.ask("mark bad deploy version=6.6.6 because it is bad").await.expect(0);
    write(&site.dir.path().join("changed"), &read(&known).lines().map(changed).collect::<String>());
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_not_done_exits_non_zero() {
    for path in command_paths().iter().chain([&"TASK".to_string()]) {
        assert!(LINES.iter().any(|(command, ..)| command == path), "no line asks for `{path}` in vain");
    }
    let site = site().await;
    let known = |from: &str| {
        let dir = site.dir.path();
        write(&dir.join("state/known_hosts"), &read(&dir.join(from)));
    };
    let mut wrong = Vec::new();
    for (_, line, status, text) in LINES {
        known(if line.contains("--trust") { "changed" } else { "as-it-was" });
        if *line == "reload" {
            write(&site.config.join("tasks/break.toml"), "[[steps]]\n");
        }
        let answer = site.ask(line).await;
        let said = format!("{}{}", answer.out, answer.err);
        if answer.status != *status || !said.contains(text) {
            wrong.push(format!("{line}: wanted {status}, {text}: {answer:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // And who may not ask.
    for line in ["touch web01", "balancer drain web01 because x", "reload", "cancel 1"] {
        let answer = site.ask_as("vic", line).await.expect(77);
        assert!(answer.err.contains("this needs the role"), "{answer:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_itself_exits_non_zero_for_what_it_does_not_do() {
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--nonesuch"], 64, "unexpected argument"),
        (&["schema", "nonesuch"], 64, "is no kind of file"),
        (&["check-config", "/nonexistent"], 1, "/nonexistent"),
        (&["--config", "/nonexistent", "serve"], 1, "/nonexistent"),
        (&["demo", "--nonesuch"], 64, "unexpected argument"),
        (&["hosts"], 64, "commands are given over ssh"),
        (&["serve", "--config", "/nonexistent"], 1, "there is no configuration directory /nonexistent; try:"),
        (&["serve", "--nonesuch"], 64, "unexpected argument"),
        (&["check-config", "--config=/nonexistent"], 1, "/nonexistent"),
        (&["--config", "/nonexistent", "check-config"], 1, "/nonexistent"),
        (&["hosts-import", "--ssh-config", "/nonexistent"], 1, "/nonexistent: No such file"),
        (&["hosts-import"], 64, "--ssh-config <FILE>"),
        (&["support", "--config"], 64, "a value is required"),
        (&["hosts", "--local", "--config", "/nonexistent"], 1, "/nonexistent"),
        (&["hosts", "--config=/nonexistent", "--local"], 1, "/nonexistent"),
        (&["hosts", "--local", "--config"], 64, "`--config` needs a directory"),
        (&["--json", "serve"], 64, "`--json` is for commands that --local answers"),
        (&[], 64, "Usage: rollcall"),
        (&["help", "nonesuch"], 64, "the program has no command `nonesuch`"),
        (&["--config", "/nonexistent", "--local", "hosts"], 1, "/nonexistent"),
    ];
    for (words, status, text) in rows {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        let output = command.args(*words).stdin(Stdio::null()).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(*status) && said.contains(text), "{words:?}: {output:?}");
    }
}
