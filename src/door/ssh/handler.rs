//! russh's callbacks for one connection. They translate and never wait: whatever takes time happens in
//! the session of a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use russh::keys::{Algorithm, HashAlg, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, server};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::session;
use crate::domain::access::Operator;
use crate::door::Desk;

/// Channels on one connection: OpenSSH's own limit for sessions is 10.
const CHANNELS_PER_CONNECTION: usize = 16;

/// One connection.
pub struct Handler {
    desk: Desk,
    logged_in: CancellationToken,
    /// Fingerprint of the key that was proven.
    key: Option<String>,
    channels: Arc<AtomicUsize>,
    /// Answers that are being given, on all connections.
    answers: TaskTracker,
}

/// Counts one channel for as long as its session lives.
pub struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handler {
    pub fn new(desk: Desk, answers: TaskTracker, logged_in: CancellationToken) -> Handler {
        Handler { desk, logged_in, key: None, channels: Arc::default(), answers }
    }

    fn knows(&self, key: &PublicKey) -> bool {
        operator(&self.desk, &fingerprint(key)).is_some()
    }
}

/// The operator of a key, by the configuration in force now: a key that was taken out of it is refused
/// at its next command.
pub fn operator(desk: &Desk, fingerprint: &str) -> Option<Operator> {
    desk.config.borrow().operators.iter().find(|operator| operator.key == fingerprint).cloned()
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Signatures with SHA-1 and DSA are not accepted, whatever the lists of algorithms say.
fn is_strong(algorithm: &Algorithm) -> bool {
    !matches!(algorithm, Algorithm::Dsa | Algorithm::Rsa { hash: None })
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let known = self.knows(offer.public_key) && is_strong(offer.algorithm);
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let fingerprint = fingerprint(key.public_key);
        if !is_strong(key.algorithm) || operator(&self.desk, &fingerprint).is_none() {
            tracing::warn!(user = ?user, %fingerprint, "a login was refused");
            return Ok(Auth::reject());
        }
        self.key = Some(fingerprint);
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), russh::Error> {
        self.logged_in.cancel();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(key) = self.key.clone() else { return Ok(()) };
        if self.channels.fetch_add(1, Ordering::Relaxed) >= CHANNELS_PER_CONNECTION {
            self.channels.fetch_sub(1, Ordering::Relaxed);
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let slot = Slot(self.channels.clone());
        reply.accept().await;
        self.answers.spawn(session::serve(self.desk.clone(), key, channel, slot));
        Ok(())
    }

    // Every request has to be replied to: a client waits for it. The session sees it on its channel.

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }
}
