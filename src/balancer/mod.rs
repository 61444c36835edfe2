//! Load balancers: the drivers, over the engine's [`Remote`] port. They know nothing of SSH.

pub mod commands;
pub mod haproxy;
pub mod health_file;
pub mod nginx;
pub mod polls;
pub mod runtime;
pub mod servers;
pub mod together;
pub mod upstream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use self::commands::CommandDriver;
use self::haproxy::HaproxyDriver;
use self::health_file::FileDriver;
use self::nginx::NginxDriver;
use crate::domain::base::output::clipped;
use crate::domain::inventory::inventory::{Balancer, Driver, Endpoint};
use crate::domain::inventory::rotation::View;
use crate::domain::run::event::Change;
use crate::domain::task::task::Sudo;
use crate::engine::port::{BalancerDriver, Exec, ExecReport, Input, Member, Remote};
use crate::engine::script::run_as;

/// All drivers.
pub struct Balancers {
    nginx: NginxDriver,
    haproxy: HaproxyDriver,
    file: FileDriver,
    command: CommandDriver,
}

impl Balancers {
    /// Drivers that reach balancer hosts through `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> Balancers {
        Balancers {
            nginx: NginxDriver::new(remote.clone()),
            haproxy: HaproxyDriver::new(remote.clone()),
            file: FileDriver::new(remote.clone()),
            command: CommandDriver::new(remote),
        }
    }
}

#[async_trait]
impl BalancerDriver for Balancers {
    async fn look(&self, balancer: &Balancer, members: &[Member]) -> Result<View, String> {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.look(balancer, nginx, members).await,
            Driver::Haproxy(haproxy) => self.haproxy.look(balancer, haproxy, members).await,
            Driver::File(file) => Ok(self.file.look(balancer, file, members).await),
            Driver::Command(commands) => self.command.look(balancer, commands, members).await,
        }
    }

    async fn drain(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.drain(balancer, nginx, members).await,
            Driver::Haproxy(haproxy) => self.haproxy.drain(balancer, haproxy, members).await,
            Driver::File(file) => self.file.drain(balancer, file, members).await,
            Driver::Command(commands) => self.command.drain(balancer, commands, members).await,
        }
    }

    async fn enable(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.enable(balancer, nginx, members).await,
            Driver::Haproxy(haproxy) => self.haproxy.enable(balancer, haproxy, members).await,
            Driver::File(file) => self.file.enable(balancer, file, members).await,
            Driver::Command(commands) => self.command.enable(balancer, commands, members).await,
        }
    }
}

/// What balancers tell is kept whole up to twice this: a file with ten thousand servers.
pub(crate) const ANSWER_BYTES: usize = 512 * 1024;

/// Of a balancer's own words in an error, in characters.
const SAID_CHARS: usize = 500;

/// What a balancer said, as it is quoted in an error.
fn said(text: &str) -> String {
    clipped(text.trim(), SAID_CHARS)
}

/// The answer of a script that is known to say little: the last line of it. An error when it printed more than is kept.
fn last_line(report: &ExecReport) -> Result<&str, String> {
    match report.stdout.left_out {
        0 => Ok(report.stdout.last_line()),
        more => Err(format!(
            "it printed {more} bytes more than the {} that rollcall reads; try: a command that prints one line",
            2 * ANSWER_BYTES
        )),
    }
}

/// Runs one of a driver's scripts on a host, as root where it asks so.
async fn exec(
    remote: &dyn Remote,
    host: &Endpoint,
    script: &str,
    sudo: bool,
    input: Input,
    timeout: Duration,
) -> ExecReport {
    let sudo = if sudo { Sudo::Root } else { Sudo::No };
    let script = run_as(script, &sudo);
    remote
        .exec(
            host,
            Exec {
                script,
                input,
                timeout,
                cancel: CancellationToken::new(),
                lines: None,
                fresh: false,
                keep_bytes: ANSWER_BYTES,
                sink: None,
                masks: Default::default(),
            },
        )
        .await
}
