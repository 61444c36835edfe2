//! How hosts are dialled, and the credentials of rollcall.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::keys::{PrivateKey, PublicKey};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::authority::{Authority, read_key};
use super::first::first_of;
use crate::port::Stream;

/// How hosts are dialled. If an implementation connects to another machine, the host key shows that.
#[async_trait]
pub trait Dial: Send + Sync {
    async fn dial(&self, address: &str, port: u16) -> std::io::Result<Box<dyn Stream>>;

    /// The same, for so long at most. The error is for people.
    async fn dial_within(
        &self,
        address: &str,
        port: u16,
        limit: Duration,
    ) -> Result<Box<dyn Stream>, String> {
        within(limit, self.dial(address, port)).await
    }

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
        prepared(TcpStream::connect((address, port)).await?)
    }

    async fn dial_within(
        &self,
        address: &str,
        port: u16,
        limit: Duration,
    ) -> Result<Box<dyn Stream>, String> {
        let found = within(limit, tokio::net::lookup_host((address, port))).await?;
        let stream = connect_any(&interleaved(found.collect()), limit).await?;
        prepared(stream).map_err(|error| error.to_string())
    }
}

fn prepared(stream: TcpStream) -> std::io::Result<Box<dyn Stream>> {
    stream.set_nodelay(true)?;
    // Data of an abandoned connection must not arrive later, after the step was repeated over another one
    // or undone.
    stream.set_zero_linger()?;
    Ok(Box::new(stream))
}

async fn within<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(no_answer(limit)),
    }
}

pub(super) fn no_answer(limit: Duration) -> String {
    format!("no answer within {limit:?}")
}

/// Connects to the addresses of one name in turn.
async fn connect_any(found: &[SocketAddr], limit: Duration) -> Result<TcpStream, String> {
    let shown: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
    let addresses: Vec<&str> = shown.iter().map(String::as_str).collect();
    first_of(&addresses, |place| within(limit, TcpStream::connect(found[place]))).await
}

/// The families of addresses in turn, each in the order of the system, which puts the best one first (RFC 8305, section 4):
/// when one family does not work, the second attempt does.
fn interleaved(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut all = Vec::new();
    while let Some(next) = one.pop_front() {
        if !all.contains(&next) {
            all.push(next);
        }
        if !other.is_empty() {
            std::mem::swap(&mut one, &mut other);
        }
    }
    all
}

/// The credentials for logins.
pub enum Identity {
    /// Signs a certificate for each login.
    Authority(Box<Authority>),
    Key(Arc<PrivateKey>),
    /// The socket of an agent; the keys stay in the agent.
    Agent(PathBuf),
    /// The one key of an agent.
    Pinned(PathBuf, Box<PublicKey>),
}

impl Identity {
    /// The CA, if it is one.
    pub fn authority(&self) -> Option<&Authority> {
        match self {
            Identity::Authority(authority) => Some(authority),
            Identity::Key(_) | Identity::Agent(_) | Identity::Pinned(..) => None,
        }
    }
}

/// The credentials that the fleet logs in with: certificates first, then private keys, then those of an agent. With keys
/// that name some of an agent, the others in it are not offered.
///
/// A key with a passphrase is refused: use an agent.
pub fn read_identities(
    authority: Option<Authority>,
    files: &[PathBuf],
    agent: Option<&PathBuf>,
) -> Result<Vec<Identity>, String> {
    let mut identities: Vec<Identity> =
        authority.map(Box::new).map(Identity::Authority).into_iter().collect();
    for path in files {
        identities.push(read_identity("identity", path, agent)?);
    }
    let pinned = identities.iter().any(|identity| matches!(identity, Identity::Pinned(..)));
    identities.extend(agent.filter(|_| !pinned).map(|socket| Identity::Agent(socket.clone())));
    Ok(identities)
}

/// One key: a private one, or a public one that the agent signs with.
pub fn read_identity(what: &str, path: &Path, agent: Option<&PathBuf>) -> Result<Identity, String> {
    let Ok(public) = russh::keys::load_public_key(path) else {
        return Ok(Identity::Key(Arc::new(read_key(what, path, "an agent ([fleet] agent)")?)));
    };
    match agent {
        Some(socket) => Ok(Identity::Pinned(socket.clone(), Box::new(public))),
        None => Err(format!(
            "{what} {}: it is a public key, which an agent signs with; try: [fleet] agent, or the private key",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_each_address_is_tried_once() {
        let of = |list: &str| -> Vec<SocketAddr> {
            list.split_whitespace().map(|one| one.parse().unwrap()).collect()
        };
        for (found, tried) in [
            ("", ""),
            ("192.0.2.1:22", "192.0.2.1:22"),
            ("192.0.2.1:22 192.0.2.1:22", "192.0.2.1:22"),
            (
                "[2001:db8::1]:22 [2001:db8::2]:22 [2001:db8::3]:22 192.0.2.1:22 192.0.2.2:22",
                "[2001:db8::1]:22 192.0.2.1:22 [2001:db8::2]:22 192.0.2.2:22 [2001:db8::3]:22",
            ),
            (
                "192.0.2.1:22 [2001:db8::1]:22 [2001:db8::2]:22",
                "192.0.2.1:22 [2001:db8::1]:22 [2001:db8::2]:22",
            ),
        ] {
            assert_eq!(interleaved(of(found)), of(tried), "{found}");
        }
    }
}
