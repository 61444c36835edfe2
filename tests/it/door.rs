//! The SSH door, asked by plain `ssh`: who gets in, what is refused, and the traps of serving SSH.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::support::site::{Answer, Site, answer_of};
use crate::support::{DEADLINE, eventually, read, write};

/// Enough hosts that their list does not fit in a client's window (2 MiB).
const MANY: usize = 20_000;

/// A connection that carries many channels: OpenSSH's ControlMaster.
pub struct Master {
    socket: PathBuf,
    process: Child,
}

impl Master {
    pub async fn open(site: &Site, who: &str) -> Master {
        let socket = site.dir.path().join(format!("master-{who}"));
        let options = ["-M", "-N", "-S", socket.to_str().unwrap()];
        let process = without_line(site, who, &options).spawn().unwrap();
        let found = socket.clone();
        eventually("the master is there", async || found.exists()).await;
        Master { socket, process }
    }

    /// A command on a channel of its own.
    pub fn channel(&self, line: &str) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-S"]).arg(&self.socket).args([
            "-o",
            "BatchMode=yes",
            "rollcall@127.0.0.1",
            line,
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.process.start_kill();
    }
}

/// `ssh` with options and no command.
fn without_line(site: &Site, who: &str, options: &[&str]) -> Command {
    let mut command = Command::new("ssh");
    command
        .args(["-F", "none", "-p", &site.port().to_string(), "-i"])
        .arg(site.dir.path().join(who))
        .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(options)
        .arg("rollcall@127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn with_many_hosts() -> Site {
    let site = Site::start(1).await;
    write(&site.config.join("hosts/many.toml"), &format!("[many]\nhosts = \"h[1-{MANY}]\"\n"));
    site.ask("reload").await.expect(0);
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_holds_up_nobody_and_misses_nothing() {
    let site = with_many_hosts().await;
    let master = Master::open(&site, "ann").await;
    let mut stalled = master.channel("hosts many --json").spawn().unwrap();
    let mut out = stalled.stdout.take().unwrap();
    // The first bytes are there, so the answer is under way; then nobody reads.
    let mut first = [0; 1];
    out.read_exact(&mut first).await.unwrap();
    for _ in 0..5 {
        answer_of(master.channel("whoami")).await.expect(0);
    }
    // Read after all, it is whole: every line, and the exit status behind them.
    let mut rest = String::new();
    out.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest.lines().count(), MANY);
    assert_eq!(stalled.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_nobody_asked_for_holds_up_nobody() {
    let site = Site::start(2).await;
    let master = Master::open(&site, "ann").await;
    let hook = "hook=touch in-hook; until [ -e go ]; do sleep 0.05; done";
    let mut flooding =
        master.channel(&format!("deploy prod version=2.0.0 '{hook}'")).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = flooding.stdin.take().unwrap();
    let flood = tokio::spawn(async move { while stdin.write_all(&[0; 65536]).await.is_ok() {} });
    let mark = site.hosts[0].dir.join("in-hook");
    eventually("the step runs", async || mark.exists()).await;
    for _ in 0..5 {
        answer_of(master.channel("whoami")).await.expect(0);
    }
    site.hosts.iter().for_each(|host| write(&host.dir.join("go"), ""));
    let output = tokio::time::timeout(DEADLINE, flooding.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success());
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_large_answer_comes_before_its_exit_status() {
    let site = with_many_hosts().await;
    for _ in 0..3 {
        let answer = site.ask("hosts many --json").await.expect(0);
        assert_eq!(answer.out.lines().count(), MANY);
        assert!(answer.out.ends_with("}\n"));
    }
    let failing = site.ask("run web01 -- head -c 20000 /dev/zero | tr '\\0' x; exit 3").await.expect(2);
    assert!(failing.out.contains(&"x".repeat(20_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_stay_outside_and_roles_and_groups_hold() {
    let site = Site::start(2).await;
    let stranger = site.ask_as("stranger", "whoami").await.expect(255);
    assert!(stranger.err.contains("Permission denied (publickey"), "{}", stranger.err);

    let viewer = site.ask_as("vic", "whoami").await.expect(0);
    assert!(
        viewer.out.starts_with("vic (SHA256:") && viewer.out.contains("role viewer, all groups\n"),
        "{}",
        viewer.out
    );
    for line in ["deploy prod version=2.0.0", "run prod -- true", "cancel 1"] {
        let denied = site.ask_as("vic", line).await.expect(77);
        let wanted = "rollcall: this needs the role operator, and vic has the role viewer; \
                      try: ask an admin to change your line in `operators`\n";
        assert_eq!(denied.err, wanted);
    }
    site.ask_as("bob", "reload").await.expect(77);

    // An operator of another group: what they may not see does not exist.
    write(&site.config.join("hosts/test.toml"), "[web]\nhosts = \"t1\"\n");
    let operators = site.config.join("operators");
    write(&operators, &read(&operators).replace("role=\"operator\"", "role=\"operator\",groups=\"test\""));
    site.ask("reload").await.expect(0);
    let unseen = site.ask_as("bob", "run prod -- true").await.expect(64);
    let unknown = site.ask_as("bob", "run nonesuch -- true").await.expect(64);
    assert_eq!(unseen.err.replace("prod", "nonesuch"), unknown.err);
    site.ask("check prod version=1.0.0").await.expect(0);
    assert_eq!(site.ask_as("bob", "runs").await.expect(0).out, "no runs yet\n");
    site.ask_as("bob", "show 1").await.expect(64);
    site.ask_as("bob", "watch 1").await.expect(64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_never_replaces_a_good_one() {
    let site = Site::start(2).await;
    let task = site.config.join("tasks/deploy.toml");
    let good = read(&task);
    write(&task, &good.replace("serial", "seral").replace("hosts = \"web\"", "hosts = 3"));
    let refused = site.ask("reload").await.expect(64);
    assert!(refused.err.starts_with("rollcall: nothing was taken over:\n"), "{}", refused.err);
    assert!(refused.err.contains("tasks/deploy.toml:") && refused.err.contains("seral"), "{}", refused.err);
    assert!(refused.err.contains("2 mistakes in 1 file"), "{}", refused.err);
    site.ask("plan deploy prod version=2.0.0").await.expect(0);
    write(&task, &good.replace("description = \"A release\"", "description = \"Another\""));
    let taken = site.ask("reload").await.expect(0);
    assert_eq!(taken.out, "configuration in force: 3 hosts, 2 tasks, 3 checks, 3 operators\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_commands_are_served() {
    let site = Site::start(1).await;
    let refused = |options: &[&str]| without_line(&site, "ann", options);
    // Forwarding to anywhere, from anywhere, and subsystems.
    let to = answer_of(refused(&["-W", "127.0.0.1:22"])).await;
    assert_eq!(to.status, 255, "{to:?}");
    let from = answer_of(refused(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22"])).await;
    assert_eq!(from.status, 255, "{from:?}");
    let mut subsystem = refused(&["-s"]);
    subsystem.arg("sftp");
    assert_eq!(answer_of(subsystem).await.status, 255);
    // Without a command, a terminal that cannot show the board gets the help. A board ends when its input ends.
    let bare = |term: &str| {
        let mut bare = without_line(&site, "ann", &["-tt"]);
        bare.env("TERM", term);
        answer_of(bare)
    };
    let dumb = bare("dumb").await.expect(0);
    assert!(dumb.out.contains("Every task is a command:\r\n"), "{dumb:?}");
    let board = bare("xterm").await.expect(0);
    assert!(board.out.starts_with("\x1b[?1049h") && board.out.ends_with("\x1b[?1049l"), "{board:?}");
    let usage = site.ask("depoly prod").await.expect(64);
    assert!(usage.err.contains("did you mean `deploy`?"), "{}", usage.err);
}

/// Bytes on the wire that are no SSH, and lines that are no commands: an error each, and the door stands.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_and_the_door_stands() {
    let site = Site::start(1).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"SSH-1.5-old\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", site.port())).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "{bytes:?}: the connection is closed");
    }
    let table: &[(&str, i32, &str)] = &[
        ("'", 64, "a quote is not closed"),
        ("run", 64, "the following required arguments were not provided"),
        ("run web01", 64, "the following required arguments were not provided"),
        ("run web01 -- ", 64, "there is no command behind `--`"),
        ("show 99", 64, "there is no run 99; try: runs"),
        ("cancel 99", 64, "there is no run 99; try: runs"),
        ("show 18446744073709551616", 64, "invalid value '18446744073709551616'"),
        ("show 9223372036854775808", 64, "a number is one from 0 to 9223372036854775807"),
        ("unlock 9223372036854775808", 64, "a number is one from 0 to 9223372036854775807"),
        ("audit --before 9223372036854775808", 64, "a number is one from 0 to 9223372036854775807"),
        ("downtime end 9223372036854775808", 64, "is no number of a downtime"),
        ("plan deploy prod", 64, "task `deploy` needs version=VALUE"),
        ("plan deploy prod version=x", 64, r"version=x does not match \d+\.\d+\.\d+"),
        ("plan deploy prod version=1.0.0 vesion=2", 64, "has no parameter `vesion`; did you mean `version`?"),
        (
            "plan deploy lb version=1.0.0",
            64,
            "task `deploy` works on `web`, and `lb` holds none of these hosts",
        ),
        (
            "plan deploy prod version=1.0.0 'hook=a\u{e0f0}'",
            64,
            "holds a character that rollcall keeps for itself",
        ),
        ("check prod", 64, "nothing is deployed yet, and only a deploy says what `version` is"),
        ("check prod root=/etc", 64, "`root` is no parameter of any task, and checks take no others"),
        ("check prod version=x", 64, r"version=x does not match \d+\.\d+\.\d+"),
        ("check prod nonesuch", 64, "no host of `prod` has a check or set of checks `nonesuch`"),
        ("hosts web[3-1]", 64, "it runs backwards"),
        ("hosts 'web:!web'", 64, "`web:!web` selects no host"),
        ("host accept prod SHA256:x", 64, "a fingerprint is of one host"),
        ("\u{1b}[2Jwhoami", 64, "no task or command is called `\\x1b[2Jwhoami`"),
    ];
    for (line, status, text) in table {
        let answer = site.ask(line).await.expect(*status);
        assert!(answer.err.contains(text), "{line}: {}", answer.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_keys_are_strict_and_recorded_by_fingerprint() {
    let site = Site::start(1).await;
    let known = site.dir.path().join("state/known_hosts");
    let good = read(&known);
    write(&known, "");
    let refused = site.ask("run web01 -- true").await.expect(4);
    assert!(refused.err.contains("host key: not known: it presents ssh-ed25519 SHA256:"), "{}", refused.err);
    let shown = site.ask("host accept web01").await.expect(0);
    let fingerprint = shown
        .out
        .split(' ')
        .find(|word| word.starts_with("SHA256:"))
        .unwrap()
        .trim_end_matches(':')
        .to_string();
    assert!(shown.out.contains(&format!("then: host accept web01 {fingerprint}")), "{}", shown.out);
    assert_eq!(read(&known), "", "showing records nothing");
    let wrong = site.ask("host accept web01 SHA256:nonsense").await.expect(2);
    assert!(wrong.err.contains("not SHA256:nonsense; nothing was recorded"), "{}", wrong.err);
    site.ask(&format!("host accept web01 {fingerprint}")).await.expect(0);
    site.ask("run web01 -- true").await.expect(0);
    assert!(good.contains(read(&known).trim()), "it is recorded as OpenSSH writes it");

    // Another key in its place is never taken, whatever is asked.
    let other = good.lines().last().unwrap().split(' ').skip(1).collect::<Vec<_>>().join(" ");
    let name = format!("[127.0.0.1]:{}", site.hosts[0].sshd.address.port());
    write(&known, &format!("{name} {other}\n"));
    site.hosts[0].sshd.cut();
    let changed = eventually_refused(&site).await;
    assert!(changed.err.contains("host key: CHANGED"), "{}", changed.err);
    let trusted = site.ask("host accept web01 --trust").await;
    assert!(trusted.out.contains("CHANGED"), "{trusted:?}");
    assert_eq!(read(&known), format!("{name} {other}\n"));
}

/// The pooled connection takes a moment to be noticed as cut.
async fn eventually_refused(site: &Site) -> Answer {
    let mut last = None;
    eventually("the host is refused", async || {
        let answer = site.ask("run web01 -- true").await;
        let refused = answer.status == 4;
        last = Some(answer);
        refused
    })
    .await;
    last.unwrap()
}
