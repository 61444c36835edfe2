//! The operator's line: help, words that are no command, and the options of the program.

use std::path::Path;
use std::process::{Command, Stdio};

use rollcall::domain::ask::command::LOCAL;

use crate::support::client::{Client, ask};
use crate::support::site::{Answer, Site, answer_of};
use crate::support::{folder, read, write};

#[path = "../../build/commit.rs"]
mod commit;

/// Everything that a task may have.
const RICH: &str = r#"
description = "Restarts workers, a few at a time"
hosts = "web"
params.colour = { type = "choice", choices = ["blue", "green"], description = "Which half" }
params.count = { type = "number", default = "2" }
params.token = { secret = true }
[rollout]
serial = [1, "50%"]
max_failures = "10%"
[[steps]]
name = "restart"
run = "true {{ colour }} {{ count }}"
tags = ["restart"]
[[steps]]
name = "reload"
run = "true"
on = "lb1"
"#;

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_of_a_task_says_what_it_takes_and_does() {
    let mut site = Site::without_daemon(2).await;
    write(&site.config.join("tasks/rich.toml"), RICH);
    write(
        &site.config.join("tasks/elsewhere.toml"),
        "hosts = \"lb\"\n[[steps]]\nname = \"x\"\nrun = \"true\"\n",
    );
    let operators = site.config.join("operators");
    write(
        &operators,
        &read(&operators).replace("role=\"operator\"", "role=\"operator\",groups=\"prod.web\""),
    );
    site.start_daemon().await;

    let help = site.ask("help").await.expect(0).out;
    has(
        &help,
        &[
            "Tasks:\n",
            "  deploy SELECTOR version=VALUE [hook=VALUE]",
            "A release\n",
            "  touch SELECTOR\n",
            "  elsewhere SELECTOR",
        ],
    );
    // Only what the operator may run; a viewer may plan.
    let help = site.ask_as("bob", "help").await.expect(0).out;
    assert!(help.contains("  deploy SELECTOR") && !help.contains("elsewhere"), "{help}");
    has(
        &site.ask_as("bob", "help elsewhere").await.expect(64).err,
        &["no task or command is called `elsewhere`"],
    );
    has(
        &site.ask_as("vic", "help").await.expect(0).out,
        &["Tasks (to run one needs the role operator; `plan` does not):\n"],
    );
    let help = site.ask_as("vic", "help deploy").await.expect(0).out;
    assert!(help.contains("You may plan it") && !help.contains("ssh rollcall deploy prod"), "{help}");

    let help = site.ask("help deploy").await.expect(0).out;
    has(
        &help,
        &[
            "deploy: A release\n",
            "Usage: ssh rollcall deploy SELECTOR version=VALUE [hook=VALUE] [OPTIONS]",
            "Runs on: the hosts of SELECTOR that are in `web`\n",
            "  hook     text; default true\n",
            "  version  text; matches \\d+\\.\\d+\\.\\d+; required\n",
            "  unpack: run mkdir -p {{ version }}",
            "  configure: upload files/app.conf to {{ root }}/releases/{{ version }}/app.conf\n",
            "Rollout: batches of 1, 25%, 100% of the hosts; a host that fails is rolled back; it stops at the first failure\n",
            "On failure:\n  switch back: link {{ root }}/current -> {{ previous }}\n",
            "Example:\n  ssh rollcall plan deploy prod version=1.4.2\n  ssh rollcall deploy prod version=1.4.2\n",
        ],
    );
    for line in ["deploy --help", "deploy -h", "deploy prod --help"] {
        assert_eq!(site.ask(line).await.expect(0).out, help, "{line}");
    }
    // The example works, with a value that was right before.
    site.ask("deploy prod version=1.7.0").await.expect(0);
    let help = site.ask("help deploy").await.expect(0).out;
    let example =
        help.lines().last().and_then(|line| line.trim().strip_prefix("ssh rollcall ")).unwrap().to_string();
    assert_eq!(example, "deploy prod version=1.7.0");
    site.ask(&example).await.expect(0);

    let help = site.ask("help rich").await.expect(0).out;
    has(
        &help,
        &[
            "  colour  one of: blue, green; required; Which half\n",
            "  count   number; default 2\n",
            "  token   text; required; secret: never printed or kept\n",
            "  restart: run true {{ colour }} {{ count }} [tags: restart]\n",
            "  reload: run true (on lb1)\n",
            "a host that fails is held out of rotation; it stops when more than 10% of the hosts have failed\n",
            "  ssh rollcall rich prod colour=blue token=VALUE\n",
        ],
    );
    let example =
        help.lines().last().and_then(|line| line.trim().strip_prefix("ssh rollcall ")).unwrap().to_string();
    site.ask(&example).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_are_no_command_get_an_answer_that_leads_on() {
    let site = Site::start(1).await;
    let rows = [
        ("run --help", 0, "Usage: ssh rollcall run SELECTOR [OPTIONS] -- COMMAND"),
        ("check -h", 0, "Usage: ssh rollcall check"),
        ("help host accept", 0, "Usage: ssh rollcall host accept"),
        ("help balancer drain", 0, "Usage: ssh rollcall balancer drain SELECTOR because REASON"),
        ("version", 0, "rollcall 0.1.0 (commit "),
        (
            "ls",
            64,
            "rollcall is no shell: it runs tasks, checks and commands on hosts; to run `ls` on hosts: run SELECTOR -- ls; for all commands: help\n",
        ),
        ("ls -la /", 64, "rollcall is no shell"),
        ("exit", 64, "there is no session to leave: each command is a connection of its own; try: help\n"),
        (
            "hosts?",
            64,
            "no task or command is called `hosts?`; did you mean `hosts`? (tasks: deploy, touch; commands: help)\n",
        ),
        (
            "serve",
            64,
            "`serve` is a command of the program, on the daemon's machine: rollcall serve; over ssh, try: help\n",
        ),
        (
            "deploy",
            64,
            "`deploy` needs to know where; try: deploy SELECTOR [NAME=VALUE...]; see: help deploy\n",
        ),
        ("deploy prod --hard", 64, "`deploy` has no option `--hard`"),
        ("depoly prod", 64, "no task or command is called `depoly`; did you mean `deploy`?"),
        ("help depoly", 64, "no task or command is called `depoly`; did you mean `deploy`?"),
        ("plan serve prod", 64, "`serve` is a command of the program"),
    ];
    for (line, status, text) in rows {
        let answer = site.ask(line).await.expect(status);
        let said = format!("{}{}", answer.out, answer.err);
        assert!(said.contains(text), "{line}: {said}");
        let word = line.split(' ').next().unwrap();
        assert!(!said.contains(&format!("did you mean `{word}`")), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_folds_hosts_that_differ_in_their_own_values_alone() {
    let site = Site::start(3).await;
    let plan = site.ask("plan deploy prod version=2.0.0").await.expect(0).out;
    has(
        &plan,
        &[
            "3 hosts, 3 batches; a host that fails is rolled back; it stops at the first failure\n",
            "on web[01-03]:\n  drain in prod.web\n",
            "  stop: run touch down\n",
            "  switch: link {{ root }}/current -> releases/2.0.0\n",
            "answers: ",
            "each host has its own {{ root }}, {{ server }}; for one host's: plan ... HOST\n",
        ],
    );
    assert_eq!(plan.matches("\non ").count(), 1, "{plan}");
    let root = site.hosts[1].dir.display().to_string();
    let plan = site.ask("plan deploy web02 version=2.0.0").await.expect(0).out;
    has(&plan, &[&format!("  switch: link {root}/current -> releases/2.0.0\n")]);
    assert!(!plan.contains("each host has its own"), "{plan}");
    // A step that only some have stays apart.
    write(
        &site.config.join("tasks/some.toml"),
        "hosts = \"web\"\n[rollout]\n[[steps]]\nname = \"x\"\nrun = \"true {{ root }}\"\nwhen = \"host.name != 'web02'\"\n",
    );
    site.ask("reload").await.expect(0);
    site.ask("deploy prod version=2.0.0").await.expect(0);
    let plan = site.ask("plan some web").await.expect(0).out;
    assert!(plan.contains("on web[01,03]:\n") && plan.contains("  x: run true {{ root }}\n"), "{plan}");
    assert!(plan.contains("on web02:\n"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_fit_the_screen_and_hosts_come_in_order() {
    let site = Site::start(2).await;
    write(
        &site.config.join("hosts/ips.toml"),
        "[ips]\nhosts = \"127.0.1.[1-12]\"\n[racks]\nhosts = [\"r10-w1\", \"r2-w1\"]\n",
    );
    site.ask("reload").await.expect(0);
    let hosts = site.ask("hosts ips.ips").await.expect(0).out;
    let names: Vec<&str> = hosts.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    let wanted: Vec<String> = (1..=12).map(|number| format!("127.0.1.{number}")).collect();
    assert_eq!(names, wanted);
    has(&site.ask("releases ips.ips").await.expect(0).out, &["nothing on record: 127.0.1.[1-12]\n"]);
    has(&site.ask("releases ips.racks").await.expect(0).out, &["nothing on record: r2-w1,r10-w1\n"]);

    let client = Client::of(&site, "ann").await;
    for (line, status) in
        [("help", 0), ("hosts", 0), ("plan deploy prod version=2.0.0", 0), ("hosts nonesuch", 64)]
    {
        let channel = client.channel().await.unwrap();
        channel.request_pty(false, "xterm", 60, 24, 0, 0, &[]).await.unwrap();
        let (is, text) = ask(channel, line).await;
        assert_eq!(is, status, "{line}");
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 60).collect();
        assert!(wide.is_empty() && text.len() > 60, "{line}: {wide:#?}");
        // Without a terminal nothing is broken.
        let (_, plain) = ask(client.channel().await.unwrap(), line).await;
        assert!(plain.lines().any(|line| line.chars().count() > 60), "{line}");
    }
    let channel = client.channel().await.unwrap();
    channel.request_pty(false, "xterm", 60, 24, 0, 0, &[]).await.unwrap();
    let long = "word ".repeat(40);
    let (_, text) = ask(channel, &format!("run web01 -- echo {long}")).await;
    assert_eq!(text.trim_end(), long.trim_end(), "the output of hosts is as they print it");
}

fn program(words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    let output = command.args(words).env_remove("ROLLCALL_CONFIG").stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code().unwrap(), text.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_the_program_go_before_and_behind_its_commands() {
    let site = Site::without_daemon(1).await;
    let dir = site.config.display().to_string();
    let joined = format!("--config={dir}");
    let rows: &[&[&str]] = &[
        &["--config", &dir, "check-config"],
        &["check-config", "--config", &dir],
        &["check-config", &joined],
        &["check-config", &dir],
    ];
    for words in rows {
        let (status, said) = program(words);
        assert!(status == 0 && said.contains("configuration OK"), "{words:?}: {said}");
    }
    let rows: &[&[&str]] = &[
        &["--local", "--config", &dir, "hosts", "web01"],
        &["hosts", "web01", "--local", "--config", &dir],
        &["hosts", &joined, "--local", "web01"],
    ];
    for words in rows {
        let (status, said) = program(words);
        assert!(status == 0 && said.starts_with("HOST "), "{words:?}: {said}");
    }
    let (_, said) = program(&["--json", "--local", &joined, "hosts", "web01"]);
    assert!(said.starts_with("{\"schema\":\"host\""), "{said}");
    // Behind `--` the words are for the hosts.
    let (status, said) =
        program(&["--local", &joined, "run", "web01", "--", "echo", "--local", "--config", "x"]);
    assert!(status == 0 && said.contains("--local --config x"), "{said}");

    let help = program(&["--help"]).1;
    assert!(help.contains("rollcall --local help"));
    // No task may have the name of a command of the program: `rollcall --local NAME` would be two things.
    let listed = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, LOCAL);
    let (status, said) = program(&["help"]);
    assert!(status == 0 && said.contains("Usage: rollcall"), "{said}");
    assert!(program(&["help", "serve"]).1.contains("Run the daemon"));
    let (status, said) = program(&["serve", "--config", "/nonexistent"]);
    assert_eq!(status, 1);
    has(
        &said,
        &[
            "there is no configuration directory /nonexistent; try: rollcall serve --config DIR",
            "rollcall demo",
        ],
    );
    let (status, said) = program(&["--version"]);
    assert!(status == 0 && said.starts_with("rollcall 0.1.0 (commit "), "{said}");
}

fn git(dir: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", "user.name=x", "-c", "user.email=x@example.com"]).args(words);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{words:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

#[test]
fn the_commit_is_found_without_git() {
    let dir = folder();
    let (root, tree) = (dir.path().join("main"), dir.path().join("tree"));
    std::fs::create_dir_all(root.join("vendor/x")).unwrap();
    let found = |root: &Path| {
        let found = commit::find(root);
        assert!(found.files.iter().all(|file| file.exists()), "{:?}", found.files);
        found.commit
    };
    assert_eq!(found(&root), None, "no checkout");
    git(&root, &["init", "-q", "-b", "main"]);
    assert_eq!(found(&root), None, "no commit yet");
    let commit = |dir: &Path| {
        git(dir, &["commit", "-q", "--allow-empty", "-m", "x"]);
        Some(git(dir, &["rev-parse", "HEAD"])[..12].to_string())
    };
    let first = commit(&root);
    assert_eq!(found(&root), first);
    git(&root, &["pack-refs", "--all"]);
    assert_eq!(found(&root), first, "packed");
    git(&root, &["worktree", "add", "-q", "-b", "side/branch", tree.to_str().unwrap()]);
    let second = commit(&tree);
    assert_eq!((found(&root), found(&tree)), (first.clone(), second), "a worktree");
    git(&root, &["checkout", "-q", "--detach"]);
    assert_eq!(found(&root), first, "detached");
    assert_eq!(found(&root.join("vendor/x")), None, "vendored in another project");
}

/// `ssh` with a text on its standard input.
async fn with_input(site: &Site, line: &str, input: &str) -> Answer {
    let path = site.dir.path().join("input");
    write(&path, input);
    let mut command = site.ssh("ann", line);
    command.stdin(std::fs::File::open(&path).unwrap());
    answer_of(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_many_hosts_are_accepted_in_one_go_and_on_proof() {
    let site = Site::start(3).await;
    let known = site.dir.path().join("state/known_hosts");
    let good = read(&known);
    let all = || good.lines().filter(|line| !line.contains(&format!("]:{} ", site.lb.address.port())));
    write(&known, "");

    // All are shown, and accepted if they are still the same.
    let shown = site.ask("host accept prod.web").await.expect(0).out;
    assert_eq!(shown.matches(": not known; compare it on the host").count(), 3, "{shown}");
    has(
        &shown,
        &["3 keys not known; once you have compared them, record them in one go: host accept prod.web SET:"],
    );
    assert_eq!(read(&known), "", "showing records nothing");
    let set = shown.split("host accept prod.web SET:").nth(1).unwrap().split_whitespace().next().unwrap();
    let other = site.ask(&format!("host accept web[01-02] SET:{set}")).await.expect(2);
    has(
        &other.err,
        &["the keys are not those that were shown; nothing was recorded; see: host accept web[01-02]\n"],
    );
    assert_eq!(read(&known), "");
    let taken = site.ask(&format!("host accept prod.web SET:{set}")).await.expect(0).out;
    assert_eq!(taken.matches(": recorded\n").count(), 3, "{taken}");
    site.ask("run web -- true").await.expect(0);

    // They are forgotten, and no connection that they proved is used on.
    let gone = site.ask("host forget web").await.expect(0).out;
    assert_eq!(gone.matches(": 1 key forgotten; then: host accept web0").count(), 3, "{gone}");
    assert_eq!(read(&known), "");
    site.ask("run web -- true").await.expect(4);
    assert_eq!(site.ask("host forget web01").await.expect(0).out, "web01: no key was recorded\n");

    // Compared with a list: what is not in it, or another one there, is named and not recorded.
    let lines: Vec<&str> = all().collect();
    let key_of = |line: &str| line.split_once(' ').unwrap().1.to_string();
    let port = |at: usize| format!("[127.0.0.1]:{}", site.hosts[at].sshd.address.port());
    let list = format!("{}\n{} {}\n", lines[0], port(1), key_of(lines[2]));
    let answer = with_input(&site, "host accept prod.web -", &list).await.expect(2);
    let line = |host: &str| answer.out.lines().find(|line| line.starts_with(host)).unwrap().to_string();
    assert!(line("web01").ends_with(": recorded"), "{answer:#?}");
    assert!(
        line("web02").contains(": NOT THE KEY OF THE LIST (SHA256:")
            && line("web02").ends_with("; not recorded"),
        "{answer:#?}"
    );
    assert!(line("web03").ends_with(": the list has no key of this host; not recorded"), "{answer:#?}");
    assert_eq!(read(&known).trim(), lines[0]);
    let print = |at: usize| {
        shown.lines().nth(at).unwrap().split(' ').nth(2).unwrap().trim_end_matches(':').to_string()
    };
    let list = format!("256 {} root@web02 (ED25519)\n256 {} root@web03 (ED25519)\n", print(1), print(2));
    with_input(&site, "host accept 'web02,web03' -", &list).await.expect(0);
    site.ask("run web -- true").await.expect(0);
    let bad = with_input(&site, "host accept web -", "hello\n").await.expect(64);
    has(
        &bad.err,
        &[
            "line 1 of the input is no key; try: lines of known_hosts, ssh-keyscan or ssh-keygen -l; try: host accept",
        ],
    );

    // A changed key is named as such, whatever proves it, until the old one is forgotten.
    write(&known, &format!("{} {}\n", port(0), key_of(lines[1])));
    for answer in [
        site.ask("host accept web01").await.expect(0),
        site.ask("host accept web01 --trust").await.expect(2),
        site.ask("host accept web01 SET:e3b0c44298fc1c149afbf4c8996fb924").await.expect(2),
        with_input(&site, "host accept web01 -", lines[0]).await.expect(2),
    ] {
        has(
            &answer.out,
            &[": CHANGED: another key is recorded", "if the host was reinstalled: host forget web01\n"],
        );
    }
    assert!(site.ask(&format!("host accept web01 {}", print(0))).await.status != 0);
    assert_eq!(read(&known), format!("{} {}\n", port(0), key_of(lines[1])));
    // A line for several hosts keeps the others.
    write(&known, &format!("other,{} {}\n{good}", port(0), key_of(lines[1])));
    site.ask("host forget web01").await.expect(0);
    assert!(read(&known).starts_with(&format!("other {}\n", key_of(lines[1]))), "{}", read(&known));
    assert!(!read(&known).contains(&port(0)));
    with_input(&site, "host accept web01 -", lines[0]).await.expect(0);
    site.ask_as("bob", "host forget web01").await.expect(77);
}
