//! russh's callbacks for one outbound connection: the host's key is verified here, and every channel that a
//! host may try to open towards us is refused.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use russh::Channel;
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Session};
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate};

use super::shared::FleetState;
use crate::domain::base::output::printable;
use crate::domain::inventory::inventory::Endpoint;
use crate::port::KeyState;

/// Most characters of a text from a host in a message: russh's errors contain such texts, for instance algorithm names.
const FOREIGN_LIMIT_CHARS: usize = 1000;

/// A text that a host may have written, on one line and cut: in an answer it follows the host's name, and
/// must not start a line of its own.
pub fn foreign(text: &str) -> String {
    let line: String = printable(text).replace('\n', "\\n");
    match line.char_indices().nth(FOREIGN_LIMIT_CHARS) {
        Some((end, _)) => format!("{}[...]", &line[..end]),
        None => line,
    }
}

/// Why the handler ended a handshake.
#[derive(Debug)]
pub enum HandshakeRefusal {
    HostKey(String),
    Ssh(russh::Error),
}

impl From<russh::Error> for HandshakeRefusal {
    fn from(error: russh::Error) -> HandshakeRefusal {
        HandshakeRefusal::Ssh(error)
    }
}

/// When and why a connection ended.
#[derive(Clone, Debug)]
pub struct Loss {
    pub at: Timestamp,
    pub why: String,
}

/// Our side of one connection: it verifies the host's key, and refuses every channel that a host may try
/// to open towards us.
pub struct Client {
    pub shared: FleetState,
    pub host: Endpoint,
    /// The key that the host presented.
    pub presented: Arc<Mutex<Option<PublicKey>>>,
    /// Why the connection ended.
    pub lost: Arc<OnceLock<Loss>>,
    /// Ends the handshake once the host has presented its key.
    pub only_key: bool,
}

impl Client {
    fn judge(&self, key: &PublicKey) -> Result<(), String> {
        let Endpoint { name, address, port, .. } = &self.host;
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        let shown = format!("{} {fingerprint}", key.algorithm());
        match self.shared.known_hosts.state(address, *port, key)? {
            KeyState::Known => Ok(()),
            KeyState::Unknown => Err(format!(
                "not known: it presents {shown}; compare it with the host's own, then: host accept {name} {fingerprint}"
            )),
            KeyState::Changed => Err(format!(
                "CHANGED: it presents {shown}, and {} records another one; another machine may answer in its place. \
                 Find out why, then remove the old line for {}",
                self.shared.known_hosts.path().display(),
                super::known_hosts::host_pattern(address, *port)
            )),
            KeyState::Revoked => Err(format!("REVOKED: it presents {shown}, which is marked @revoked")),
        }
    }
}

impl client::Handler for Client {
    type Error = HandshakeRefusal;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, HandshakeRefusal> {
        let verdict = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                *self.presented.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
                if self.only_key {
                    return Ok(false);
                }
                self.judge(key)
            }
            PublicKeyOrCertificate::Certificate(certificate) => {
                let Endpoint { address, port, .. } = &self.host;
                self.shared.known_hosts.check_certificate(
                    address,
                    *port,
                    certificate,
                    self.shared.clock.now(),
                )
            }
        };
        verdict.map(|()| true).map_err(HandshakeRefusal::HostKey)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<HandshakeRefusal>,
    ) -> Result<(), HandshakeRefusal> {
        let why = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                format!("the host hung up: {}", foreign(&info.message))
            }
            DisconnectReason::Error(HandshakeRefusal::Ssh(error)) => match error {
                russh::Error::KeepaliveTimeout => "the host stopped answering".to_string(),
                error => format!("the connection broke: {}", foreign(&error.to_string())),
            },
            DisconnectReason::Error(HandshakeRefusal::HostKey(why)) => why,
        };
        // Only the first reason counts.
        let _ = self.lost.set(Loss { at: self.shared.clock.now(), why });
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeRefusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeRefusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<client::Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeRefusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<client::Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeRefusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeRefusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeRefusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HandshakeRefusal> {
        drop(reply);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_stays_on_its_line() {
        assert_eq!(foreign("bye\nweb02: ok\r\u{1b}[2J"), "bye\\nweb02: ok\\x1b[2J");
        assert_eq!(foreign(&"é".repeat(5000)), "é".repeat(FOREIGN_LIMIT_CHARS) + "[...]");
    }
}
