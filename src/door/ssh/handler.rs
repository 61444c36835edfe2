//! russh's callbacks for one connection. They translate and never wait: all slow work happens in
//! the session of a channel.

use std::sync::Arc;

use russh::keys::{Algorithm, HashAlg, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty, server};

use super::session;
use super::shared::Shared;
use super::visit::{Login, Visit};

/// One connection.
pub struct Handler {
    shared: Shared,
    visit: Arc<Visit>,
}

impl Handler {
    pub fn new(shared: Shared, visit: Arc<Visit>) -> Handler {
        Handler { shared, visit }
    }

    /// The owner of a key; a refused key is kept for the log.
    fn judge(&self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> Option<Login> {
        let fingerprint = fingerprint(key);
        let Some(operator) = self.shared.desk.operator(&fingerprint) else {
            self.visit.refuse(user, format!("{fingerprint} (not in `operators`)"));
            return None;
        };
        if !is_strong(algorithm) {
            self.visit.refuse(user, format!("{fingerprint} (signs with {algorithm}, which is weak)"));
            return None;
        }
        Some(Login { key: fingerprint, operator })
    }
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Signatures with SHA-1 and DSA are refused, even if the lists of algorithms allow them.
fn is_strong(algorithm: &Algorithm) -> bool {
    !matches!(algorithm, Algorithm::Dsa | Algorithm::Rsa { hash: None })
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let login = self.judge(user, offer.public_key, offer.algorithm);
        Ok(if login.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let Some(login) = self.judge(user, key.public_key, key.algorithm) else { return Ok(Auth::reject()) };
        // russh calls this only once after a key was accepted.
        let _ = self.visit.login.set(login);
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        let Some(login) = self.visit.login.get() else { return Err(russh::Error::NotAuthenticated) };
        match self.shared.seats.take(&login.operator) {
            Ok(seat) => _ = self.visit.seat.set(seat),
            Err(why) => {
                self.shared
                    .note("since the operator, or rollcall, has too many", login.operator.name.clone());
                session.disconnect(Disconnect::TooManyConnections, &format!("rollcall: {why}"), "en")?;
                let _ = self.visit.why.set(why);
            }
        }
        self.visit.logged_in.cancel();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.visit.seat.get().is_none() {
            return Ok(());
        }
        let Some(slot) = self.visit.slot() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        reply.accept().await;
        let serving = session::serve(self.shared.desk.clone(), self.visit.clone(), channel, slot);
        self.shared.answers.spawn(serving);
        Ok(())
    }

    // Every request needs a reply, since the client waits for it. The session reads it on its channel.

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
