//! How hosts are dialled, and the credentials of rollcall.

use std::sync::Arc;

use async_trait::async_trait;
use russh::keys::PrivateKey;

use super::authority::Authority;
use crate::port::Stream;

/// How hosts are dialled. If an implementation connects to another machine, the host key shows that.
#[async_trait]
pub trait Dial: Send + Sync {
    async fn dial(&self, address: &str, port: u16) -> std::io::Result<Box<dyn Stream>>;

    /// The addresses of a name, for people.
    async fn resolve(&self, address: &str, _port: u16) -> Result<String, String> {
        Ok(address.into())
    }
}

/// Real TCP.
pub struct TcpDial;

#[async_trait]
impl Dial for TcpDial {
    async fn resolve(&self, address: &str, port: u16) -> Result<String, String> {
        let found = tokio::net::lookup_host((address, port)).await.map_err(|error| error.to_string())?;
        let addresses: Vec<String> = found.map(|one| one.ip().to_string()).collect();
        Ok(addresses.join(", "))
    }

    async fn dial(&self, address: &str, port: u16) -> std::io::Result<Box<dyn Stream>> {
        let stream = tokio::net::TcpStream::connect((address, port)).await?;
        stream.set_nodelay(true)?;
        // Data of an abandoned connection must not arrive later, after the step was repeated over another one
        // or undone.
        stream.set_zero_linger()?;
        Ok(Box::new(stream))
    }
}

/// The credentials for logins.
pub enum Identity {
    /// Signs a certificate for each login.
    Authority(Box<Authority>),
    Key(Arc<PrivateKey>),
    /// The socket of an agent; the keys stay in the agent.
    Agent(std::path::PathBuf),
}

impl Identity {
    /// The CA, if it is one.
    pub fn authority(&self) -> Option<&Authority> {
        match self {
            Identity::Authority(authority) => Some(authority),
            Identity::Key(_) | Identity::Agent(_) => None,
        }
    }
}
