//! The session of an operator: who else is connected, how a run is left, and what an own machine needs.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::site::{Site, answer_of};
use crate::support::{DEADLINE, eventually, read, until, write};

/// Each host waits until the test lets it go on.
const SLOW: &str = "params.version = { default = \"1.0.0\" }\n[rollout]\nserial = 1\n[[steps]]\nname = \"wait\"\nrun = \"until [ -e '{{ root }}/go' ]; do sleep 0.05; done\"\n";

async fn site() -> Site {
    let mut site = Site::without_daemon(2).await;
    write(&site.config.join("tasks/slow.toml"), SLOW);
    site.start_daemon().await;
    site
}

fn go_on(site: &Site) {
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
}

/// A plain `ssh -tt`, whose terminal is its standard input and output.
fn on_terminal(site: &Site, who: &str, line: &str) -> Child {
    let mut command = site.ssh(who, line);
    let mut terminal = Command::new("ssh");
    terminal.arg("-tt").args(command.as_std_mut().get_args());
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    terminal.spawn().unwrap()
}

async fn status_of(child: &mut Child) -> Option<i32> {
    timeout(DEADLINE, child.wait()).await.expect("an end").unwrap().code()
}

async fn sessions(site: &Site, who: &str) -> Vec<Value> {
    let answer = site.ask_as(who, "sessions --json").await.expect(0);
    answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number of the session in which this operator follows run 1.
async fn follower(site: &Site, who: &str) -> u64 {
    let mut found = None;
    eventually("a session that follows run 1", async || {
        let all = sessions(site, "ann").await;
        let is_it = |one: &&Value| {
            one["operator"] == who
                && one["commands"].as_array().unwrap().iter().any(|doing| doing["run"] == 1)
        };
        found = all.iter().find(is_it).and_then(|one| one["id"].as_u64());
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_sessions_and_ends_one_and_its_run_goes_on() {
    let site = site().await;
    let mut bob = site.ssh("bob", "slow web01").spawn().unwrap();
    let id = follower(&site, "bob").await;
    let listed = site.ask("sessions").await.expect(0).out;
    assert!(listed.contains("slow web01 (follows run 1)") && listed.contains(" (this one)"), "{listed}");
    // Others have their own sessions alone, and cannot end another.
    assert!(sessions(&site, "vic").await.iter().all(|one| one["operator"] == "vic"));
    let refused = site.ask_as("vic", &format!("kick {id}")).await.expect(64);
    assert_eq!(refused.err, format!("rollcall: there is no session {id}; see: sessions\n"));
    let mut ann = site.ssh("ann", "watch 1").spawn().unwrap();
    let said = until(ann.stderr.as_mut().unwrap(), "too\n").await;
    assert!(said.contains("run 1: bob follows it, too\n"), "{said}");

    let kicked = site.ask(&format!("kick {id} because lunch")).await.expect(0);
    assert!(
        kicked.out.contains(&format!("session {id} of bob is being ended; runs that it started continue\n")),
        "{kicked:?}"
    );
    let said = until(bob.stderr.as_mut().unwrap(), "lunch\n").await;
    assert!(said.contains("rollcall: ann has ended this session: lunch\n"), "{said}");
    status_of(&mut bob).await;
    eventually("the session is over", async || {
        sessions(&site, "ann").await.iter().all(|one| one["id"] != id)
    })
    .await;
    assert_eq!(site.ask(&format!("kick {id}")).await.status, 64);

    // Their next command offers the run, once.
    let offered = site.ask_as("bob", "runs").await.expect(0);
    let text = "run 1 (slow web01 version=1.0.0), which you followed when your connection was lost, goes on; to follow it: watch 1\n";
    assert!(offered.err.contains(text), "{offered:?}");
    assert!(!site.ask_as("bob", "runs").await.err.contains("which you followed"));
    go_on(&site);
    assert_eq!(status_of(&mut ann).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_session_is_not_ended_by_a_command_in_it() {
    let site = site().await;
    let mut bob = site.ssh("bob", "slow web01").spawn().unwrap();
    let id = follower(&site, "bob").await;
    // From another connection of the same operator it is.
    site.ask_as("bob", &format!("kick {id}")).await.expect(0);
    until(bob.stderr.as_mut().unwrap(), "rollcall: bob has ended this session\n").await;
    let refused = site.ask(&format!("kick {}", id + 1_000)).await.expect(64);
    assert!(refused.err.contains("there is no session"), "{refused:?}");
    go_on(&site);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_on_a_terminal_asks_whether_to_detach_or_to_cancel() {
    let site = site().await;
    let question =
        "d detaches and the run continues, c cancels it (hosts in their bracket finish it), any other";
    let mut ann = on_terminal(&site, "ann", "slow web");
    until(ann.stdout.as_mut().unwrap(), "run 1: Ctrl-C detaches, or cancels it if you say so").await;
    follower(&site, "ann").await;
    let mut keys = ann.stdin.take().unwrap();
    keys.write_all(b"\x03").await.unwrap();
    until(ann.stdout.as_mut().unwrap(), question).await;
    keys.write_all(b"x").await.unwrap();
    until(ann.stdout.as_mut().unwrap(), "run 1 goes on, and is followed").await;
    // A viewer cannot cancel it, so nothing is asked.
    let mut vic = on_terminal(&site, "vic", "watch 1");
    until(vic.stdout.as_mut().unwrap(), "ann follows it, too").await;
    vic.stdin.as_mut().unwrap().write_all(b"\x03").await.unwrap();
    until(vic.stdout.as_mut().unwrap(), "run 1 continues; to watch it again: watch 1").await;
    assert_eq!(status_of(&mut vic).await, Some(130));
    // Twice is to detach.
    let mut bob = on_terminal(&site, "bob", "watch 1");
    until(bob.stdout.as_mut().unwrap(), "ann follows it, too").await;
    let mut of_bob = bob.stdin.take().unwrap();
    of_bob.write_all(b"\x03").await.unwrap();
    until(bob.stdout.as_mut().unwrap(), question).await;
    of_bob.write_all(b"\x03").await.unwrap();
    until(bob.stdout.as_mut().unwrap(), "run 1 continues; to watch it again: watch 1").await;
    assert_eq!(status_of(&mut bob).await, Some(130));

    keys.write_all(b"\x03").await.unwrap();
    until(ann.stdout.as_mut().unwrap(), question).await;
    keys.write_all(b"c").await.unwrap();
    until(ann.stdout.as_mut().unwrap(), "run 1 is being cancelled: no further host starts").await;
    go_on(&site);
    assert_eq!(status_of(&mut ann).await, Some(6));
    assert!(site.ask("show 1").await.out.contains("cancelled"));
}

/// A folder with a program `ssh` that uses only what `setup` printed.
async fn machine_of_ann(site: &Site) -> std::path::PathBuf {
    let printed = site.ask("setup roll-call").await.expect(0).out;
    let (config, known) = printed.split_once("# For ~/.ssh/known_hosts").expect("both parts");
    let known: String =
        known.lines().filter(|line| line.starts_with('[')).map(|line| format!("{line}\n")).collect();
    let home = site.dir.path().join("machine");
    write(&home.join("known_hosts"), &known);
    let own = format!(
        "\nHost *\n    ControlMaster no\n    UserKnownHostsFile {}\n    IdentityFile {}\n    IdentitiesOnly yes\n",
        home.join("known_hosts").display(),
        site.dir.path().join("ann").display()
    );
    // The first value of an option counts.
    write(&home.join("config"), &format!("{own}{config}"));
    let wrapper = home.join("bin/ssh");
    let real = answer_of(which("ssh")).await.expect(0).out;
    write(
        &wrapper,
        &format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", real.trim(), home.join("config").display()),
    );
    answer_of(command("chmod", &["755", &wrapper.display().to_string()])).await.expect(0);
    home
}

fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn which(program: &str) -> Command {
    command("sh", &["-c", &format!("command -v {program}")])
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_prints_what_ssh_and_shells_need() {
    let site = site().await;
    let home = machine_of_ann(&site).await;
    let path = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap());
    let in_shell = |program: &str, words: &[&str]| {
        let mut command = command(program, words);
        command.env("PATH", &path).env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache"));
        command
    };
    // The pinned key is that of the door: no question, no warning.
    let who = answer_of(in_shell("sh", &["-c", "ssh roll-call whoami"])).await.expect(0);
    assert!(who.out.contains("ann") && who.err.is_empty(), "{who:?}");
    let wrong = read(&home.join("known_hosts")).replace("AAAAC3", "AAAAC4");
    let right = read(&home.join("known_hosts"));
    write(&home.join("known_hosts"), &wrong);
    assert_eq!(answer_of(in_shell("sh", &["-c", "ssh -o BatchMode=yes roll-call whoami"])).await.status, 255);
    write(&home.join("known_hosts"), &right);

    // Each shell completes: tasks, selectors, parameters.
    let script = |shell: &str| format!("ssh -n roll-call setup roll-call --completion {shell}");
    let bash = format!(
        "eval \"$({})\"; COMP_WORDS=(roll_call deploy we); COMP_CWORD=2; _roll_call; echo ${{COMPREPLY[*]}}; \
         COMP_WORDS=(roll_call slo); COMP_CWORD=1; _roll_call; echo ${{COMPREPLY[*]}}; roll_call version",
        script("bash")
    );
    let answer = answer_of(in_shell("bash", &["--norc", "-c", &bash])).await.expect(0);
    assert!(answer.out.starts_with("web01 web02\nslow\nrollcall "), "{answer:?}");
    // A name of a check runs nothing on the machine of an operator.
    write(
        &site.config.join("checks/evil.toml"),
        "[[check]]\nname = \"$(touch${IFS}$HOME/evil)\"\nrun = \"true\"\n",
    );
    let prod = site.config.join("hosts/prod.toml");
    write(&prod, &read(&prod).replace("checks = [\"http\"", "checks = [\"evil\", \"http\""));
    site.ask("reload").await.expect(0);
    let tab = format!(
        "eval \"$({})\"; COMP_WORDS=(roll_call why web01 ''); COMP_CWORD=3; _roll_call; echo over",
        script("bash")
    );
    answer_of(in_shell("bash", &["--norc", "-c", &tab])).await.expect(0);
    assert!(!home.join("evil").exists());
    let zsh = format!(
        "compdef() {{ }}; compadd() {{ print -r -- \"$@\" }}; eval \"$({})\"; words=(roll_call deploy prod ''); CURRENT=4; _roll_call",
        script("zsh")
    );
    let answer = answer_of(in_shell("zsh", &["-f", "-c", &zsh])).await.expect(0);
    assert!(answer.out.contains("-S  -- hook= version=") && answer.out.contains("-- --check"), "{answer:?}");
    let fish = format!("{} | source; complete -C 'roll_call balancer '", script("fish"));
    let answer = answer_of(in_shell("fish", &["-N", "-c", &fish])).await.expect(0);
    assert_eq!(answer.out, "drain\nenable\nstatus\n", "{answer:?}");
    // Answers are kept for a minute, readable by their owner alone.
    let modes = "cd \"$HOME\" && stat -c %a cache/rollcall && ls cache/rollcall | grep -c roll-call-";
    let kept = answer_of(in_shell("sh", &["-c", modes])).await;
    assert_eq!(kept.expect(0).out, "700\n5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_measures_each_phase_and_names_the_one_that_fails() {
    let mut site = Site::without_daemon(1).await;
    let port = site.hosts[0].sshd.address.port();
    let hosts = format!(
        "[box.hosts]\nnamed = {{ address = \"localhost\", port = {port}, root = \"/tmp\" }}\n\
         dead = {{ address = \"127.0.0.1\", port = 1, root = \"/tmp\" }}\n\
         nowhere = {{ address = \"nonesuch.invalid\", root = \"/tmp\" }}\n\
         stranger = {{ address = \"127.0.0.1\", port = {port}, login = \"nobody-{port}\", root = \"/tmp\" }}\n"
    );
    write(&site.config.join("hosts/box.toml"), &hosts);
    site.start_daemon().await;
    let good = site.ask("doctor web01").await.expect(0).out;
    for what in ["tcp", "kex", "auth", "session", "exec", "clock"] {
        assert!(good.contains(&format!("\n  {what} ")), "{what}: {good}");
    }
    assert!(
        good.contains("is the recorded one") && good.contains(" MiB free on /") && !good.contains("FAILED"),
        "{good}"
    );
    // The phases before the one that fails are shown, and nothing after it.
    let table = [
        ("dead", "tcp", "dial"),
        ("nowhere", "dns", ""),
        ("named", "kex", "host key"),
        ("stranger", "auth", "authentication"),
    ];
    for (host, phase, why) in table {
        let answer = site.ask(&format!("doctor {host} --json")).await.expect(4).out;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let last = answer["findings"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (last["what"].as_str(), last["state"].as_str()),
            (Some(phase), Some("failed")),
            "{answer}"
        );
        assert!(last["text"].as_str().unwrap().contains(why), "{answer}");
    }
    // Several hosts, one of them dead.
    let both = site.ask("doctor web01,dead").await.expect(4).out;
    assert!(both.contains("web01 (") && both.contains("dead ("), "{both}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_without_a_selector_examines_rollcall_itself() {
    let mut site = Site::without_daemon(1).await;
    site.start_daemon().await;
    let finding = |answer: &str, what: &str| -> (String, String) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let all = answer["findings"].as_array().unwrap();
        let one = all.iter().find(|one| one["what"] == what).unwrap_or_else(|| panic!("{what}: {answer}"));
        (one["state"].as_str().unwrap().into(), one["text"].as_str().unwrap().into())
    };
    let good = site.ask("doctor").await.expect(0).out;
    assert!(good.starts_with("rollcall 0.") && !good.contains("CRITICAL"), "{good}");
    for what in
        ["config", "store", "audit", "socket", "host key", "fleet key", "known hosts", "runs", "watching"]
    {
        assert_eq!(finding(&site.ask("doctor --json").await.expect(0).out, what).0, "ok", "{what}: {good}");
    }
    // A change that is not in force yet, and then a mistake.
    let task = site.config.join("tasks/later.toml");
    write(&task, "[[steps]]\nname = \"x\"\nrun = \"true\"\n");
    let (state, text) = finding(&site.ask("doctor --json").await.expect(0).out, "config");
    assert!(state == "warning" && text.ends_with("try: config diff, then reload"), "{state} {text}");
    write(&task, "[[steps]]\nnme = \"x\"\n");
    let (state, text) = finding(&site.ask("doctor --json").await.expect(4).out, "config");
    assert!(state == "critical" && text.contains("a step needs `name`"), "{state} {text}");
    let (_, text) = finding(&site.ask_as("bob", "doctor --json").await.expect(4).out, "config");
    assert!(!text.contains("a step needs") && text.contains("have mistakes"), "{text}");
    std::fs::remove_file(&task).unwrap();
    // A key of the door that others can read.
    let settings: toml::Value = toml::from_str(&read(&site.config.join("rollcall.toml"))).unwrap();
    let key = std::path::PathBuf::from(settings["host_key"].as_str().unwrap());
    let open =
        |mode| std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    open(0o644);
    let (state, text) = finding(&site.ask("doctor --json").await.expect(4).out, "host key");
    assert!(state == "critical" && text.contains("others can read it (its mode is 0644)"), "{state} {text}");
    open(0o600);
    // A host that rollcall does not know.
    write(&site.config.join("hosts/new.toml"), "[box]\nhosts = \"stranger01\"\n");
    site.ask("reload").await.expect(0);
    let (state, text) = finding(&site.ask("doctor --json").await.expect(0).out, "known hosts");
    assert_eq!((state.as_str(), text.split(':').next()), ("warning", Some("stranger01 (1)")));
    site.ask_as("vic", "doctor").await.expect(77);
}

#[tokio::test(flavor = "multi_thread")]
async fn completion_names_nothing_that_one_may_not_see() {
    let mut site = Site::without_daemon(1).await;
    write(&site.config.join("hosts/vault.toml"), "[box]\nhosts = \"secret01\"\n");
    write(
        &site.config.join("tasks/open.toml"),
        "hosts = \"vault\"\n[[steps]]\nname = \"open\"\nrun = \"true\"\n",
    );
    let operators = site.config.join("operators");
    write(&operators, &read(&operators).replace("role=\"viewer\"", "role=\"viewer\",groups=\"prod.web\""));
    site.start_daemon().await;
    assert!(site.ask("complete hosts").await.expect(0).out.contains("secret01\n"));
    let lines = [
        "complete",
        "complete hosts",
        "complete plan",
        "complete show",
        "complete check",
        "complete plan open",
    ];
    for line in lines {
        let answer = site.ask_as("vic", line).await.expect(0);
        assert!(
            !answer.out.contains("secret01") && !answer.out.contains("vault") && !answer.out.contains("open"),
            "{line}: {answer:?}"
        );
        assert!(answer.err.is_empty(), "{line}: {answer:?}");
    }
    let first = site.ask_as("vic", "complete").await.expect(0).out;
    assert!(
        first.lines().any(|word| word == "hosts") && !first.lines().any(|word| word == "reload"),
        "{first}"
    );
}
