//! Load balancers: the drivers, over the engine's [`Remote`] port. They know nothing of SSH.

mod ask;
pub mod commands;
pub mod haproxy;
pub mod health_file;
mod left;
pub mod nginx;
pub mod places;
pub mod polls;
pub mod runtime;
pub mod sections;
pub mod servers;
pub mod together;
pub mod tokens;
pub mod upstream;

use std::sync::Arc;

use async_trait::async_trait;

use self::commands::CommandDriver;
use self::haproxy::HaproxyDriver;
use self::health_file::FileDriver;
use self::nginx::NginxDriver;
use self::places::OnePlace;
use crate::domain::inventory::inventory::{Balancer, Driver};
use crate::domain::inventory::rotation::BalancerView;
use crate::domain::run::event::Change;
use crate::port::{BalancerDriver, Member, Remote};

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

/// One balancer by itself.
#[async_trait]
impl OnePlace for Balancers {
    async fn inspect_in(&self, balancer: &Balancer, members: &[Member]) -> Result<BalancerView, String> {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.inspect(balancer, nginx, members).await,
            Driver::Haproxy(haproxy) => self.haproxy.inspect(balancer, haproxy, members).await,
            Driver::File(file) => Ok(self.file.inspect(balancer, file, members).await),
            Driver::Command(commands) => self.command.inspect(balancer, commands, members).await,
        }
    }

    async fn drain_in(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.drain(balancer, nginx, members).await,
            Driver::Haproxy(haproxy) => self.haproxy.drain(balancer, haproxy, members).await,
            Driver::File(file) => self.file.drain(balancer, file, members).await,
            Driver::Command(commands) => self.command.drain(balancer, commands, members).await,
        }
    }

    async fn enable_in(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.enable(balancer, nginx, members).await,
            Driver::Haproxy(haproxy) => self.haproxy.enable(balancer, haproxy, members).await,
            Driver::File(file) => self.file.enable(balancer, file, members).await,
            Driver::Command(commands) => self.command.enable(balancer, commands, members).await,
        }
    }

    async fn put_back_in(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.put_back(balancer, nginx, members).await,
            Driver::Haproxy(haproxy) => self.haproxy.put_back(balancer, haproxy, members).await,
            Driver::File(file) => self.file.put_back(balancer, file, members).await,
            Driver::Command(commands) => self.command.put_back(balancer, commands, members).await,
        }
    }
}

#[async_trait]
impl BalancerDriver for Balancers {
    async fn inspect(&self, balancer: &Balancer, members: &[Member]) -> Result<BalancerView, String> {
        match balancer.further.is_empty() {
            true => self.inspect_in(balancer, members).await,
            false => places::inspect(self, balancer, members).await,
        }
    }

    async fn drain(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match balancer.further.is_empty() {
            true => self.drain_in(balancer, members).await,
            false => places::drain(self, balancer, members).await,
        }
    }

    async fn enable(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match balancer.further.is_empty() {
            true => self.enable_in(balancer, members).await,
            false => places::enable(self, balancer, members).await,
        }
    }
}
