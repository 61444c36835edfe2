//! Load balancers: the drivers, over the engine's [`Remote`] port. They know nothing of SSH.

pub mod nginx;
pub mod upstream;

use std::sync::Arc;

use async_trait::async_trait;

use self::nginx::NginxDriver;
use crate::domain::event::Change;
use crate::domain::inventory::{Balancer, Driver};
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
    async fn drain(&self, balancer: &Balancer, members: &[Member]) -> Change {
        let Driver::Nginx(nginx) = &balancer.driver;
        self.nginx.drain(balancer, nginx, members).await
    }

    async fn enable(&self, balancer: &Balancer, members: &[Member]) -> Change {
        let Driver::Nginx(nginx) = &balancer.driver;
        self.nginx.enable(balancer, nginx, members).await
    }
}
