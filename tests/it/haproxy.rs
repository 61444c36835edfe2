//! HAProxy: the driver over real sshd on a real HAProxy, and a release behind it.

use std::sync::Arc;
use std::time::Duration;

use rollcall::balancer::Balancers;
use rollcall::domain::inventory::inventory::{Balancer, Driver, Haproxy as Settings, OnDrainTimeout, Socket};
use rollcall::domain::inventory::rotation::{BalancerView, Floor, Rotation};
use rollcall::domain::run::event::Change;
use rollcall::port::BalancerDriver;
use tokio::task::JoinHandle;

use crate::support::app::App;
use crate::support::fleet::{done, endpoint, fleet, members, refused, within};
use crate::support::haproxy::Haproxy;
use crate::support::site::Site;
use crate::support::sshd::Sshd;
use crate::support::traffic::{Traffic, get, get_path};
use crate::support::{DEADLINE, eventually, folder, keygen, write};

/// A check that notices within seconds, and says so soon.
const CHECK: &str = "check inter 500 fall 3 rise 2";

/// Where every balancer host has its socket, as if each had a disk of its own.
const ADMIN: &str = "/@/admin.sock";

/// Applications behind HAProxies, each of which has an sshd; and the drivers.
struct World {
    apps: Vec<App>,
    proxies: Vec<Haproxy>,
    sshds: Vec<Sshd>,
    drivers: Arc<Balancers>,
    balancer: Balancer,
    // Dropped last: everything above lives in it.
    _dir: tempfile::TempDir,
}

impl World {
    /// So many applications behind one HAProxy, with `check` on their lines.
    async fn start(apps: usize, check: &str) -> World {
        World::with(apps, check, 1, "").await
    }

    /// The same with several HAProxies, and further lines for the configuration of their sshds.
    async fn with(apps: usize, check: &str, proxies: usize, sshd: &str) -> World {
        let dir = folder();
        let at = |name: &str| dir.path().join(name);
        keygen(&at("fleet"), "rollcall");
        let mut world = World {
            apps: Vec::new(),
            proxies: Vec::new(),
            sshds: Vec::new(),
            drivers: Arc::new(Balancers::new(fleet(dir.path()))),
            balancer: balancer(),
            _dir: dir,
        };
        for number in 1..=apps {
            world.apps.push(App::start(&format!("web{number:02}")).await);
        }
        let servers: Vec<String> =
            world.apps.iter().map(|app| format!("{} {} {check}", app.name, app.address)).collect();
        for number in 1..=proxies {
            let dir = world._dir.path().join(format!("lb{number}"));
            world.proxies.push(Haproxy::start(&dir, &servers).await);
            world.sshds.push(Sshd::start_with(&dir, &world._dir.path().join("fleet.pub"), sshd).await);
        }
        world.know_hosts();
        for proxy in &world.proxies {
            for app in &world.apps {
                let up = if check.is_empty() { "no check" } else { "UP" };
                proxy.until(&app.name, up).await;
            }
        }
        world
    }

    fn know_hosts(&mut self) {
        let known: String = self.sshds.iter().map(Sshd::known_hosts_line).collect();
        write(&self._dir.path().join("known_hosts"), &known);
        let numbered = (1..).zip(&self.sshds);
        self.balancer.on = numbered.map(|(number, sshd)| endpoint(&format!("lb{number}"), sshd)).collect();
    }

    fn proxy(&self) -> &Haproxy {
        &self.proxies[0]
    }

    fn settings(&mut self) -> &mut Settings {
        match &mut self.balancer.driver {
            Driver::Haproxy(settings) => settings,
            other => panic!("{other:?}"),
        }
    }

    async fn inspect(&self, names: &[&str]) -> BalancerView {
        self.drivers.inspect(&self.balancer, &members(names, false)).await.expect("an inspection")
    }

    async fn drain(&self, names: &[&str]) -> Change {
        within(self.drivers.drain(&self.balancer, &members(names, false))).await
    }

    async fn enable(&self, names: &[&str]) -> Change {
        within(self.drivers.enable(&self.balancer, &members(names, true))).await
    }

    /// A drain that goes on beside the test.
    fn draining(&self, names: &[&str]) -> JoinHandle<Change> {
        let (drivers, balancer, members) =
            (self.drivers.clone(), self.balancer.clone(), members(names, false));
        tokio::spawn(async move { drivers.drain(&balancer, &members).await })
    }

    /// Requests that are held, one on each application.
    async fn hold(&self) -> Vec<JoinHandle<std::io::Result<String>>> {
        let front = self.proxy().front();
        let mut held = Vec::new();
        for at in 0..self.apps.len() {
            let front = front.clone();
            held.push(tokio::spawn(async move { get_path(&front, "/held").await }));
            let sum = || self.apps.iter().map(App::held).sum::<u64>();
            eventually("the request is in flight", async || sum() == at as u64 + 1).await;
        }
        assert!(self.apps.iter().all(|app| app.held() == 1), "one on each");
        held
    }

    fn release(&self) {
        self.apps.iter().for_each(App::release);
    }
}

fn balancer() -> Balancer {
    let socket = Socket::Unix(ADMIN.into());
    Balancer {
        name: "web".into(),
        on: vec![],
        server: "{{ host.short }}".into(),
        driver: Driver::Haproxy(Settings { socket, backends: vec!["app".into()], sudo: false }),
        drain_timeout: Duration::from_secs(50),
        on_drain_timeout: OnDrainTimeout::Continue,
        enable_timeout: Duration::from_secs(50),
        min_in_service: None,
        members: Default::default(),
        further: vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_never_cut_by_a_drain() {
    let world = World::start(2, CHECK).await;
    let mut held = world.hold().await;
    let draining = world.draining(&["web01"]);
    world.proxy().until("web01", "DRAIN").await;
    // New requests go to the other one, and the drain waits for the old one.
    for _ in 0..20 {
        let answer = get(&world.proxy().front()).await.unwrap();
        assert!(answer.ends_with("web02 is done\n"), "{answer}");
    }
    let seen = world.inspect(&["web01"]).await;
    assert_eq!(seen.hosts["web01"].note, "DRAIN (L7OK), 1 in flight");
    assert!(!draining.is_finished(), "it waits for as long as a request is in flight");
    world.release();
    assert_eq!(done(within(draining).await.unwrap()), "");
    let answer = held.remove(0).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("web01 is done\n"), "{answer}");
    // Drained by us already: it is so still, and nobody else's.
    let again = within(world.drivers.drain(&world.balancer, &members(&["web01"], true))).await;
    assert_eq!(done(again), "");
    assert_eq!(done(world.enable(&["web01"]).await), "");
    assert_eq!(world.proxy().status("web01").await, "UP");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_application_gets_no_request_after_enable() {
    let mut world = World::start(2, "check inter 3s fall 3 rise 1").await;
    assert_eq!(done(world.drain(&["web01"]).await), "");
    // It dies right after a look at it: for three seconds HAProxy believes that it lives.
    let looks = world.apps[0].connections();
    eventually("the next check", async || world.apps[0].connections() > looks).await;
    world.apps[0].stop().await;
    assert_eq!(world.proxy().status("web01").await, "DRAIN");
    let traffic = Traffic::start(&world.proxy().front());
    world.balancer.enable_timeout = Duration::from_secs(2);
    let why = refused(world.enable(&["web01"]).await);
    assert!(why.contains("lb1: `web01` is DOWN (") && why.ends_with("after 2s (enable_timeout)"), "{why}");
    assert_eq!(world.inspect(&["web01"]).await.rotation(&"web01".into()), Rotation::Out);
    // Once it lives it is put back, and gets its share.
    world.apps[0].start_again().await;
    world.balancer.enable_timeout = DEADLINE;
    assert_eq!(done(world.enable(&["web01"]).await), "");
    eventually("it answers", async || {
        get(&world.proxy().front()).await.is_ok_and(|answer| answer.contains("web01"))
    })
    .await;
    let (sent, failures) = traffic.stop().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_one_of_two_is_not_up() {
    let mut world = World::start(2, "").await;
    // It looks once an hour: what it says after maintenance stays a guess.
    let servers = [
        format!("web01 {} check inter 1h fall 2 rise 2", world.apps[0].address),
        format!("web02 {}", world.apps[1].address),
    ];
    world.proxies[0] = Haproxy::start(&world.proxies[0].dir.clone(), &servers).await;
    world.proxy().tell("set server app/web01 state maint").await;
    world.proxy().tell("set server app/web01 state ready").await;
    world.proxy().until("web01", "UP 1/2").await;
    let view = world.inspect(&["web01", "web02"]).await;
    assert_eq!((view.rotation(&"web01".into()), view.serving, view.total), (Rotation::Down, 1, 2));
    assert!(view.hosts["web01"].note.starts_with("UP 1/2 ("), "{view:?}");
    // Not up within the time: it goes out, so that nobody is sent there.
    world.balancer.enable_timeout = Duration::from_millis(300);
    let why = refused(world.enable(&["web01"]).await);
    assert!(why.contains("`web01` is UP 1/2 (") && why.ends_with("after 300ms (enable_timeout)"), "{why}");
    assert_eq!(world.inspect(&["web01"]).await.rotation(&"web01".into()), Rotation::Out);
    // It is no capacity either: the other one is the last that serves.
    match world.drain(&["web02"]).await {
        Change::Done { kept, note, .. } => {
            assert_eq!(kept, ["web02".into()]);
            assert_eq!(note, "1 of 2 must stay in service, 1 are");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.proxy().status("web02").await, "no check");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_took_out_is_left_so() {
    let world = World::start(4, "").await;
    world.proxy().tell("set server app/web01 state maint").await;
    world.proxy().tell("set server app/web02 state drain").await;
    let view = world.inspect(&["web01", "web02", "web03"]).await;
    let note = |host: &str| view.hosts[host].note.as_str();
    assert_eq!([note("web01"), note("web02"), note("web03")], ["MAINT", "DRAIN", "no check"]);
    match world.drain(&["web01", "web02", "web03"]).await {
        Change::Done { foreign, kept, .. } => {
            assert_eq!((foreign, kept), (vec!["web01".into(), "web02".into()], vec![]));
        }
        other => panic!("{other:?}"),
    }
    // Going back, a maintenance that somebody began meanwhile is theirs to end.
    world.proxy().tell("set server app/web03 state maint").await;
    match world.enable(&["web03", "web04"]).await {
        Change::Done { foreign, .. } => assert_eq!(foreign, ["web03".into()]),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.proxy().status("web01").await, "MAINT");
    assert_eq!(world.proxy().status("web02").await, "DRAIN");
    assert_eq!(world.proxy().status("web03").await, "MAINT");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floor_is_counted_on_what_haproxy_sees() {
    let mut world = World::start(5, "").await;
    // Of five servers three have to stay (60%), and somebody else has one out: one may go.
    world.balancer.min_in_service = Some(Floor::Percent(60));
    world.proxy().tell("set server app/web05 state drain").await;
    match world.drain(&["web01", "web02", "web03"]).await {
        Change::Done { kept, note, .. } => {
            assert_eq!(kept, ["web02".into(), "web03".into()]);
            assert_eq!(note, "3 of 5 must stay in service, 4 are");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.proxy().status("web01").await, "DRAIN");
    assert_eq!(world.proxy().status("web02").await, "no check");
    // Without a floor the last one stays all the same.
    world.balancer.min_in_service = None;
    match world.drain(&["web02", "web03", "web04"]).await {
        Change::Done { kept, .. } => assert_eq!(kept, ["web04".into()]),
        other => panic!("{other:?}"),
    }
    // Unless somebody wants it so.
    world.balancer.min_in_service = Some(Floor::Servers(0));
    assert_eq!(done(world.drain(&["web04"]).await), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_haproxies_are_told_as_one() {
    let world = World::with(3, "", 2, "").await;
    assert_eq!(done(world.drain(&["web01"]).await), "");
    for proxy in &world.proxies {
        assert_eq!(proxy.status("web01").await, "DRAIN");
    }
    assert_eq!(done(world.enable(&["web01"]).await), "");
    for proxy in &world.proxies {
        assert_eq!(proxy.status("web01").await, "no check");
    }

    // They disagree, by somebody else's doing: nobody could tell that drain from ours afterwards.
    world.proxies[1].tell("set server app/web02 state drain").await;
    let view = world.inspect(&["web02"]).await;
    assert_eq!(view.rotation(&"web02".into()), Rotation::Mixed);
    assert_eq!(view.hosts["web02"].note, "lb1: in, no check; lb2: out, DRAIN");
    let why = refused(world.drain(&["web01", "web02"]).await);
    let wanted = "web02 is taken out on lb2 by another process, and not on lb1; try: make them agree";
    assert_eq!(why, wanted);
    assert_eq!(world.proxies[0].status("web01").await, "no check");
    world.proxies[1].tell("set server app/web02 state ready").await;

    // The one with the fewest servers left counts.
    world.proxies[1].tell("set server app/web03 state maint").await;
    match world.drain(&["web01", "web02"]).await {
        Change::Done { kept, .. } => assert_eq!(kept, ["web02".into()]),
        other => panic!("{other:?}"),
    }
    assert_eq!(done(world.enable(&["web01"]).await), "");

    // One that cannot be asked: none is told.
    world.sshds[1].kill();
    let why = refused(world.drain(&["web01"]).await);
    assert!(why.contains("cannot connect to lb2 (127.0.0.1:"), "{why}");
    assert_eq!(world.proxies[0].status("web01").await, "no check");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_haproxy_that_cannot_undoes_the_other() {
    let mut world = World::with(2, "", 2, "").await;
    // A request on the second one that does not end, and a drain that must not go on then.
    let front = world.proxies[1].front();
    let held = tokio::spawn(async move { get_path(&front, "/held").await });
    eventually("it is in flight", async || world.apps.iter().any(|app| app.held() == 1)).await;
    let busy = world.apps.iter().find(|app| app.held() == 1).unwrap().name.clone();
    world.balancer.drain_timeout = Duration::from_millis(300);
    world.balancer.on_drain_timeout = OnDrainTimeout::Fail;
    let why = refused(world.drain(&[&busy]).await);
    assert_eq!(why, format!("lb2: requests that did not end within 300ms: {busy} 1; put back"));
    for proxy in &world.proxies {
        assert_eq!(proxy.status(&busy).await, "no check");
    }
    world.release();
    assert!(held.await.unwrap().unwrap().ends_with("is done\n"));
    // And a server that only one of them has.
    let servers = [format!("web01 {}", world.apps[0].address), format!("web02b {}", world.apps[1].address)];
    world.proxies[1] = Haproxy::start(&world.proxies[1].dir.clone(), &servers).await;
    let why = refused(world.drain(&["web02"]).await);
    let wanted = "lb2: backend `app`: no server is called `web02` there; did you mean `web01`? (servers: web01, web02b)";
    assert_eq!(why, wanted);
    assert_eq!(world.proxies[0].status("web02").await, "no check");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_forgets_a_drain_is_noticed() {
    let mut world = World::start(2, CHECK).await;
    assert_eq!(done(world.drain(&["web01"]).await), "");
    world.proxies[0].reload().await;
    world.proxy().until("web01", "UP").await;
    // Between drain and enable: whoever looks sees it, and the next run's drain is made again.
    assert_eq!(world.inspect(&["web01"]).await.rotation(&"web01".into()), Rotation::In);
    assert_eq!(done(world.enable(&["web01"]).await), "lb1: HAProxy had forgotten the drain (a reload?)");

    // While a drain waits.
    let held = world.hold().await;
    let draining = world.draining(&["web01"]);
    world.proxy().until("web01", "DRAIN").await;
    world.proxies[0].reload().await;
    let note = done(within(draining).await.unwrap());
    assert!(
        note.starts_with("lb1: HAProxy forgot the drain (a reload?); drained again, requests on"),
        "{note}"
    );
    assert_eq!(world.proxy().status("web01").await, "DRAIN");
    // What is on the old process ends there, whole.
    world.release();
    for held in held {
        assert!(held.await.unwrap().unwrap().ends_with("is done\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_outlast_the_drain_are_dealt_with_as_configured() {
    let mut world = World::start(2, CHECK).await;
    let mut held = world.hold().await;
    world.balancer.drain_timeout = Duration::from_millis(300);
    let late = "lb1: requests that did not end within 300ms: web01 1";

    world.balancer.on_drain_timeout = OnDrainTimeout::Fail;
    assert_eq!(refused(world.drain(&["web01"]).await), format!("{late}; put back"));
    assert_eq!(world.proxy().status("web01").await, "UP");

    world.balancer.on_drain_timeout = OnDrainTimeout::Continue;
    assert_eq!(done(world.drain(&["web01"]).await), late);
    assert!(!held[0].is_finished(), "it goes on");
    assert_eq!(done(world.enable(&["web01"]).await), "");

    world.balancer.on_drain_timeout = OnDrainTimeout::Kill;
    assert_eq!(done(world.drain(&["web01"]).await), format!("{late}; they were ended"));
    let cut = held.remove(0).await.unwrap();
    assert!(!cut.is_ok_and(|answer| answer.ends_with("is done\n")), "it was cut");
    // The other application's request never was.
    world.release();
    assert!(held.remove(0).await.unwrap().unwrap().ends_with("web02 is done\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_reached_through_the_connection_alone() {
    // No command runs on this host: what works goes through the connection.
    let mut world = World::with(2, "", 1, "ForceCommand /bin/false\n").await;
    assert_eq!(done(world.drain(&["web01"]).await), "");
    assert_eq!(world.proxy().status("web01").await, "DRAIN");
    world.settings().backends = vec!["ap".into()];
    let why = world.drivers.inspect(&world.balancer, &members(&["web01"], false)).await.unwrap_err();
    assert_eq!(why, "lb1: backend `ap`: Can't find backend.");
    world.settings().socket = Socket::Unix("/@/nothing.sock".into());
    let why = world.drivers.inspect(&world.balancer, &members(&["web01"], false)).await.unwrap_err();
    assert!(why.contains("nothing.sock: no process listens there, the login may not, or its sshd"), "{why}");
    assert!(why.contains("; try: the login's rights on the socket, sudo = true, or Allow"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_forward_sockets_is_asked_by_a_command() {
    let mut world = World::with(40, "", 1, "AllowStreamLocalForwarding no\n").await;
    assert_eq!(done(world.drain(&["web01", "web02"]).await), "");
    assert_eq!(world.proxy().status("web02").await, "DRAIN");
    assert_eq!(done(world.enable(&["web01", "web02"]).await), "");
    assert_eq!(world.proxy().status("web02").await, "no check");
    // A runtime API on TCP is forwarded by another option.
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = relay.local_addr().unwrap().port();
    let socket = world.proxy().socket();
    let relaying = tokio::spawn(async move {
        loop {
            let (mut from, _) = relay.accept().await.unwrap();
            let mut to = tokio::net::UnixStream::connect(&socket).await.unwrap();
            // Whichever end hangs up first.
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        }
    });
    world.settings().socket = Socket::Tcp { address: "127.0.0.1".into(), port };
    assert_eq!(done(world.drain(&["web01"]).await), "");
    assert_eq!(world.proxy().status("web01").await, "DRAIN");
    relaying.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_behind_haproxy_fails_no_request() {
    let site = Site::start(4).await;
    let haproxy = site.stand_behind_haproxy(CHECK, "min_in_service = \"50%\"\n").await;
    let traffic = Traffic::start(&haproxy.front());
    let answer = site.ask("deploy prod version=2.0.0").await.expect(0);
    let (sent, failures) = traffic.stop().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests\n{answer:#?}");
    assert_eq!(site.releases(), ["2.0.0"; 4]);
    // What HAProxy says of them, and what it would say of one that somebody else took out.
    haproxy.tell("set server app/web04 state maint").await;
    let status = site.ask_as("vic", "balancer status prod.web").await.expect(0);
    let lines: Vec<&str> = status.out.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "HOST   BALANCER  ROTATION  DEBT  NOTE",
            "web01  prod.web  in        -     UP (L7OK)",
            "web02  prod.web  in        -     UP (L7OK)",
            "web03  prod.web  in        -     UP (L7OK)",
            "web04  prod.web  out       -     MAINT",
            "prod.web: 3 of 4 servers in service, 2 have to stay",
        ]
    );
    haproxy.tell("set server app/web04 state ready").await;
    haproxy.until("web04", "UP").await;
    for host in &site.hosts {
        assert_eq!(haproxy.status(&host.name).await, "UP");
    }
    assert!(site.ask("debts").await.expect(0).out.starts_with("no debts"));
}

/// Keeps sending requests with a persistence cookie.
async fn faithful(socket: std::path::PathBuf) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.expect("HAProxy");
        let request = "GET / HTTP/1.1\r\nhost: app\r\ncookie: SRV=CK\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// HAProxy sends clients with a cookie to a drained server: short requests, of which a poll finds none in flight.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_a_cookie_brings_to_a_drained_server_are_reported() {
    let mut world = World::start(2, &format!("{CHECK} cookie CK\n  cookie SRV insert indirect")).await;
    let client = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(faithful(world.proxy().front())));
    world.balancer.drain_timeout = Duration::from_secs(3);
    let note = done(world.drain(&["web01"]).await);
    assert!(note.contains("lb1: requests that did not end within 3s: web01 "), "{note}");
    assert!(note.ends_with("(clients with its cookie still come)"), "{note}");
    assert_eq!(done(world.enable(&["web01"]).await), "");
    world.balancer.on_drain_timeout = OnDrainTimeout::Fail;
    let why = refused(world.drain(&["web01"]).await);
    assert!(why.ends_with("(clients with its cookie still come); put back"), "{why}");
    drop(client);
    world.balancer.drain_timeout = DEADLINE;
    assert_eq!(done(world.drain(&["web01"]).await), "", "they are gone");
}

/// An agent that always says the same; its port.
async fn agent(says: &'static str) -> u16 {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // HAProxy may have hung up.
            let _ = stream.write_all(format!("{says}\n").as_bytes()).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_an_agent_check_is_drained_for_good_or_not_at_all() {
    let check = |port: u16| format!("{CHECK} agent-check agent-port {port} agent-inter 500");
    let world = World::start(2, &check(agent("up").await)).await;
    assert_eq!(done(world.drain(&["web01"]).await), "");
    assert_eq!(world.proxy().status("web01").await, "DRAIN (agent)");
    assert_eq!(done(world.enable(&["web01"]).await), "");
    assert_eq!(world.proxy().status("web01").await, "UP");

    let world = World::start(2, &check(agent("ready").await)).await;
    let why = refused(world.drain(&["web01"]).await);
    assert!(
        why.contains("lb1: `web01` does not stay drained: its agent-check sets it to ready; try: "),
        "{why}"
    );
    assert!(why.contains("`disable agent app/web01`"), "{why}");
    assert_eq!(world.inspect(&["web01"]).await.rotation(&"web01".into()), Rotation::In);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_requests_away_after_an_enable_is_reported() {
    let world = World::start(2, CHECK).await;
    assert_eq!(done(world.drain(&["web01"]).await), "");
    // It answers with an empty line, as does every change.
    world.proxy().tell("set server app/web01 weight 0").await;
    let note = done(world.enable(&["web01"]).await);
    assert_eq!(note, "lb1: `web01` has weight 0 and gets no new requests");
}
