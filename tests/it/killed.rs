//! The daemon is killed again and again at random moments of releases, on real sshds behind a real HAProxy.
//! After each of them whoever is out of rotation is a debt in the store; at the end every release has come to
//! where it would have come undisturbed, and no step has run twice. `ROLLCALL_KILL_SEED` takes the moments of
//! a seed again.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::daemon::{local, serve, spawn_daemon};
use crate::support::haproxy::Haproxy;
use crate::support::site::Site;
use crate::support::{read, write};

/// How often the daemon is killed while a run is under way.
const KILLS: u32 = 50;

/// In one release at most: several releases have their turn.
const KILLS_A_RELEASE: u32 = 13;

/// Hosts, in batches of 1, 2 and 3.
const HOSTS: usize = 6;

/// How long a daemon lives at most, in milliseconds: some end before they listen.
const LONGEST_LIFE: u64 = 800;

/// Steps that say on the host that they ran.
const STEPS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// Sites, balancers and what has happened so far.
struct World {
    site: Site,
    haproxy: Haproxy,
    kills: u32,
    moments: StdRng,
}

fn task() -> String {
    let step = |(at, name): (usize, &str)| {
        let took = ["0.05", "0.1", "0.15"][at % 3];
        format!(
            "[[steps]]\nname = \"{name}\"\nin = \"{{{{ root }}}}\"\nretries = 9\ndelay = \"50ms\"\n\
             run = \"mkdir -p releases/{{{{ version }}}}; echo {{{{ version }}}} >releases/{{{{ version }}}}/VERSION; \
             echo {{{{ version }}}} {name} >>ran; sleep {took}\"\n"
        )
    };
    let steps: String = STEPS.into_iter().enumerate().map(step).collect();
    format!(
        "hosts = \"web\"\nparams.version = {{ pattern = '\\d+\\.\\d+\\.\\d+' }}\n\
         [rollout]\nserial = [1, 2, 3]\non_failure = \"stop\"\n{steps}\
         [[steps]]\nname = \"switch\"\n\
         link = {{ from = \"releases/{{{{ version }}}}\", at = \"{{{{ root }}}}/current\" }}\n"
    )
}

impl World {
    async fn start(seed: u64) -> World {
        let site = Site::without_daemon(HOSTS).await;
        write(&site.config.join("tasks/deploy.toml"), &task());
        let haproxy = site.stand_behind_haproxy("check inter 100 fall 2 rise 1", "").await;
        World { site, haproxy, kills: 0, moments: StdRng::seed_from_u64(seed) }
    }

    /// One release, with its kills, to its end.
    async fn release(&mut self, run: u64, version: &str) {
        let (daemon, port) = spawn_daemon(&self.site).await;
        let mut daemon = Some(daemon);
        let mut client =
            self.site.ssh_to(port, "ann", &format!("deploy prod version={version}")).spawn().expect("ssh");
        let told = client.stdout.take().expect("what it is told");
        let first = BufReader::new(told).lines().next_line().await.expect("a line").expect("the run");
        assert!(first.starts_with(&format!("run {run}: deploy prod ")), "{first}");
        for _ in 0..KILLS_A_RELEASE.min(KILLS - self.kills) {
            let killed = daemon.take().unwrap_or_else(|| serve(&self.site));
            let life = self.moments.random_range(0..LONGEST_LIFE);
            tokio::time::sleep(Duration::from_millis(life)).await;
            let owed = self.kill(killed).await;
            // A run that owes something is not over.
            if owed.is_empty() && self.is_over(run).await {
                break;
            }
            self.kills += 1;
        }
        self.finish(run, version).await;
    }

    /// Kills it; at once afterwards, whoever is out of rotation is an open debt. The debts.
    async fn kill(&self, mut daemon: Child) -> BTreeSet<String> {
        daemon.kill().await.expect("it is killed");
        let out = self.haproxy.out().await;
        let debts = local(&self.site, "debts --json").await.expect(0);
        let owed: BTreeSet<String> = debts.out.lines().map(|line| text(&parse(line)["host"])).collect();
        assert!(out.is_subset(&owed), "out of rotation: {out:?}; debts: {owed:?}");
        owed
    }

    async fn is_over(&self, run: u64) -> bool {
        let shown = local(&self.site, &format!("show {run} --json")).await.expect(0);
        !parse(shown.out.lines().last().expect("a recap"))["outcome"].is_null()
    }

    /// A daemon that is left alone carries it to the end that it would have had.
    async fn finish(&self, run: u64, version: &str) {
        let (mut daemon, port) = spawn_daemon(&self.site).await;
        let watched = self.site.ask_at(port, &format!("watch {run}")).await.expect(0);
        let end = format!("run {run}: done\n  released  {HOSTS}  web[01-0{HOSTS}]\n");
        assert!(watched.out.contains(&end), "{}", watched.out);
        assert!(self.site.ask_at(port, "debts").await.expect(0).out.starts_with("no debts"));
        assert_eq!(self.haproxy.out().await, BTreeSet::new());
        for host in &self.site.hosts {
            assert_eq!(host.release(), version, "{}", host.name);
            let ran = read(&host.dir.join("ran"));
            let ran: Vec<&str> = ran.lines().filter_map(|line| line.strip_prefix(version)).collect();
            assert_eq!(ran, STEPS.map(|step| format!(" {step}")), "{}: each step once, in order", host.name);
        }
        daemon.kill().await.expect("it runs");
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// Another one every time, unless the environment names it.
fn seed() -> u64 {
    match std::env::var("ROLLCALL_KILL_SEED") {
        Ok(seed) => seed.parse().expect("ROLLCALL_KILL_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_killed_daemons_leave_no_debt_unseen_and_run_no_step_twice() {
    let seed = seed();
    eprintln!("ROLLCALL_KILL_SEED={seed}");
    let mut world = World::start(seed).await;
    let mut run = 0;
    while world.kills < KILLS {
        run += 1;
        world.release(run, &format!("2.0.{run}")).await;
        eprintln!("run {run}: {} kills so far", world.kills);
    }
}
