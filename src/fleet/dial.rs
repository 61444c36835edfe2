//! How hosts are dialled, and what rollcall logs in with.

use std::sync::Arc;

use async_trait::async_trait;
use russh::keys::PrivateKey;

use crate::port::Stream;

/// How hosts are dialled. If an implementation connects to somebody else, the host key tells.
#[async_trait]
pub trait Dial: Send + Sync {
    async fn dial(&self, address: &str, port: u16) -> std::io::Result<Box<dyn Stream>>;
}

/// Real TCP.
pub struct Tcp;

#[async_trait]
impl Dial for Tcp {
    async fn dial(&self, address: &str, port: u16) -> std::io::Result<Box<dyn Stream>> {
        let stream = tokio::net::TcpStream::connect((address, port)).await?;
        stream.set_nodelay(true)?;
        // What could not be delivered before a connection was given up is not to arrive later, when it was
        // done again over another one, or undone.
        stream.set_zero_linger()?;
        Ok(Box::new(stream))
    }
}

/// What we log in with.
pub enum Identity {
    Key(Arc<PrivateKey>),
    /// The socket of an agent; the keys stay there.
    Agent(std::path::PathBuf),
}
