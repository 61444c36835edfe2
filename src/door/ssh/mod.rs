//! The SSH door: operators reach rollcall with their own key. Accepts connections within bounds,
//! authenticates by key, and gives every channel a session of its own.

mod handler;
mod session;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use russh::{MethodKind, MethodSet, Preferred, cipher, compression, kex, mac, server};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::handler::Handler;
use super::Desk;
use crate::engine::port::Stream;

/// How long somebody may take to log in. Each complete packet would reset an inactivity limit, so this
/// one is absolute.
const LOGIN_GRACE: Duration = Duration::from_secs(20);

/// Connections that have not logged in yet, in all: a flood must not take the memory of the daemon.
const PENDING_LIMIT: usize = 256;

/// The same from one address: one source must not take all the places, and a script that asks for many
/// things at once must get in.
const PENDING_LIMIT_PER_SOURCE: usize = 64;

/// After `accept` failed, for instance without a free file descriptor: time for others to finish.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long clients may take to read the last of their answers when rollcall stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// Messages that wait for one channel's reader, and so bound what a client can make us keep.
const CHANNEL_BUFFER: usize = 16;

/// A listening door.
pub struct SshDoor {
    desk: Desk,
    config: Arc<server::Config>,
    pending: Arc<Mutex<HashMap<IpAddr, usize>>>,
    answers: TaskTracker,
}

/// A connection's place among those that have not logged in.
struct Place {
    pending: Arc<Mutex<HashMap<IpAddr, usize>>>,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pending.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                pending.remove(&self.source);
            }
        }
    }
}

impl SshDoor {
    /// A door with this host key.
    pub fn new(desk: Desk, host_key: PrivateKey) -> SshDoor {
        SshDoor {
            desk,
            config: Arc::new(server_config(host_key)),
            pending: Arc::default(),
            answers: TaskTracker::new(),
        }
    }

    /// Waits until every answer that is being given has arrived; no longer than [`FAREWELL`].
    pub async fn answered(&self) {
        self.answers.close();
        if tokio::time::timeout(FAREWELL, self.answers.wait()).await.is_err() {
            tracing::debug!("some clients did not take their answers");
        }
    }

    /// Accepts connections until `stop`; then nothing new, while those that are there go on.
    pub async fn listen(&self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => match self.place(from.ip()) {
                    Some(place) => {
                        // Without it answers are slower, not wrong.
                        let _ = stream.set_nodelay(true);
                        tokio::spawn(serve(self.handler_parts(), self.config.clone(), stream, Some(place)));
                    }
                    None => {
                        tracing::warn!(%from, "too many connections wait for a login; this one is closed")
                    }
                },
                Err(error) => {
                    tracing::error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection over any stream.
    pub async fn serve(&self, stream: impl Stream + 'static) {
        serve(self.handler_parts(), self.config.clone(), stream, None).await;
    }

    fn handler_parts(&self) -> (Desk, TaskTracker) {
        (self.desk.clone(), self.answers.clone())
    }

    fn place(&self, source: IpAddr) -> Option<Place> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let here = pending.get(&source).copied().unwrap_or(0);
        if pending.values().sum::<usize>() >= PENDING_LIMIT || here >= PENDING_LIMIT_PER_SOURCE {
            return None;
        }
        pending.insert(source, here + 1);
        Some(Place { pending: self.pending.clone(), source })
    }
}

async fn serve(
    (desk, answers): (Desk, TaskTracker),
    config: Arc<server::Config>,
    stream: impl Stream + 'static,
    place: Option<Place>,
) {
    let logged_in = CancellationToken::new();
    let handler = Handler::new(desk, answers, logged_in.clone());
    let session = async {
        match server::run_stream(config, stream, handler).await {
            Ok(running) => running.await,
            Err(error) => Err(error),
        }
    };
    tokio::pin!(session);
    let ended = tokio::select! {
        ended = &mut session => Some(ended),
        () = logged_in.cancelled() => None,
        () = tokio::time::sleep(LOGIN_GRACE) => {
            tracing::info!("nobody logged in within {LOGIN_GRACE:?}; connection closed");
            return;
        }
    };
    drop(place);
    let ended = match ended {
        Some(ended) => ended,
        None => session.await,
    };
    match ended {
        Ok(()) => tracing::debug!("a connection was left"),
        Err(error) => tracing::debug!(%error, "a connection was lost"),
    }
}

fn server_config(host_key: PrivateKey) -> server::Config {
    server::Config {
        server_id: russh::SshId::Standard("SSH-2.0-rollcall".into()),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        keys: vec![host_key],
        auth_rejection_time: Duration::from_secs(1),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 10,
        // People watch runs for hours without a word.
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 3,
        channel_buffer_size: CHANNEL_BUFFER,
        nodelay: true,
        preferred: Preferred {
            // The names with `ext` and `strict` keep the handshake safe from being cut (Terrapin).
            kex: Cow::Borrowed(&[
                kex::MLKEM768X25519_SHA256,
                kex::CURVE25519,
                kex::CURVE25519_PRE_RFC_8731,
                kex::EXTENSION_SUPPORT_AS_SERVER,
                kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
            ]),
            key: Cow::Borrowed(&[Algorithm::Ed25519]),
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
            ]),
            mac: Cow::Borrowed(&[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..server::Config::default()
    }
}
