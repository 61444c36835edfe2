//! Load balancers: the drivers, over the engine's [`Remote`] port. They know nothing of SSH.

pub mod nginx;
pub mod together;
pub mod upstream;

use std::sync::Arc;

use async_trait::async_trait;

use self::nginx::NginxDriver;
use crate::domain::event::Change;
use crate::domain::inventory::{Balancer, Driver};
use crate::domain::rotation::View;
use crate::engine::port::{BalancerDriver, Member, Remote};

/// All drivers.
pub struct Balancers {
    nginx: NginxDriver,
}

impl Balancers {
    /// Drivers that reach balancer hosts through `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> Balancers {
        Balancers { nginx: NginxDriver::new(remote) }
    }
}

#[async_trait]
impl BalancerDriver for Balancers {
    async fn look(&self, balancer: &Balancer, members: &[Member]) -> Result<View, String> {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.look(balancer, nginx, members).await,
            Driver::Haproxy(_) | Driver::File(_) | Driver::Command(_) => Err(not_built(balancer)),
        }
    }

    async fn drain(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.drain(balancer, nginx, members).await,
            Driver::Haproxy(_) | Driver::File(_) | Driver::Command(_) => {
                Change::Refused { why: not_built(balancer) }
            }
        }
    }

    async fn enable(&self, balancer: &Balancer, members: &[Member]) -> Change {
        match &balancer.driver {
            Driver::Nginx(nginx) => self.nginx.enable(balancer, nginx, members).await,
            Driver::Haproxy(_) | Driver::File(_) | Driver::Command(_) => {
                Change::Refused { why: not_built(balancer) }
            }
        }
    }
}

fn not_built(balancer: &Balancer) -> String {
    format!("{}: this version of rollcall has no such driver; try: nginx", balancer.name)
}
