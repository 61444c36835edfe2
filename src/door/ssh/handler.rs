//! russh's callbacks for one connection. They translate and never wait: all slow work happens in
//! the session of a channel.

use std::net::IpAddr;
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty, server};

use super::proof;
use super::session;
use super::shared::Shared;
use super::visit::{Login, Visit};
use crate::domain::ask::enrolled::{Presented, Proof};

/// One connection.
pub struct Handler {
    shared: Shared,
    visit: Arc<Visit>,
    from: IpAddr,
}

impl Handler {
    pub fn new(shared: Shared, visit: Arc<Visit>, from: IpAddr) -> Handler {
        Handler { shared, visit, from }
    }

    /// Logs the owner of a proof in; a refused one is kept for the log.
    fn log_in(&self, user: &str, proof: Proof) -> Auth {
        let label = proof.label();
        let presented = Presented { proof, from: self.from, user: user.to_string() };
        match self.shared.desk.admit(&presented) {
            Ok(operator) => {
                // russh calls this only once after a proof was accepted.
                let _ = self.visit.login.set(Login { presented, operator });
                Auth::Accept
            }
            Err(denial) => {
                self.visit.refuse(user, format!("{label} ({denial})"));
                Auth::reject()
            }
        }
    }

    /// Refuses a key that is too weak for its signature to count.
    fn is_strong(&self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> bool {
        let weak = proof::weakness(key.key_data(), algorithm);
        let label = || proof::digests(key.key_data()).sha256;
        weak.iter().for_each(|why| self.visit.refuse(user, format!("{} (too weak: {why})", label())));
        weak.is_none()
    }
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        // A certificate is offered as the bare key in it, so an unknown key may be the key of a certificate.
        let is_strong = self.is_strong(user, offer.public_key, offer.algorithm);
        Ok(if is_strong { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        if !self.is_strong(user, key.public_key, key.algorithm) {
            return Ok(Auth::reject());
        }
        Ok(self.log_in(user, Proof::Key(proof::digests(key.public_key.key_data()))))
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        Ok(self.log_in(user, Proof::Certificate(Box::new(proof::certificate(certificate)))))
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
