//! The site that is simulated: hosts, keys, the task and its plan. All of it is made in code, and none of it
//! depends on the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rollcall::domain::ask::access::{Granted, Operator, Role, authorize};
use rollcall::domain::ask::command::{Ask, Params, parse_line};
use rollcall::domain::base::name::{HostName, RunId};
use rollcall::domain::base::range::Limits;
use rollcall::domain::check::check::{Check, Retry};
use rollcall::domain::check::id::CheckId;
use rollcall::domain::check::probe::{BodyExpect, Expect, Probe, Tcp};
use rollcall::domain::inventory::inventory::{
    Balancer, Driver, Endpoint, Group, Host, Inventory, Nginx, NginxStyle,
};
use rollcall::domain::plan::plan::{Plan, World};
use rollcall::domain::plan::planner::plan_task;
use rollcall::domain::plan::release::{Release, ReleaseTakeover};
use rollcall::domain::task::task::{
    BatchSize, Files, MaxFailures, OnFailure, Rollout, Source, Step, StepBody, Sudo, Task, TreeFile, Upload,
};
use rollcall::domain::value::param::Param;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use sha2::{Digest, Sha256};

/// Hosts of the largest simulation.
pub const MOST_HOSTS: usize = 1_000;

/// What every host runs before.
pub const OLD: &str = "1.0.0";
/// What is released.
pub const NEW: &str = "2.0.0";
/// The link that says what a host runs.
pub const CURRENT: &str = "/srv/app/current";
/// Where the application listens.
pub const APP_PORT: u16 = 8080;
/// The balancer's host.
pub const BALANCER: &str = "lb1";
/// The group, and so the balancer's name.
pub const GROUP: &str = "prod";
/// Failures that the rollout may have.
pub const MAX_FAILURES: u32 = 10;

/// Where a release lies.
pub fn release_path(version: &str) -> String {
    format!("/srv/app/releases/{version}")
}

/// The names of the web hosts.
pub fn web_hosts(count: usize) -> Vec<HostName> {
    (1..=count).map(|number| HostName::new(format!("web{number:03}"))).collect()
}

/// How a host is written in the balancer.
pub fn server_of(host: &HostName) -> String {
    format!("{host}.sim:{APP_PORT}")
}

/// Chance that depends on what it is for, and on nothing that happened before.
pub fn dice(seed: u64, about: &[&str]) -> StdRng {
    let text = format!("{seed}\n{}", about.join("\n"));
    StdRng::from_seed(Sha256::digest(text.as_bytes()).into())
}

/// The key of a host, or of rollcall itself.
pub fn key_of(name: &str) -> PrivateKey {
    let seed: [u8; 32] = Sha256::digest(format!("key of {name}").as_bytes()).into();
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, name).expect("a key")
}

/// A `known_hosts` file with the keys of all hosts; one for all simulations of this process.
pub fn known_hosts() -> std::path::PathBuf {
    static FILE: OnceLock<tempfile::NamedTempFile> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let names = web_hosts(MOST_HOSTS).into_iter().chain([HostName::from(BALANCER)]);
        let line = |name: HostName| {
            let key = key_of(name.as_str()).public_key().to_openssh().expect("a public key");
            format!("{} {key}\n", address_of(name.as_str()))
        };
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), names.map(line).collect::<String>()).expect("known_hosts");
        file
    });
    file.path().to_path_buf()
}

fn address_of(name: &str) -> String {
    format!("{name}.sim")
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.into(),
        here: false,
        address: address_of(name),
        further: Vec::new(),
        key: None,
        port: 22,
        login: "deploy".into(),
        via: None,
    }
}

/// Whoever releases, and may.
pub fn granted() -> Granted {
    let groups = Some(BTreeSet::from([GROUP.to_string()]));
    let operator = Operator { groups, ..Operator::new("ann", "SHA256:sim", Role::Operator) };
    let line = format!("deploy {GROUP} version={NEW}");
    let command = parse_line(line.as_bytes()).expect("a command").command;
    authorize(&operator, command, Timestamp::UNIX_EPOCH).expect("operators may release")
}

/// The plan of `deploy prod version=2.0.0`, by the real planner.
pub fn plan(hosts: usize, style: NginxStyle) -> Plan {
    let granted = granted();
    let inventory = granted.inventory(&Arc::new(inventory(hosts, style)));
    let tasks = BTreeMap::from([("deploy".to_string(), task())]);
    let checks = BTreeMap::from([("app".to_string(), checks())]);
    let before = ReleaseTakeover {
        release: Release {
            task: "deploy".into(),
            params: Params::from([("version".to_string(), OLD.to_string())]),
            fingerprint: String::new(),
        },
        good: true,
        back: false,
        rollback_failed: false,
        run: RunId(0),
        at: Timestamp::UNIX_EPOCH,
    };
    let world = World {
        inventory: &inventory,
        tasks: &tasks,
        checks: &checks,
        files: &Templates,
        facts: &Default::default(),
        files_root: "/nowhere".into(),
        taken: web_hosts(hosts).into_iter().map(|host| (host, vec![before.clone()])).collect(),
        marks: vec![],
        owed: Default::default(),
        written_off: Default::default(),
    };
    let params = Params::from([("version".to_string(), NEW.to_string())]);
    plan_task(&world, &Ask::new("deploy", GROUP, &params)).expect("a plan")
}

fn inventory(hosts: usize, style: NginxStyle) -> Inventory {
    let names = web_hosts(hosts);
    let balancer = Balancer {
        name: GROUP.into(),
        on: vec![endpoint(BALANCER)],
        server: format!("{{{{ host.name }}}}.sim:{APP_PORT}"),
        driver: Driver::Nginx(Nginx {
            config: "/etc/nginx/conf.d/web.conf".into(),
            style,
            upstreams: vec![],
            test: Some("nginx -t".into()),
            reload: Some("nginx -s reload".into()),
            workers: None,
            sudo: true,
        }),
        drain_timeout: Duration::from_secs(10),
        on_drain_timeout: Default::default(),
        enable_timeout: rollcall::domain::inventory::inventory::ENABLE_TIMEOUT,
        min_in_service: None,
        members: Default::default(),
        further: vec![],
    };
    let host = |name: &HostName| Host {
        name: name.clone(),
        written: name.to_string(),
        endpoint: endpoint(name.as_str()),
        tags: BTreeSet::new(),
        vars: BTreeMap::new(),
        secrets: Default::default(),
        checks: vec!["app".into()],
        groups: vec![GROUP.into()],
        balancer: Some(GROUP.into()),
    };
    let group = Group { name: GROUP.into(), hosts: names.clone(), balancer: Some(balancer) };
    Inventory {
        groups: BTreeMap::from([(GROUP.to_string(), group)]),
        hosts: names.iter().map(host).collect(),
    }
}

fn checks() -> Vec<Check> {
    let retry = Retry { interval: Duration::from_secs(1), deadline: Duration::from_secs(20), successes: 2 };
    let version = Expect { equals: Some("{{ version }}".into()), ..Expect::default() };
    let look = |name: &str, probe: Probe| {
        let id = CheckId::new("http", name);
        Check { retry, ..Check::new(&id, probe, Duration::from_secs(5)) }
    };
    vec![
        look("version", Probe::Run { command: "version".into(), expect: version }),
        look(
            "port",
            Probe::Tcp(Tcp {
                address: "127.0.0.1".into(),
                port: APP_PORT.to_string(),
                send: None,
                banner: BodyExpect::default(),
                limits: Limits::default(),
            }),
        ),
    ]
}

fn step(name: &str, body: StepBody) -> Step {
    Step { timeout: Duration::from_secs(60), delay: Duration::from_secs(2), ..Step::new(name, body) }
}

fn script(script: &str) -> StepBody {
    StepBody::Run { script: script.into() }
}

fn link(from: &str) -> StepBody {
    StepBody::Link { from: from.into(), at: CURRENT.into() }
}

fn task() -> Task {
    let fetch = Step {
        creates: Some(release_path("{{ version }}")),
        retries: 2,
        ..step("fetch", script("release {{ version }}"))
    };
    let template = Source::Template { path: "app.conf".into() };
    let config = StepBody::Upload(Upload::new(template, "/srv/app/app.conf", 0o644));
    Task {
        name: "deploy".into(),
        description: "releases a version".into(),
        hosts: None,
        params: BTreeMap::from([("version".to_string(), Param::default())]),
        vars: Default::default(),
        secrets: Default::default(),
        release: Some(true),
        rollout: Some(Rollout {
            serial: vec![BatchSize::Hosts(1), BatchSize::Percent(10.0), BatchSize::Percent(100.0)],
            max_failures: MaxFailures::Hosts(MAX_FAILURES),
            on_failure: OnFailure::Rollback,
            // Rarer than by default: a run lasts minutes here, and each look is a hundred commands.
            watch: Duration::from_secs(300),
            ..Rollout::default()
        }),
        steps: vec![
            fetch.into(),
            Step { retries: 1, ..step("configure", config) }.into(),
            step("switch", link(&release_path("{{ version }}"))).into(),
            Step { sudo: Sudo::Root, ..step("restart", script("restart")) }.into(),
        ],
        rollback: vec![
            step("switch back", link("{{ previous }}")).into(),
            Step { sudo: Sudo::Root, ..step("restart", script("restart")) }.into(),
        ],
        handlers: vec![],
        hooks: Default::default(),
    }
}

/// `files/`, with one template in it.
struct Templates;

impl Files for Templates {
    fn sha256(&self, path: &str) -> Result<String, String> {
        Err(format!("files/{path}: is a template"))
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeFile>, String> {
        Err(format!("{path} is no tree"))
    }

    fn artifact(&self, sha256: &str) -> Result<(), String> {
        Err(format!("{sha256} is not kept"))
    }

    fn text(&self, path: &str) -> Result<String, String> {
        static TEXT: LazyLock<String> = LazyLock::new(|| "name = {{ host.name }}\n".repeat(20));
        (path == "app.conf").then(|| TEXT.clone()).ok_or_else(|| format!("files/{path}: not there"))
    }
}
