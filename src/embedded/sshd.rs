//! An SSH server for one host: public keys, commands and forwarded TCP connections, nothing else. It
//! runs over any stream and waits on nothing but messages, so paused time and memory streams do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey, run_stream,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Preferred, Pty, compression};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::behaviour::{Behaviour, Door};
use super::channel;

use crate::cut::Cut;
use crate::port::Stream;

/// Channels on one connection: far more than rollcall opens; keeps a client that goes astray small.
const CHANNELS: usize = 256;

/// Connections to one host: rollcall keeps one, people and tests add a few.
const CONNECTIONS: usize = 64;

/// From the first byte to the end of authentication, as sshd's LoginGraceTime.
const LOGIN_GRACE: Duration = Duration::from_secs(30);

/// Before accepting again when the system refuses to: it has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The SSH server of one host. Clones are the same host.
#[derive(Clone)]
pub struct Sshd {
    public_key: Arc<PublicKey>,
    authorized: Arc<[PublicKey]>,
    behaviour: Arc<dyn Behaviour>,
    config: Arc<Config>,
}

impl Sshd {
    /// A host with `host_key` that lets in the holder of any of the `authorized` keys, by any login.
    pub fn new(host_key: PrivateKey, authorized: Vec<PublicKey>, behaviour: Arc<dyn Behaviour>) -> Sshd {
        Sshd {
            public_key: Arc::new(host_key.public_key().clone()),
            authorized: authorized.into(),
            behaviour,
            config: Arc::new(config(host_key)),
        }
    }

    /// What clients see as the host's key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Serves one connection until it ends. When this is dropped the connection is cut.
    pub async fn serve(&self, stream: impl Stream + 'static) {
        let cut = CancellationToken::new();
        let _cut_when_dropped = cut.clone().drop_guard();
        let entered = Arc::new(AtomicBool::new(false));
        let guest = Guest {
            host: self.clone(),
            cut: cut.clone(),
            entered: entered.clone(),
            places: Arc::new(Semaphore::new(CHANNELS)),
            waiting: BTreeMap::new(),
        };
        let late = tokio::time::sleep(LOGIN_GRACE);
        tokio::pin!(late);
        let starting = run_stream(self.config.clone(), Cut::new(stream, cut), guest);
        let session = tokio::select! {
            biased;
            session = starting => session,
            () = &mut late => return,
        };
        // How a client went is no news for a host.
        let Ok(mut session) = session else { return };
        tokio::select! {
            biased;
            _ = &mut session => return,
            () = &mut late => {}
        }
        if entered.load(Ordering::Relaxed) {
            let _ = session.await;
        }
    }

    /// Serves everybody who connects, until `shutdown`; then all connections are cut.
    pub async fn listen(&self, listener: TcpListener, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match stream {
                Ok((stream, _)) if connections.len() < CONNECTIONS => {
                    // Without it answers are late, not wrong.
                    let _ = stream.set_nodelay(true);
                    let host = self.clone();
                    connections.spawn(async move { host.serve(stream).await });
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
        connections.shutdown().await;
    }
}

fn config(host_key: PrivateKey) -> Config {
    Config {
        server_id: russh::SshId::Standard("SSH-2.0-rollcall_embedded".into()),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // Keys are not guessed here, and a test that is refused should not wait.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        preferred: Preferred { compression: Cow::Borrowed(&[compression::NONE]), ..Preferred::default() },
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    }
}

/// One connection, as russh sees it.
struct Guest {
    host: Sshd,
    /// Ends the connection without a word.
    cut: CancellationToken,
    entered: Arc<AtomicBool>,
    places: Arc<Semaphore>,
    /// Sessions that wait for their command.
    waiting: BTreeMap<ChannelId, oneshot::Sender<String>>,
}

impl Guest {
    fn judge(&self, key: &PublicKey) -> Auth {
        let known = self.host.authorized.iter().any(|one| one.key_data() == key.key_data());
        if known { Auth::Accept } else { Auth::reject() }
    }

    fn door(&self, session: &Session) -> Door {
        Door { behaviour: self.host.behaviour.clone(), handle: session.handle(), cut: self.cut.clone() }
    }
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(key.public_key))
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.entered.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let (start, started) = oneshot::channel();
        self.waiting.insert(channel.id(), start);
        let door = self.door(session);
        tokio::spawn(async move {
            channel::session(channel, started, door).await;
            drop(place);
        });
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let (Ok(place), Ok(port)) = (self.places.clone().try_acquire_owned(), u16::try_from(port)) else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let (door, address) = (self.door(session), address.to_string());
        tokio::spawn(async move {
            channel::forward(channel, &address, port, reply, door).await;
            drop(place);
        });
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.waiting.remove(&channel);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let command = String::from_utf8(command.to_vec()).ok();
        let accepted = match (command, self.waiting.remove(&channel)) {
            (Some(command), Some(start)) => start.send(command).is_ok(),
            _ => false,
        };
        if accepted { session.channel_success(channel) } else { session.channel_failure(channel) }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
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
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
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
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}
