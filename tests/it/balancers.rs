//! The drivers that need neither nginx nor HAProxy, on real sshd; and what nginx does about requests that
//! outlast a drain.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall::balancer::Balancers;
use rollcall::domain::inventory::inventory::{
    Balancer, Driver, ENABLE_TIMEOUT, Nginx as Settings, NginxStyle, OnDrainTimeout,
};
use rollcall::domain::inventory::rotation::Rotation;
use rollcall::port::BalancerDriver;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::support::app::App;
use crate::support::fleet::{done, endpoint, fleet, members, refused, within};
use crate::support::haproxy::Haproxy;
use crate::support::nginx::Nginx;
use crate::support::site::Site;
use crate::support::sshd::Sshd;
use crate::support::traffic::{Traffic, get_path};
use crate::support::{eventually, folder, keygen, open_to_all, read, write};

/// What a balancer's operator writes for the driver `command`: here it is HAProxy that is behind it.
const LB: &str = r#"#!/bin/sh
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ "$ROLLCALL_SERVER" = "$2" ] && [ "$ROLLCALL_BALANCER" = prod.web ] && [ -n "$ROLLCALL_HOST" ] || exit 64
[ ! -e "@DIR@/$1-fails" ] || { echo "no $1 today" >&2; exit 3; }
ask() { echo "$1" | socat -t 10 - UNIX-CONNECT:@DIR@/admin.sock; }
case $1 in
  drain) ask "set server app/$2 state drain" ;;
  enable) ask "set server app/$2 state ready" ;;
  status) ask "show stat" | awk -F, -v server="$2" '
      $1 == "app" && $2 == server {
        state = $18 == "DRAIN" ? ($5 ? "draining" : "drained") : $18 == "no check" ? "up" : "down"
        printf "{\"state\": \"%s\", \"active\": %d}\n", state, $5
      }' ;;
esac
"#;

#[tokio::test(flavor = "multi_thread")]
async fn any_balancer_can_be_driven_by_commands() {
    let site = Site::start(3).await;
    let servers: Vec<String> =
        site.hosts.iter().map(|host| format!("{} {}", host.name, host.server)).collect();
    let haproxy = Haproxy::start(&site.dir.path().join("haproxy"), &servers).await;
    let lb = haproxy.dir.join("lb");
    write(&lb, &LB.replace("@DIR@", &haproxy.dir.display().to_string()));
    let lb = lb.display();
    site.stand_behind(&format!(
        "driver = \"command\"\non = \"lb\"\ndrain = \"sh {lb} drain {{{{ server }}}}\"\n\
         enable = \"sh {lb} enable {{{{ server }}}}\"\nstatus = \"sh {lb} status {{{{ server }}}}\"\n"
    ))
    .await;
    let traffic = Traffic::start(&haproxy.front());
    let answer = site.ask("deploy prod version=2.0.0").await.expect(0);
    let (sent, failures) = traffic.stop().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests\n{answer:#?}");
    assert_eq!(site.releases(), ["2.0.0"; 3]);

    // A command that fails and did nothing: nothing is changed, and its words are told.
    write(&haproxy.dir.join("drain-fails"), "");
    let answer = site.ask("deploy web01 version=2.0.1").await.expect(2);
    assert!(answer.out.contains("`drain` for web01: exit status 3: no drain today"), "{}", answer.out);
    assert_eq!(haproxy.status("web01").await, "no check");
    std::fs::remove_file(haproxy.dir.join("drain-fails")).unwrap();

    // One that cannot enable: the host stays out, as a debt, until it can.
    write(&haproxy.dir.join("enable-fails"), "");
    let answer = site.ask("deploy web01 version=2.0.1").await.expect(3);
    assert!(answer.out.contains("`enable` for web01: exit status 3: no enable today"), "{}", answer.out);
    assert_eq!(haproxy.status("web01").await, "DRAIN");
    let status = site.ask("balancer status web01 --json").await.expect(0);
    let told: serde_json::Value = serde_json::from_str(status.out.lines().next().unwrap()).unwrap();
    assert_eq!((&told["rotation"], &told["debt"]), (&"out".into(), &3.into()), "{told}");
    std::fs::remove_file(haproxy.dir.join("enable-fails")).unwrap();
    // Out by us, and so no stranger's.
    site.ask("deploy web01 version=2.0.1").await.expect(0);
    assert_eq!(haproxy.status("web01").await, "no check");
    assert!(site.ask("debts").await.expect(0).out.starts_with("no debts"));
}

/// Answers health checks with whether a file is there.
async fn serve_file(path: PathBuf) -> (u16, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            // A balancer that hangs up early asks again.
            let _ = stream.read(&mut request).await;
            let status = if path.exists() { "200 OK" } else { "503 Service Unavailable" };
            let _ = stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes()).await;
        }
    });
    (port, AbortOnDropHandle::new(serving))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_looks_at_a_file_needs_not_be_reached() {
    let site = Site::start(2).await;
    let (mut servers, mut serving) = (Vec::new(), Vec::new());
    for host in &site.hosts {
        let file = host.dir.join("in-rotation");
        write(&file, "yes\n");
        let (port, handle) = serve_file(file).await;
        servers.push(format!("{} {} check port {port} inter 200 fall 2 rise 1", host.name, host.server));
        serving.push(handle);
    }
    let haproxy = Haproxy::start(&site.dir.path().join("haproxy"), &servers).await;
    for host in &site.hosts {
        haproxy.until(&host.name, "UP").await;
    }
    site.stand_behind("driver = \"file\"\npath = \"{{ root }}/in-rotation\"\nsettle = \"2s\"\n").await;
    let traffic = Traffic::start(&haproxy.front());
    let answer = site.ask("deploy prod version=2.0.0").await.expect(0);
    let (sent, failures) = traffic.stop().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests\n{answer:#?}");
    assert_eq!(site.releases(), ["2.0.0"; 2]);
    for host in &site.hosts {
        assert_eq!(read(&host.dir.join("in-rotation")), "yes\n");
        assert!(!host.dir.join("in-rotation.rollcall-out").exists());
    }
    // Somebody else takes one out: the other is the last.
    std::fs::remove_file(site.hosts[0].dir.join("in-rotation")).unwrap();
    let status = site.ask("balancer status prod.web").await.expect(0);
    assert!(status.out.contains("web01  prod.web  out       -     "), "{}", status.out);
    assert!(status.out.contains("in-rotation: taken out by another process\n"), "{}", status.out);
    assert!(status.out.ends_with("prod.web: 1 of 2 servers in service, 1 have to stay\n"), "{}", status.out);
    let answer = site.ask("balancer drain web02 because of a new disk").await;
    assert!(
        answer.out.contains("  not-started  1  web02  too few would be left in service"),
        "{}",
        answer.out
    );
    assert!(site.hosts[1].dir.join("in-rotation").exists());
}

/// One nginx in front of everything; its host is `lb1`.
pub fn behind_nginx(dir: &Path, nginx: &Nginx, lb: &Sshd) -> Balancer {
    write(&dir.join("known_hosts"), &lb.known_hosts_line());
    let at = format!("-p {} -c {}", nginx.dir.display(), nginx.config().display());
    Balancer {
        name: "web".into(),
        on: vec![endpoint("lb1", lb)],
        server: "s".into(),
        driver: Driver::Nginx(Settings {
            config: nginx.config().display().to_string(),
            style: NginxStyle::Down,
            upstreams: vec![],
            test: Some(format!("nginx -t {at}")),
            reload: Some(format!("nginx -s reload {at}")),
            workers: None,
            sudo: false,
        }),
        drain_timeout: Duration::from_secs(1),
        on_drain_timeout: OnDrainTimeout::Continue,
        enable_timeout: ENABLE_TIMEOUT,
        min_in_service: None,
        members: Default::default(),
        further: vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_says_whether_requests_outlast_the_drain() {
    let dir = folder();
    keygen(&dir.path().join("fleet"), "rollcall");
    open_to_all(dir.path());
    let apps = [App::start("web01").await, App::start("web02").await];
    let servers = apps.each_ref().map(|app| app.address.to_string());
    let nginx = Nginx::start(&dir.path().join("lb"), &servers).await;
    let lb = Sshd::start(&dir.path().join("lb-ssh"), &dir.path().join("fleet.pub")).await;
    let mut balancer = behind_nginx(dir.path(), &nginx, &lb);
    let drivers = Balancers::new(fleet(dir.path()));
    let first = members(&[&servers[0]], false);

    let socket = nginx.socket();
    let held = tokio::spawn(async move { get_path(&socket, "/held").await });
    eventually("it is in flight", async || apps.iter().any(|app| app.held() == 1)).await;
    // An old worker that holds it does not go: not worked on.
    balancer.on_drain_timeout = OnDrainTimeout::Fail;
    let why = refused(within(drivers.drain(&balancer, &first)).await);
    assert_eq!(why, "lb1: requests that were in flight did not end within 1s; put back");
    assert_eq!(nginx.out_of_rotation(), Vec::<String>::new());
    balancer.on_drain_timeout = OnDrainTimeout::Continue;
    let note = done(within(drivers.drain(&balancer, &first)).await);
    assert_eq!(note, "lb1: requests that were in flight did not end within 1s");
    assert_eq!(nginx.out_of_rotation(), [servers[0].clone()]);
    let view = drivers.inspect(&balancer, &first).await.unwrap();
    assert_eq!((view.rotation(&first[0].host), view.serving, view.total), (Rotation::Out, 1, 2));
    apps.iter().for_each(App::release);
    assert!(held.await.unwrap().unwrap().ends_with("is done\n"), "it was never cut");
    // Enabled, it is as it was.
    done(within(drivers.enable(&balancer, &first)).await);
    assert_eq!(nginx.out_of_rotation(), Vec::<String>::new());
}
