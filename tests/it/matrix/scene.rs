//! A row of the matrix on real parts, and the look from outside: balancers, disks and applications are asked
//! for themselves, and what rollcall tells is compared with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rows::{Front, Later, Row, row};
use crate::support::haproxy::Haproxy;
use crate::support::site::{Answer, FIRST, Site, WebHost};
use crate::support::{read, write};

/// Checks that see within tenths of a second.
const CHECK: &str = "check inter 100 fall 2 rise 1";

/// Fails on the hosts that are to fail. The application is down by then.
const HOOK: &str = "test ! -e bad";

/// How often the balancer is looked at while a run goes on.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A site in the trouble of one row.
pub struct Scene {
    pub row: &'static Row,
    pub site: Site,
    haproxy: Option<Haproxy>,
}

/// A release, and what was there before it.
#[derive(Clone, Copy)]
pub struct Release<'a> {
    pub run: u64,
    pub version: &'a str,
    pub before: &'a str,
}

/// The first one after the one that the hosts begin with.
pub const NEW: Release<'static> = Release { run: 1, version: "2.0.0", before: FIRST };

impl Scene {
    /// The hosts, their balancer and the configuration of a row; nobody is at the door yet.
    pub async fn without_daemon(id: &str) -> Scene {
        let row = row(id);
        let site = Site::without_daemon(row.hosts).await;
        let task = site.config.join("tasks/deploy.toml");
        let usual = "serial = [1, \"25%\", \"100%\"]\non_failure = \"rollback\"\n";
        let text = read(&task);
        assert!(text.contains(usual), "{text}");
        write(&task, &text.replace(usual, &format!("{}\n", row.setting)));
        let floor = match row.floor {
            "" => String::new(),
            floor => format!("min_in_service = \"{floor}\"\n"),
        };
        let haproxy = match row.front {
            Front::Haproxy => Some(site.stand_behind_haproxy(CHECK, &floor).await),
            Front::Nginx => None,
        };
        let scene = Scene { row, site, haproxy };
        scene.hosts(row.fails).for_each(|host| write(&host.dir.join("bad"), ""));
        scene.hosts(row.unreachable).for_each(|host| host.sshd.kill());
        scene
    }

    /// The same, with a daemon in this process.
    pub async fn start(id: &str) -> Scene {
        let mut scene = Scene::without_daemon(id).await;
        scene.site.start_daemon().await;
        scene
    }

    fn hosts(&self, names: &[&str]) -> impl Iterator<Item = &WebHost> {
        self.site.hosts.iter().filter(move |host| names.contains(&host.name.as_str()))
    }

    /// Who is out of rotation, as the balancer itself says.
    pub async fn out(&self) -> BTreeSet<String> {
        let Some(haproxy) = &self.haproxy else {
            let servers = self.site.nginx.out_of_rotation();
            let out = self.site.hosts.iter().filter(|host| servers.contains(&host.server));
            return out.map(|host| host.name.clone()).collect();
        };
        haproxy.out().await
    }

    /// Deploys with plain ssh, and compares everything with the row.
    pub async fn play(&self) {
        let (answer, most) = self.deploy().await;
        assert_eq!(answer.status, self.row.exit, "{answer:#?}");
        assert!(most <= self.row.most, "{most} hosts were out at the same time\n{answer:#?}");
        for host in self.row.out {
            let told = format!("out of rotation: {host}; a person is needed");
            assert!(answer.out.contains(&told), "{}", answer.out);
        }
        self.judge(self.site.port(), NEW).await;
    }

    /// A deploy, and how many hosts were seen to be out at the same time.
    async fn deploy(&self) -> (Answer, usize) {
        let line = format!("deploy prod version={} 'hook={HOOK}'", NEW.version);
        let deploy = self.site.ask(&line);
        tokio::pin!(deploy);
        let mut most = 0;
        loop {
            tokio::select! {
                answer = &mut deploy => return (answer, most),
                () = tokio::time::sleep(LOOK_INTERVAL) => most = most.max(self.out().await.len()),
            }
        }
    }

    /// Compares what a daemon tells of a release with the look from outside, and both with the row.
    pub async fn judge(&self, port: u16, release: Release<'_>) {
        let out = self.out().await;
        let ends = self.ends(port, release.run).await;
        for host in &self.site.hosts {
            judge_host(host, &ends[&host.name], out.contains(&host.name), release).await;
        }
        let wanted: BTreeSet<String> = self.row.out.iter().map(ToString::to_string).collect();
        assert_eq!(out, wanted, "out of rotation");
        let debts = self.site.ask_at(port, "debts --json").await.expect(0);
        let owed = debts.out.lines().map(|line| text(&parse(line)["host"]));
        assert_eq!(owed.collect::<BTreeSet<String>>(), out, "a debt is who is out by us, and nobody else");
        self.judge_later(release.version);
    }

    fn judge_later(&self, version: &str) {
        let trouble: Vec<&str> = [self.row.fails, self.row.unreachable, self.row.out].concat();
        let last = self.site.hosts.iter().rposition(|host| trouble.contains(&host.name.as_str()));
        let first_later = (last.unwrap_or_default() / self.row.batch + 1) * self.row.batch;
        let later: Vec<bool> = self
            .site
            .hosts
            .iter()
            .skip(first_later)
            .map(|host| host.dir.join("releases").join(version).exists())
            .collect();
        match self.row.later {
            Later::None => assert!(later.is_empty()),
            Later::Untouched => assert!(!later.is_empty() && !later.contains(&true), "touched: {later:?}"),
            Later::GoOn => assert!(!later.is_empty() && !later.contains(&false), "touched: {later:?}"),
        }
    }

    /// The end that the recap of a run tells of each host.
    pub async fn ends(&self, port: u16, run: u64) -> BTreeMap<String, String> {
        let shown = self.site.ask_at(port, &format!("show {run} --json")).await.expect(0);
        let recap = parse(shown.out.lines().last().expect("a recap"));
        let hosts = recap["hosts"].as_array().expect("hosts");
        hosts.iter().map(|host| (text(&host["host"]), text(&host["end"]))).collect()
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// What is told of a host is what its disk, its application and its balancer say.
async fn judge_host(host: &WebHost, end: &str, is_out: bool, release: Release<'_>) {
    let serves = healthy_release(host).await;
    let seen = (host.release(), serves.as_deref(), is_out);
    let in_rotation_on = |version: &str| (seen.0.as_str(), seen.1, seen.2) == (version, Some(version), false);
    let holds = match end {
        "released" | "unchanged" => in_rotation_on(release.version),
        "rolled-back" | "not-started" => in_rotation_on(release.before),
        // Out, and for a reason: one that is well there would be stranded.
        "held" | "unknown" => seen.1.is_none() && seen.2,
        _ => false,
    };
    assert!(holds, "{} is {end}; disk, application, out of rotation: {seen:?}", host.name);
}

/// The release that its application serves in good health, asked past the balancer.
async fn healthy_release(host: &WebHost) -> Option<String> {
    let mut stream = TcpStream::connect(&host.server).await.expect("an application");
    let request = "GET /health HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let body = answer.split("\r\n\r\n").nth(1).expect("a body").trim();
    answer.starts_with("HTTP/1.1 200 ").then(|| body.to_string())
}
