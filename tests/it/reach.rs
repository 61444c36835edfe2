//! Reaching hosts in more than one hop, by more than one address, and when connections are few, idle or cut.

use std::path::Path;

use crate::support::relay::Relay;
use crate::support::site::{Answer, Site, answer_of};
use crate::support::sshd::{Listening, Sshd};
use crate::support::{eventually, give_to_account, read, write};

/// A host called `name` with a folder of its own.
async fn host(site: &Site, name: &str, more: &str) -> Sshd {
    let sshd = Sshd::start_with(&site.dir.path().join(name), &site.dir.path().join("fleet.pub"), more).await;
    trust(site, &sshd.known_hosts_line());
    sshd
}

fn trust(site: &Site, line: &str) {
    let known = site.dir.path().join("state/known_hosts");
    write(&known, &(read(&known) + line));
}

/// `name = { address, port, more }`
fn entry(name: &str, sshd: &Sshd, more: &str) -> String {
    format!("{name} = {{ address = \"127.0.0.1\", port = {}{more} }}\n", sshd.address.port())
}

async fn serve(site: &Site, inventory: &str) {
    write(&site.config.join("hosts/reach.toml"), inventory);
    site.ask("reload").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_behind_two_jump_hosts_share_one_connection_to_each() {
    let site = Site::start(1).await;
    let (outer, inner) = (host(&site, "outer", "").await, host(&site, "inner", "").await);
    let behind = [host(&site, "t1", "").await, host(&site, "t2", "").await, host(&site, "t3", "").await];
    let closed = host(&site, "closed", "AllowTcpForwarding no\n").await;
    let [t1, t2, t3] = &behind;
    let inventory = [
        "[jump.hosts]\n".to_string(),
        entry("outer", &outer, ""),
        entry("inner", &inner, ", via = \"outer\""),
        entry("closed", &closed, ", via = \"outer\""),
        "[behind]\nvia = \"inner\"\n[behind.hosts]\n".into(),
        entry("t1", t1, ""),
        entry("t2", t2, ""),
        "[listed.hosts]\n".into(),
        entry("t3", t3, ", via = \"outer,inner\""),
        entry("t4", t3, ", via = \"outer,closed\""),
    ];
    serve(&site, &inventory.concat()).await;
    let answer = site.ask("run behind,t3,inner -- echo arrived").await.expect(0);
    assert_eq!(answer.out.matches("arrived").count(), 4, "{answer:#?}");
    for (name, sshd) in [("outer", &outer), ("inner", &inner), ("t1", t1), ("t2", t2), ("t3", t3)] {
        assert_eq!(sshd.accepted(), 1, "connections to {name}");
    }
    // The hop that failed is named.
    let refused = site.ask("run t4 -- true").await.expect(4);
    assert!(refused.err.contains("dial: from closed: its sshd does not forward"), "{refused:#?}");
    t3.kill();
    eventually("the host is gone", async || site.ask("run t3 -- true").await.status == 4).await;
    let gone = site.ask("run t3 -- true").await.expect(4);
    assert!(gone.err.contains("dial: from inner: no process accepts connections on 127.0.0.1:"), "{gone:#?}");
    outer.kill();
    eventually("the way is gone", async || site.ask("run t1 -- true").await.status == 4).await;
    let gone = site.ask("run t2 -- true").await.expect(4);
    assert!(gone.err.contains("via inner: via outer: cannot connect to outer (127.0.0.1:"), "{gone:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_that_was_cut_is_connected_anew_for_the_hosts_behind_it() {
    let mut site = Site::without_daemon(1).await;
    // More hosts than handshakes at a time: none may wait for a permit that another one holds while it waits for the jump host.
    with_fleet(&mut site, "parallel = 2").await;
    let (jump, target) = (host(&site, "jump", "").await, host(&site, "target", "").await);
    let mut inventory = format!("[a.hosts]\n{}[behind.hosts]\n", entry("jump", &jump, ""));
    (1..=8).for_each(|n| inventory += &entry(&format!("target{n}"), &target, ", via = \"jump\""));
    serve(&site, &inventory).await;
    for _ in 0..5 {
        site.ask("run behind -- true").await.expect(0);
        jump.cut();
    }
}

/// Those who connect through a dead jump host hold no permit while they wait for the new connection to it, which needs one.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_behind_a_jump_host_whose_network_is_cut_do_not_wait_for_each_other() {
    let mut site = Site::without_daemon(1).await;
    let settings = site.config.join("rollcall.toml");
    write(&settings, &read(&settings).replace("connect_timeout = \"5s\"", "connect_timeout = \"2s\""));
    with_fleet(&mut site, "parallel = 2").await;
    let (jump, target) = (host(&site, "jump", "").await, host(&site, "target", "").await);
    let relay = Relay::start("127.0.0.1", jump.address).await;
    let port = relay.address.port();
    trust(&site, &jump.known_hosts_line().replace(&jump.address.port().to_string(), &port.to_string()));
    let mut inventory =
        format!("[a.hosts]\njump = {{ address = \"127.0.0.1\", port = {port} }}\n[behind.hosts]\n");
    (1..=6).for_each(|n| inventory += &entry(&format!("target{n}"), &target, ", via = \"jump\""));
    serve(&site, &inventory).await;
    site.ask("run jump -- true").await.expect(0);
    relay.pull();
    let cut = site.ask("run behind -- true").await.expect(4);
    assert!(cut.err.contains("via jump: "), "{cut:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_tried_in_turn_and_the_error_has_the_reason_of_each() {
    let site = Site::start(1).await;
    let (two, six) = (host(&site, "two", "").await, host(&site, "six", "").await);
    let relay = Relay::start("::1", six.address).await;
    let (port, six_port) = (two.address.port(), relay.address.port());
    let inventory = format!(
        "[a.hosts]\ntwo = {{ address = [\"127.0.0.9\", \"127.0.0.1\"], port = {port} }}\n\
         six = {{ address = \"[::1]\", port = {six_port} }}\n\
         none = {{ address = [\"127.0.0.9\", \"::1\"], port = {port} }}\n\
         hop = {{ address = [\"127.0.0.8\", \"127.0.0.1\"], port = {port}, via = \"lb1\" }}\n"
    );
    serve(&site, &inventory).await;
    // The key belongs to the first address, whichever one connects.
    let stranger = site.ask("run two -- true").await.expect(4);
    assert!(stranger.err.contains(&format!("(127.0.0.9:{port}), host key: not known")), "{stranger:#?}");
    for name in ["two", "six", "hop"] {
        let set = site.ask(&format!("host accept {name}")).await;
        let text = set.out.clone() + &set.err;
        let at = text.find("SHA256:").unwrap_or_else(|| panic!("no fingerprint: {set:#?}"));
        let fingerprint =
            text[at..].split_whitespace().next().unwrap().trim_end_matches([':', ';', ',', ')']);
        site.ask(&format!("host accept {name} {fingerprint}")).await.expect(0);
        site.ask(&format!("run {name} -- true")).await.expect(0);
    }
    let known = read(&site.dir.path().join("state/known_hosts"));
    for line in [format!("[127.0.0.9]:{port} "), format!("[::1]:{six_port} "), format!("[127.0.0.8]:{port} ")]
    {
        assert!(known.contains(&line), "{line}: {known}");
    }
    let hosts = site.ask("hosts six").await.expect(0);
    assert!(hosts.out.contains(&format!("@[::1]:{six_port}")), "{hosts:#?}");
    let none = site.ask("run none -- true").await.expect(4);
    assert!(
        none.err.contains("dial: 127.0.0.9: Connection refused (os error 111); ::1: Connection refused"),
        "{none:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_behind_an_sshd_that_takes_two_handshakes_at_a_time_all_arrive() {
    let site = Site::start(1).await;
    let dir = site.dir.path().join("few");
    let few = Listening::start(&dir, &site.dir.path().join("fleet.pub"), "MaxStartups 2:100:2\n").await;
    let at = |more: &str| {
        format!("{{ address = \"{}\", port = {}{more} }}\n", few.address.ip(), few.address.port())
    };
    trust(&site, &few.known_hosts_line());
    let target = host(&site, "target", "").await;
    let mut inventory = format!("[jump.hosts]\nfew = {}[same.hosts]\n", at(""));
    (1..=12).for_each(|number| inventory += &format!("same{number} = {}", at("")));
    inventory += "[behind.hosts]\n";
    (1..=12).for_each(|number| inventory += &entry(&format!("behind{number}"), &target, ", via = \"few\""));
    serve(&site, &inventory).await;
    let answer = site.ask("run same,behind -- echo arrived").await.expect(0);
    assert_eq!(answer.out.matches("arrived").count(), 24, "{answer:#?}");
    // Each fetch of a key and each diagnosis is a handshake of its own.
    site.ask("host accept same,behind").await.expect(0);
    let examined = site.ask("doctor same").await;
    assert!(!examined.out.contains("hung up"), "{examined:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_always_disconnects_before_its_greeting_is_reported_with_what_to_do() {
    let site = Site::start(1).await;
    write(&site.hosts[0].dir.join("no-entry"), "");
    let answer = site.ask("run web01 -- true").await.expect(4);
    assert!(
        answer.err.contains("handshake: the host disconnected before it identified itself"),
        "{answer:#?}"
    );
    assert!(answer.err.contains("in 6 attempts") && answer.err.contains("MaxStartups"), "{answer:#?}");
}

async fn with_fleet(site: &mut Site, line: &str) {
    let path = site.config.join("rollcall.toml");
    write(&path, &(read(&path) + line + "\n"));
    site.start_daemon().await;
}

/// A command on a host that is under way as long as the file `begun` is in the folder.
fn until_gone(folder: &Path) -> String {
    let begun = folder.join("begun");
    let begun = begun.display();
    format!("touch {begun}; while [ -e {begun} ]; do sleep 0.05; done")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_network_is_cut_is_lost_and_its_step_is_unknown() {
    let mut site = Site::without_daemon(1).await;
    let cut = host(&site, "cut", "").await;
    give_to_account(&cut.dir);
    let relay = Relay::start("127.0.0.1", cut.address).await;
    let line =
        cut.known_hosts_line().replace(&cut.address.port().to_string(), &relay.address.port().to_string());
    trust(&site, &line);
    let text = format!("[a.hosts]\ncut = {{ address = \"127.0.0.1\", port = {} }}\n", relay.address.port());
    write(&site.config.join("hosts/reach.toml"), &text);
    let task = format!("[[steps]]\nname = \"keep\"\nrun = \"{}\"\ntimeout = \"5s\"\n", until_gone(&cut.dir));
    write(&site.config.join("tasks/keep.toml"), &task);
    with_fleet(&mut site, "keepalive = \"250ms\"").await;
    let holding = tokio::spawn(answer_of(site.ssh("ann", "keep cut")));
    // Nothing but the keepalives ends this one: it may take ten minutes.
    let other = cut.dir.join("other");
    std::fs::create_dir(&other).unwrap();
    give_to_account(&other);
    let typed = tokio::spawn(answer_of(site.ssh("ann", &format!("run cut -- {}", until_gone(&other)))));
    for folder in [&cut.dir, &other] {
        eventually("it is under way", async || folder.join("begun").exists()).await;
    }
    relay.pull();
    let answer: Answer = typed.await.unwrap();
    std::fs::remove_file(other.join("begun")).unwrap();
    assert!(
        answer.status != 0 && format!("{answer:?}").contains("the host stopped answering"),
        "{answer:#?}"
    );
    let answer: Answer = holding.await.unwrap();
    std::fs::remove_file(cut.dir.join("begun")).unwrap();
    let text = format!("{answer:#?}");
    assert_eq!(answer.status, 3, "{text}");
    assert!(answer.out.contains("keep: UNKNOWN: contact lost"), "{text}");
    assert!(!text.contains("FAILED"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_and_those_in_use_are_not() {
    let mut site = Site::without_daemon(2).await;
    let (busy, jump) = (host(&site, "busy", "").await, host(&site, "jump", "").await);
    give_to_account(&busy.dir);
    let inventory = ["[a.hosts]\n", &entry("jump", &jump, ""), &entry("busy", &busy, ", via = \"jump\"")];
    write(&site.config.join("hosts/reach.toml"), &inventory.concat());
    with_fleet(&mut site, "idle_timeout = \"200ms\"").await;
    let line = format!("run busy -- {}", until_gone(&busy.dir));
    let running = tokio::spawn(answer_of(site.ssh("ann", &line)));
    eventually("it is under way", async || busy.dir.join("begun").exists()).await;
    for round in 1..=3 {
        site.ask("run web01 -- true").await.expect(0);
        assert_eq!(site.hosts[0].sshd.accepted(), round);
        eventually("an idle connection is closed", async || site.hosts[0].sshd.connections() == 0).await;
    }
    assert_eq!((busy.connections(), jump.connections()), (1, 1));
    std::fs::remove_file(busy.dir.join("begun")).unwrap();
    running.await.unwrap().expect(0);
    eventually("all are closed", async || busy.connections() + jump.connections() == 0).await;
    site.ask("run busy -- true").await.expect(0);
}

/// An agent with these keys. It ends when it is dropped.
struct Agent {
    socket: std::path::PathBuf,
    child: std::process::Child,
}

impl Agent {
    async fn start(socket: std::path::PathBuf, keys: &[std::path::PathBuf]) -> Agent {
        let mut command = std::process::Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdout(std::process::Stdio::null());
        let agent = Agent { child: command.spawn().unwrap(), socket };
        eventually("the agent listens", async || agent.socket.exists()).await;
        let mut add = std::process::Command::new("ssh-add");
        assert!(add.arg("-q").args(keys).env("SSH_AUTH_SOCK", &agent.socket).status().unwrap().success());
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_log_in_with_keys_of_their_own_and_agents_with_the_one_that_is_named() {
    let mut site = Site::without_daemon(1).await;
    let at = |name: &str| site.dir.path().join(name);
    // sshd disconnects after six keys: the right one is the eighth.
    let mut keys: Vec<_> = (0..7).map(|number| at(&format!("other{number}"))).collect();
    keys.iter().for_each(|key| crate::support::keygen(key, "other"));
    crate::support::keygen(&at("second"), "second");
    keys.push(at("second"));
    let agent = Agent::start(at("agent.sock"), &keys).await;
    let own = Sshd::start(&at("own"), &at("second.pub")).await;
    trust(&site, &own.known_hosts_line());
    let port = own.address.port();
    let inventory = format!(
        "[own]\nkey = \"second\"\n[own.hosts]\n\
         file = {{ address = \"127.0.0.1\", port = {port} }}\n\
         agent = {{ address = \"127.0.0.1\", port = {port}, key = \"pinned\" }}\n\
         gone = {{ address = \"127.0.0.1\", port = {port}, key = \"missing\" }}\n\
         [other.hosts]\nother = {{ address = \"127.0.0.1\", port = {port} }}\n"
    );
    write(&site.config.join("hosts/reach.toml"), &inventory);
    let dir = site.dir.path().display().to_string();
    crate::support::keygen(&at("absent"), "absent");
    let line = format!(
        "agent = \"{}\"\nkeys = {{ second = \"{dir}/second\", pinned = \"{dir}/second.pub\", missing = \"{dir}/absent.pub\" }}",
        agent.socket.display()
    );
    let named = format!("identity = [\"{dir}/fleet\"");
    let path = site.config.join("rollcall.toml");
    write(&path, &read(&path).replace(&named, &format!("{named}, \"{dir}/other3.pub\"")));
    with_fleet(&mut site, &line).await;
    site.ask("run file,agent -- true").await.expect(0);
    let other = site.ask("run other -- true").await.expect(4);
    assert!(other.err.contains("keys: 2 offered, none accepted"), "{other:#?}");
    let gone = site.ask("run gone -- true").await.expect(4);
    assert!(
        gone.err.contains("it does not hold the key SHA256:") && gone.err.contains("try: ssh-add"),
        "{gone:#?}"
    );
    // A name that the configuration lacks is a mistake where it is written.
    write(&site.config.join("hosts/reach.toml"), &inventory.replace("\"pinned\"", "\"pined\""));
    let wrong = site.ask("reload").await;
    assert!(
        wrong.status != 0 && wrong.err.contains("no key of [fleet.keys] is called `pined`"),
        "{wrong:#?}"
    );
}
