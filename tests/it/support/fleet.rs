//! The fleet and what drivers are asked, for tests that need no daemon.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rollcall::daemon::SystemClock;
use rollcall::domain::inventory::inventory::Endpoint;
use rollcall::domain::plan::plan::Seat;
use rollcall::domain::run::event::Change;
use rollcall::fleet::dial::TcpDial;
use rollcall::fleet::known_hosts::KnownHosts;
use rollcall::fleet::{Fleet, Parts, read_identities};
use rollcall::port::{Exec, ExecReport, HostKey, Member, OpenError, Program, Remote, Stream};

use super::sshd::Sshd;
use super::{DEADLINE, account};

/// How a host behind this sshd is reached.
pub fn endpoint(name: &str, sshd: &Sshd) -> Endpoint {
    Endpoint {
        name: name.into(),
        here: false,
        address: "127.0.0.1".into(),
        further: Vec::new(),
        key: None,
        port: sshd.address.port(),
        login: account(),
        via: None,
    }
}

/// Reaches hosts with the key `fleet` in a folder, which also has their `known_hosts`.
pub fn fleet(dir: &Path) -> Arc<dyn Remote> {
    let settings = rollcall::fleet::ConnectionSettings {
        parallel: 8,
        connect_timeout: Duration::from_secs(10),
        keepalive: Duration::from_secs(15),
        idle_timeout: None,
    };
    let fleet = Fleet::new(Parts {
        settings,
        identities: read_identities(None, &[dir.join("fleet")], None).expect("a key"),
        keys: Default::default(),
        known_hosts: KnownHosts::new(dir.join("known_hosts")),
        dial: Arc::new(TcpDial),
        clock: Arc::new(SystemClock),
    });
    Arc::new(OwnDisks { real: fleet, dir: dir.to_path_buf() })
}

/// The real fleet; below `/@` each host has a folder of its own, though all of them are this machine.
struct OwnDisks {
    real: Fleet,
    dir: PathBuf,
}

impl OwnDisks {
    fn own(&self, host: &Endpoint, text: &str) -> String {
        let dir = self.dir.display();
        let own = text.replace("/@/", &format!("{dir}/{}/", host.name));
        // Programs in `bin` are before those of the machine.
        own.replace("PATH=$PATH:", &format!("PATH={dir}/bin:$PATH:"))
    }
}

#[async_trait]
impl Remote for OwnDisks {
    async fn exec(&self, host: &Endpoint, mut request: Exec) -> ExecReport {
        if let Program::Script(script) = &mut request.program {
            *script = self.own(host, script);
        }
        self.real.exec(host, request).await
    }

    async fn open(&self, host: &Endpoint, address: &str, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        self.real.open(host, address, port).await
    }

    async fn open_unix(&self, host: &Endpoint, path: &str) -> Result<Box<dyn Stream>, OpenError> {
        self.real.open_unix(host, &self.own(host, path)).await
    }

    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String> {
        self.real.host_key(host).await
    }

    async fn accept_host_key(&self, host: &Endpoint, fingerprint: &str) -> Result<(), String> {
        self.real.accept_host_key(host, fingerprint).await
    }
}

/// Hosts that are called in the balancer as they are here.
pub fn members(names: &[&str], ours: bool) -> Vec<Member> {
    let seat = |name: &str| Seat { balancer: "web".into(), server: name.into() };
    names.iter().map(|name| Member { host: (*name).into(), seat: seat(name), ours }).collect()
}

/// The end of something that must not take for ever.
pub async fn within<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(2 * DEADLINE, doing).await.expect("an end within the deadline")
}

/// The note of what was done to every host that was asked for.
pub fn done(change: Change) -> String {
    match change {
        Change::Done { foreign, kept, note } if foreign.is_empty() && kept.is_empty() => note,
        other => panic!("{other:?}"),
    }
}

/// Why nothing was changed.
pub fn refused(change: Change) -> String {
    match change {
        Change::Refused { why } => why,
        other => panic!("{other:?}"),
    }
}
