//! The outbound side: one SSH connection for each host, kept and shared. Implements [`Remote`].

mod client;
pub mod connect;
pub mod dial;
mod exec;
pub mod here;
pub mod known_hosts;
mod shared;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::connect::{Link, Target, connect, look_at_key, open_through, phase};
use self::dial::Identity;
use self::shared::Shared;
pub use self::shared::{Parts, Settings};
use crate::domain::inventory::inventory::Endpoint;
use crate::port::{Exec, ExecEnd, ExecReport, HostKey, KeyState, OpenError, Remote, Stream};

/// Most commands at the same time on one connection: sshd allows ten (MaxSessions), and two are left for
/// people who log in.
const CHANNELS_PER_HOST: usize = 8;

/// All hosts, as this daemon reaches them.
pub struct Fleet {
    shared: Shared,
    slots: Mutex<HashMap<Endpoint, Arc<Slot>>>,
    handshakes: Semaphore,
}

/// The slot of one host's connection.
struct Slot {
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    channels: Semaphore,
}

/// Reads the private keys that the fleet logs in with.
///
/// A key that others can read is refused, as `ssh` does; so is one with a passphrase: use an agent.
pub fn read_identities(files: &[PathBuf], agent: Option<&PathBuf>) -> Result<Vec<Identity>, String> {
    let mut identities = Vec::new();
    for path in files {
        identities.push(Identity::Key(Arc::new(read_key(path)?)));
    }
    identities.extend(agent.map(|socket| Identity::Agent(socket.clone())));
    Ok(identities)
}

fn read_key(path: &std::path::Path) -> Result<russh::keys::PrivateKey, String> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let about = std::fs::metadata(path).map_err(|error| format!("identity {shown}: {error}"))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(format!("identity {shown}: others can read it; try: chmod 600 {shown}"));
    }
    russh::keys::load_secret_key(path, None).map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => {
            format!("identity {shown}: it has a passphrase; try: an agent ([fleet] agent)")
        }
        error => format!("identity {shown}: {error}"),
    })
}

impl Fleet {
    /// A fleet without any connection yet.
    pub fn new(parts: Parts) -> Fleet {
        let handshakes = Semaphore::new(parts.settings.parallel);
        Fleet { shared: Shared(Arc::new(parts)), slots: Mutex::default(), handshakes }
    }

    fn slot(&self, host: &Endpoint) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let empty =
            || Arc::new(Slot { link: Default::default(), channels: Semaphore::new(CHANNELS_PER_HOST) });
        slots.entry(host.clone()).or_insert_with(empty).clone()
    }

    /// The connection to a host; created if none is alive. Other callers wait for it.
    async fn link(&self, host: &Endpoint) -> Result<Arc<Link>, String> {
        let slot = self.slot(host);
        let mut place = slot.link.lock().await;
        if let Some(link) = place.as_ref().filter(|link| !link.is_closed()) {
            return Ok(link.clone());
        }
        *place = None;
        let link = Arc::new(self.connect(host).await?);
        *place = Some(link.clone());
        Ok(link)
    }

    async fn connect(&self, host: &Endpoint) -> Result<Link, String> {
        // The jump host is connected first: waiting for it while holding a permit could wait forever.
        let jump = match &host.via {
            Some(via) => {
                Some(Box::pin(self.link(via)).await.map_err(|why| format!("via {}: {why}", via.name))?)
            }
            None => None,
        };
        let _permit = self.handshakes.acquire().await.map_err(|error| error.to_string())?;
        connect(&self.shared, host, jump.as_deref()).await
    }

    /// A channel for one command. If a kept connection turns out to be dead before anything was
    /// sent on it, a new one is made, once.
    async fn channel(
        &self,
        host: &Endpoint,
    ) -> Result<(Arc<Link>, russh::Channel<russh::client::Msg>), String> {
        let mut link = self.link(host).await?;
        let limit = self.shared.settings.connect_timeout;
        for last in [false, true] {
            match timeout(limit, link.handle.channel_open_session()).await {
                Ok(Ok(channel)) => return Ok((link, channel)),
                Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                    return Err(phase(
                        host,
                        "channel",
                        &format!("{why:?}; sshd's MaxSessions may be reached"),
                    ));
                }
                Ok(Err(error)) if last => return Err(phase(host, "channel", &error.to_string())),
                Err(_) if last => return Err(phase(host, "channel", &format!("no answer within {limit:?}"))),
                _ => {
                    self.forget(host, &link).await;
                    link = self.link(host).await?;
                }
            }
        }
        Err(phase(host, "channel", "gave up"))
    }

    /// A connection from the host to `target`, over the connection to the host. A dead one
    /// is replaced, once.
    async fn forward(&self, host: &Endpoint, target: &Target<'_>) -> Result<Box<dyn Stream>, OpenError> {
        let limit = self.shared.settings.connect_timeout;
        let mut link = self.link(host).await.map_err(OpenError::NoContact)?;
        match timeout(limit, open_through(&link, target)).await {
            Ok(Err(_)) if link.is_closed() => {
                self.forget(host, &link).await;
                link = self.link(host).await.map_err(OpenError::NoContact)?;
                open_through(&link, target).await
            }
            Ok(opened) => opened,
            Err(_) => Err(OpenError::Blind(format!("the host did not open a connection within {limit:?}"))),
        }
    }

    async fn forget(&self, host: &Endpoint, dead: &Arc<Link>) {
        let slot = self.slot(host);
        let mut place = slot.link.lock().await;
        if place.as_ref().is_some_and(|link| Arc::ptr_eq(link, dead)) {
            *place = None;
        }
    }

    /// Closes the connections to all hosts.
    pub async fn close(&self) {
        let slots: Vec<Arc<Slot>> =
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            if let Some(link) = slot.link.lock().await.take() {
                connect::hang_up(&link).await;
            }
        }
    }
}

#[async_trait]
impl Remote for Fleet {
    async fn exec(&self, host: &Endpoint, request: Exec) -> ExecReport {
        if request.fresh {
            return self.exec_anew(host, request).await;
        }
        let slot = self.slot(host);
        let connected = async {
            let permit = slot.channels.acquire().await.map_err(|error| error.to_string())?;
            self.link(host).await.map(|_| permit)
        };
        let permit = tokio::select! {
            biased;
            () = request.cancel.cancelled() => Err(ExecEnd::NotStarted("cancelled".into())),
            permit = connected => permit.map_err(ExecEnd::NotStarted),
        };
        let opened = match permit {
            // Opening is not raced against the cancel: a channel that opened late would stay open.
            Ok(permit) => {
                self.channel(host).await.map(|opened| (permit, opened)).map_err(ExecEnd::NotStarted)
            }
            Err(end) => Err(end),
        };
        match opened {
            Ok((_permit, (link, channel))) => exec::exec(channel, request, || link.why_lost()).await,
            Err(end) => ExecReport { end, stdout: Default::default(), stderr: Default::default() },
        }
    }

    async fn open(&self, host: &Endpoint, address: &str, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        self.forward(host, &Target::Tcp(address, port)).await
    }

    async fn open_unix(&self, host: &Endpoint, path: &str) -> Result<Box<dyn Stream>, OpenError> {
        self.forward(host, &Target::Unix(path)).await
    }

    async fn reach(&self, host: &Endpoint) -> Result<(), String> {
        self.link(host).await.map(drop)
    }

    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String> {
        Ok(self.look(host).await?.0)
    }

    async fn accept_host_key(&self, host: &Endpoint, fingerprint: &str) -> Result<(), String> {
        let (about, key) = self.look(host).await?;
        match about.known {
            KeyState::Known | KeyState::Unknown if about.fingerprint == fingerprint => {}
            KeyState::Revoked => {
                return Err(format!("{}: its key is marked @revoked; nothing was recorded", host.name));
            }
            _ => {
                return Err(format!(
                    "{} presents {}, not {fingerprint}; nothing was recorded",
                    host.name, about.fingerprint
                ));
            }
        }
        self.shared.known_hosts.record(&host.address, host.port, &key).await
    }
}

impl Fleet {
    /// Runs a command over a separate connection that ends with it.
    async fn exec_anew(&self, host: &Endpoint, request: Exec) -> ExecReport {
        let opened = async {
            let link = self.connect(host).await?;
            let limit = self.shared.settings.connect_timeout;
            match timeout(limit, link.handle.channel_open_session()).await {
                Ok(Ok(channel)) => Ok((link, channel)),
                Ok(Err(error)) => Err(phase(host, "channel", &error.to_string())),
                Err(_) => Err(phase(host, "channel", &format!("no answer within {limit:?}"))),
            }
        };
        match opened.await {
            Ok((link, channel)) => {
                let report = exec::exec(channel, request, || link.why_lost()).await;
                connect::hang_up(&link).await;
                report
            }
            Err(why) => ExecReport {
                end: ExecEnd::NotStarted(why),
                stdout: Default::default(),
                stderr: Default::default(),
            },
        }
    }

    async fn look(&self, host: &Endpoint) -> Result<(HostKey, russh::keys::PublicKey), String> {
        let jump = match &host.via {
            Some(via) => Some(self.link(via).await?),
            None => None,
        };
        look_at_key(&self.shared, host, jump.as_deref()).await
    }
}
