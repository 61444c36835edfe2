//! Reaching hosts, on real sshds: jump hosts, agents, every phase that can fail, what is run and uploaded.

use std::process::{Command, Stdio};

use tokio::net::TcpListener;

use crate::support::site::Site;
use crate::support::{eventually, read, write};

/// Replaces text in a file of the configuration and has it read again.
async fn edit(site: &Site, file: &str, from: &str, to: &str) {
    let path = site.config.join(file);
    let text = read(&path);
    assert!(text.contains(from), "{from} is not in {text}");
    write(&path, &text.replace(from, to));
    site.ask("reload").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_reached_through_its_jump_host() {
    let site = Site::start(2).await;
    edit(&site, "hosts/prod.toml", "[web]\n", "[web]\nvia = \"lb1\"\n").await;
    let answer = site.ask("run web01 -- echo through: $SSH_CLIENT").await.expect(0);
    assert!(answer.out.starts_with("through: 127.0.0.1 "), "{}", answer.out);
    // Probes look from the host behind it, too.
    site.ask("check web01 listens version=1.0.0").await.expect(0);
    // Without the jump host there is no way around it.
    site.lb.kill();
    eventually("the host is gone with its jump host", async || {
        site.ask("run web01 -- true").await.status == 4
    })
    .await;
    let gone = site.ask("run web02 -- true").await.expect(4);
    assert!(gone.err.contains("via lb1: cannot connect to lb1 (127.0.0.1:"), "{}", gone.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_can_hold_the_key() {
    let site = Site::without_daemon(1).await;
    let socket = site.dir.path().join("agent.sock");
    let mut agent =
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    eventually("the agent listens", async || socket.exists()).await;
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(site.dir.path().join("fleet"))
        .env("SSH_AUTH_SOCK", &socket)
        .status();
    assert!(added.unwrap().success());
    let path = site.config.join("rollcall.toml");
    let identity = format!("identity = [\"{}/fleet\"]", site.dir.path().display());
    write(&path, &read(&path).replace(&identity, &format!("agent = \"{}\"", socket.display())));
    let mut site = site;
    site.daemon = Some(rollcall::daemon::Daemon::start(&site.config).await.unwrap());
    site.ask("run web01 -- true").await.expect(0);
    agent.kill().unwrap();
    agent.wait().unwrap();
    site.hosts[0].sshd.cut();
    eventually("the agent is missed", async || {
        let answer = site.ask("run web01 -- true").await;
        answer.status == 4 && answer.err.contains("authentication: agent ")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_phase_of_connecting_fails_by_its_name() {
    let site = Site::start(1).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hosts = site.config.join("hosts/odd.toml");
    let silent_port = silent.local_addr().unwrap().port();
    let refused_port = {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        closed.local_addr().unwrap().port()
    };
    let web = &site.hosts[0].sshd.address.port().to_string();
    let text = format!(
        "[odd.hosts]\nsilent = {{ address = \"127.0.0.1\", port = {silent_port} }}\n\
         refused = {{ address = \"127.0.0.1\", port = {refused_port} }}\n\
         nowhere = {{ address = \"no-such-name.invalid\" }}\n\
         stranger = {{ address = \"127.0.0.1\", port = {web}, login = \"nobody-here\" }}\n"
    );
    write(&hosts, &text);
    site.ask("reload").await.expect(0);
    for (host, phase) in [
        ("silent", "handshake: no answer within 5s; is it an SSH server that is alive?"),
        ("refused", "dial: Connection refused"),
        ("nowhere", "(no-such-name.invalid:22), dial: "),
        ("stranger", "authentication: keys: 1 offered, none accepted for login `nobody-here`"),
    ] {
        let answer = site.ask(&format!("run {host} -- true")).await.expect(4);
        assert!(answer.err.contains(&format!("cannot connect to {host} (")), "{}", answer.err);
        assert!(answer.err.contains(phase), "{host}: {}", answer.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_others_can_read_are_refused_at_start() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::without_daemon(1).await;
    let key = site.dir.path().join("fleet");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let start = async || rollcall::daemon::Daemon::start(&site.config).await.map(drop).unwrap_err();
    let error = start().await;
    assert!(error.contains("others can read it; try: chmod 600"), "{error}");
    std::fs::remove_file(&key).unwrap();
    std::fs::remove_file(site.dir.path().join("fleet.pub")).unwrap();
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let error = start().await;
    assert!(error.contains("it has a passphrase; try: an agent ([fleet] agent)"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_through_a_host_that_does_not_forward_is_unknown() {
    let site = Site::start(1).await;
    let dir = site.dir.path().join("tight");
    let tight = crate::support::sshd::Sshd::start_with(
        &dir,
        &site.dir.path().join("fleet.pub"),
        "AllowTcpForwarding no\n",
    )
    .await;
    let known = site.dir.path().join("state/known_hosts");
    write(&known, &(read(&known) + &tight.known_hosts_line()));
    let port = tight.address.port();
    let text = format!(
        "[tight]\nchecks = [\"http\"]\n[tight.hosts]\ntight1 = {{ address = \"127.0.0.1\", port = {port}, root = \"/tmp\", app_port = 80 }}\n"
    );
    write(&site.config.join("hosts/tight.toml"), &text);
    site.ask("reload").await.expect(0);
    let answer = site.ask("check tight listens version=1.0.0").await.expect(3);
    assert!(
        answer.out.starts_with(
            "unknown  tight1  http/listens: its sshd does not forward; try: AllowTcpForwarding yes\n"
        ),
        "{}",
        answer.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_too_long_is_ended_on_the_host() {
    let site = Site::start(1).await;
    let task = "[[steps]]\nname = \"slow\"\nrun = \"root={{ root }}; trap 'touch $root/got-term; exit 1' TERM; touch $root/begun; while :; do sleep 0.05; done\"\ntimeout = \"1s\"\n";
    write(&site.config.join("tasks/slow.toml"), task);
    site.ask("reload").await.expect(0);
    let answer = site.ask("slow web01").await.expect(2);
    assert!(
        answer.out.contains("web01 | slow: FAILED: took longer than 1.0s and was ended"),
        "{}",
        answer.out
    );
    assert!(site.hosts[0].dir.join("got-term").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_arrive_whole_once_and_with_their_mode() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::start(2).await;
    let big: String = (0..600_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    write(&site.config.join("files/big.txt"), &big);
    let task = "[[steps]]\nname = \"send\"\nupload = { from = \"big.txt\", to = \"{{ root }}/deep/er/big.txt\", mode = \"0750\" }\n";
    write(&site.config.join("tasks/send.toml"), task);
    site.ask("reload").await.expect(0);
    let first = site.ask("send prod.web").await.expect(0);
    assert!(first.out.contains("web01 | send: ok"), "{}", first.out);
    for host in &site.hosts {
        let path = host.dir.join("deep/er/big.txt");
        assert_eq!(read(&path), big);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o750);
    }
    let second = site.ask("send prod.web").await.expect(0);
    assert!(second.out.contains("web01 | send: unchanged"), "{}", second.out);
    // The plan froze the content: a file that changes under a run is not sent.
    let gone = site.config.join("files/big.txt");
    std::fs::remove_file(&gone).unwrap();
    let missing = site.ask("send prod.web").await.expect(64);
    assert!(missing.err.contains("files/big.txt"), "{}", missing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn guards_retries_and_warnings_of_steps_work_on_a_host() {
    let site = Site::start(1).await;
    let task = r#"
[[steps]]
name = "guarded by a file"
run = "exit 1"
creates = "{{ root }}/current"
[[steps]]
name = "guarded by a command"
run = "exit 1"
unless = "test -d {{ root }}"
[[steps]]
name = "soft"
run = "echo never mind >&2; exit 4"
warn_only = true
[[steps]]
name = "third time lucky"
run = "echo x >>{{ root }}/tries; test $(wc -l <{{ root }}/tries) -ge 3"
retries = 2
delay = "10ms"
[[steps]]
name = "with its surroundings"
run = "printf '%s|%s' \"$PWD\" \"$WORDS\" >seen"
in = "{{ root }}"
env = { WORDS = "it's $HOME" }
"#;
    write(&site.config.join("tasks/odds.toml"), task);
    site.ask("reload").await.expect(0);
    let answer = site.ask("odds web01").await.expect(0);
    assert!(answer.out.contains("web01 | guarded by a file: unchanged"), "{}", answer.out);
    assert!(answer.out.contains("web01 | guarded by a command: unchanged"), "{}", answer.out);
    assert!(answer.out.contains("web01 | soft: FAILED: exit status 4: never mind"), "{}", answer.out);
    assert!(answer.out.contains("web01 | third time lucky (attempt 3): ok"), "{}", answer.out);
    let root = &site.hosts[0].dir;
    assert_eq!(read(&root.join("seen")), format!("{}|it's $HOME", root.display()));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_answers_are_folded_and_others_stand_apart() {
    let site = Site::start(4).await;
    write(&site.hosts[2].dir.join("odd"), "");
    let task = "run web -b -- [ -e {{ x }} ] || true; if ls /proc/self/cwd >/dev/null; then echo same; fi";
    let answer = site.ask(&task.replace("{{ x }}", "/nonexistent")).await.expect(0);
    assert_eq!(answer.out, "---------------\nweb[01-04] (4)\n---------------\n  same\n");
    site.hosts[3].sshd.kill();
    eventually("web04 is gone", async || {
        let answer = site.ask("run web --fold -- echo same").await;
        answer.out.contains("web[01-03] (3)") && answer.out.contains("web04: step `command` did not start")
    })
    .await;
}

/// A host `odd1` whose sshd has further lines; what a command on it answers.
async fn with_sshd(site: &Site, more: &str) -> (crate::support::sshd::Sshd, String) {
    let sshd = crate::support::sshd::Sshd::start_with(
        &site.dir.path().join("odd1"),
        &site.dir.path().join("fleet.pub"),
        more,
    )
    .await;
    let known = site.dir.path().join("state/known_hosts");
    write(&known, &(read(&known) + &sshd.known_hosts_line()));
    let port = sshd.address.port();
    let text = format!("[odd.hosts]\nodd1 = {{ address = \"127.0.0.1\", port = {port} }}\n");
    write(&site.config.join("hosts/odd.toml"), &text);
    site.ask("reload").await.expect(0);
    (sshd, site.ask("run odd1 -- true").await.expect(4).err)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_wants_a_second_factor_is_reported_with_what_to_do() {
    let site = Site::start(1).await;
    let more = "PasswordAuthentication yes\nAuthenticationMethods publickey,password\n";
    let (_sshd, out) = with_sshd(&site, more).await;
    assert!(out.contains("the key is right, and the host wants a second factor as well (password)"), "{out}");
    assert!(out.contains("try: `AuthenticationMethods publickey` for this login"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_disconnects_after_too_many_keys_is_reported_with_what_to_do() {
    let mut site = Site::without_daemon(1).await;
    let other = site.dir.path().join("other");
    crate::support::keygen(&other, "other");
    let path = site.config.join("rollcall.toml");
    let own = format!("identity = [\"{}/fleet\"]", site.dir.path().display());
    let two = own.replace("[", &format!("[\"{}\", ", other.display()));
    write(&path, &read(&path).replace(&own, &two));
    site.start_daemon().await;
    let (_sshd, out) = with_sshd(&site, "MaxAuthTries 1\n").await;
    assert!(out.contains("the host disconnected after 1 keys, and accepted none"), "{out}");
    assert!(out.contains("try: fewer keys, or the right one first, in [fleet] identity"), "{out}");
}
