//! russh's callbacks for one connection. They translate and never wait: all slow work happens in
//! the session of a channel.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, MethodKind, MethodSet, Pty, server};

use super::forwarded;
use super::proof;
use super::session;
use super::shared::DoorState;
use super::visit::{ChannelUse, CommandSlot, Login, Visit};
use crate::domain::ask;
use crate::domain::ask::enrolled::{Denial, Presented, Proof};
use crate::door::api::Subsystem;
use crate::door::client::Client;

/// One connection.
pub struct Handler {
    shared: DoorState,
    visit: Arc<Visit>,
    from: IpAddr,
    /// The address of the door, as the client reached it.
    reached: SocketAddr,
    /// The message for the owner of an unknown key, printed once.
    invitation: Option<String>,
}

impl Handler {
    pub fn new(shared: DoorState, visit: Arc<Visit>, (from, reached): (IpAddr, SocketAddr)) -> Handler {
        Handler { shared, visit, from, reached, invitation: None }
    }

    /// Logs the owner of a proof in; a refused one is kept for the log.
    fn log_in(&self, user: &str, (proof, security_key): (Proof, bool)) -> Result<(), Denial> {
        let label = proof.label();
        let presented = self.presented(user, proof, security_key);
        match self.shared.desk.admit(&presented) {
            Ok(operator) => {
                // russh calls this only once after a proof was accepted.
                let _ = self.visit.login.set(Login { presented, operator });
                Ok(())
            }
            Err(denial) => {
                self.visit.refuse(user, format!("{label} ({denial})"));
                Err(denial)
            }
        }
    }

    fn presented(&self, user: &str, proof: Proof, security_key: bool) -> Presented {
        let login = ask::login::Login { at: self.shared.desk.clock.now(), security_key };
        Presented { proof, from: self.from, user: user.to_string(), login }
    }

    /// Invites the owner of an unknown key to be enrolled. They have proved to have it.
    fn invite(&mut self, key: &PublicKey) -> Auth {
        let Ok(line) = PublicKey::new(key.key_data().clone(), "").to_openssh() else { return Auth::reject() };
        let fingerprint = proof::digests(key.key_data()).sha256;
        let desk = &self.shared.desk;
        let code = desk.candidates.wait(line, fingerprint.clone(), (self.from, desk.clock.now()));
        self.invitation = Some(format!(
            "The key {fingerprint} is not enrolled here.\nTo be enrolled, ask an admin to run within an hour:\n\n  \
             ssh rollcall operator enroll {code} as YOUR-NAME\n"
        ));
        proceed_with(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive])
    }

    /// An unknown key may be the key of a certificate, or be enrolled.
    fn may_be_offered(&self, user: &str, key: &PublicKey) -> bool {
        let desk = &self.shared.desk;
        let (is_open, has_authorities) = {
            let config = desk.config.borrow();
            (config.settings.door.enrollment, config.operators.has_authorities())
        };
        let proof = Proof::Key(proof::digests(key.key_data()));
        let label = proof.label();
        let presented = self.presented(user, proof, false);
        match desk.admit(&presented) {
            Err(denial) if !is_open && !has_authorities => {
                self.visit.refuse(user, format!("{label} ({denial})"));
                false
            }
            _ => true,
        }
    }

    /// A place for one more channel of a client that has a seat.
    fn place(&self, channel: ChannelUse) -> Option<(Arc<Client>, CommandSlot)> {
        self.visit.seat.get()?;
        Some((self.visit.client.get()?.clone(), self.visit.slot(channel)?))
    }

    /// Refuses a key that is too weak for its signature to count.
    fn is_strong(&self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> bool {
        let weak = proof::weakness(key.key_data(), algorithm);
        let label = || proof::digests(key.key_data()).sha256;
        weak.iter().for_each(|why| self.visit.refuse(user, format!("{} (too weak: {why})", label())));
        weak.is_none()
    }
}

/// A refusal that names the methods to go on with.
fn proceed_with(methods: &[MethodKind]) -> Auth {
    Auth::Reject { proceed_with_methods: Some(MethodSet::from(methods)), partial_success: false }
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
        let counts = is_strong && self.may_be_offered(user, offer.public_key);
        Ok(if counts { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        if !self.is_strong(user, key.public_key, key.algorithm) {
            return Ok(Auth::reject());
        }
        let is_open = self.shared.desk.config.borrow().settings.door.enrollment;
        let data = key.public_key.key_data();
        let proof = Proof::Key(proof::digests(data));
        Ok(match self.log_in(user, (proof, proof::is_security_key(data))) {
            Ok(()) => Auth::Accept,
            Err(Denial::NotEnrolled) if is_open => self.invite(key.public_key),
            Err(_) => Auth::reject(),
        })
    }

    /// No question, only a text: clients print it. Without a terminal (BatchMode) they do not even ask for it.
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        answer: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        match self.invitation.take().filter(|_| answer.is_none()) {
            Some(text) => {
                Ok(Auth::Partial { name: "".into(), instructions: text.into(), prompts: Vec::new().into() })
            }
            None => Ok(proceed_with(&[MethodKind::PublicKey])),
        }
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        let proof = Proof::Certificate(Box::new(proof::certificate(certificate)));
        let security_key = proof::is_certified_security_key(certificate);
        Ok(if self.log_in(user, (proof, security_key)).is_ok() { Auth::Accept } else { Auth::reject() })
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
        // Here, since the first command may come before the task that serves the connection knows of the login.
        if let Some(login) = self.visit.login.get() {
            match self.shared.enter(login, self.reached, session.handle()) {
                Ok(client) => _ = self.visit.client.set(Arc::new(client)),
                Err(error) => {
                    tracing::error!(%error, "no random numbers: no operator can log in");
                    return Err(russh::Error::Disconnect);
                }
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
        let Some((client, slot)) = self.place(ChannelUse::Command) else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        reply.accept().await;
        self.shared.answers.spawn(session::serve(client, self.visit.clone(), channel, slot));
        Ok(())
    }

    /// Nothing is ever forwarded: what is reached this way is the API.
    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        origin: &str,
        origin_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(speaks) = forwarded::spoken_at((host, port), (origin, origin_port), self.reached.port())
        else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        let Some((client, slot)) = self.place(ChannelUse::Forwarded) else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        reply.accept().await;
        self.shared.answers.spawn(forwarded::serve(client, (self.visit.clone(), speaks), channel, slot));
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
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match Subsystem::of(name) {
            Some(_) => session.channel_success(channel),
            None => session.channel_failure(channel),
        }
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
