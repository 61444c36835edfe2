//! Connecting: dial, handshake with strict host keys, authentication. Each phase has a limit,
//! and an error names it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use russh::client::{self, AuthResult};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{Preferred, cipher, compression, kex, mac};
use tokio_util::sync::CancellationToken;

use super::authority::Errand;
use super::client::{Client, HandshakeRefusal};
use super::dial::Identity;
use super::link::{Link, phase};
use super::shared::FleetState;
use super::way::way_to;
use crate::cut::Cut;
use crate::domain::inventory::inventory::Endpoint;
use crate::port::{HostKey, Stream};

/// Most keys offered to one host: sshd disconnects after six attempts (MaxAuthTries).
const KEYS_OFFERED: usize = 5;

/// The result of a handshake.
pub(super) enum Shaken {
    Link(client::Handle<Client>),
    /// The host disconnected before it sent anything; a retry may succeed.
    TryAgain(String),
}

/// What an attempt to connect came to.
pub(super) enum Reached {
    Link(Link),
    Key(HostKey, PublicKey),
    /// The host disconnected before it sent anything; a retry may succeed.
    Dropped(String),
}

/// Connects to a host once, directly or through the connection to its jump host.
pub(super) async fn connect(
    shared: &FleetState,
    (host, jump): (&Endpoint, Option<&Arc<Link>>),
    errand: Errand,
) -> Result<Reached, String> {
    let lost = Arc::new(OnceLock::new());
    let client = Client {
        shared: shared.clone(),
        host: host.clone(),
        presented: Arc::default(),
        lost: lost.clone(),
        only_key: false,
    };
    match shake_hands(shared, host, client, way_to(shared, host, jump).await?).await? {
        Shaken::Link(mut handle) => {
            let login = authenticate(shared, host, &mut handle, errand).await?;
            let link = Link::new(handle, lost, login.forwards);
            Ok(Reached::Link(link))
        }
        Shaken::TryAgain(why) => Ok(Reached::Dropped(why)),
    }
}

/// Connects only until the host presents its key.
pub(super) async fn fetch_host_key(
    shared: &FleetState,
    host: &Endpoint,
    jump: Option<&Arc<Link>>,
) -> Result<Reached, String> {
    let stream = way_to(shared, host, jump).await?;
    let presented = Arc::new(Mutex::new(None));
    let client = Client {
        shared: shared.clone(),
        host: host.clone(),
        presented: presented.clone(),
        lost: Arc::default(),
        only_key: true,
    };
    let result = shake_hands(shared, host, client, stream).await;
    let seen = presented.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (seen, result) {
        (Some(key), _) => {
            let known = shared.known_hosts.state(&host.address, host.port, &key)?;
            let about = HostKey {
                fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
                algorithm: key.algorithm().to_string(),
                known,
            };
            Ok(Reached::Key(about, key))
        }
        (None, Err(why)) => Err(why),
        (None, Ok(Shaken::TryAgain(why))) => Ok(Reached::Dropped(why)),
        (None, Ok(Shaken::Link(_))) => {
            Err(phase(host, "handshake", "it presents a certificate, not a plain key"))
        }
    }
}

pub(super) async fn shake_hands(
    shared: &FleetState,
    host: &Endpoint,
    client: Client,
    stream: impl Stream + 'static,
) -> Result<Shaken, String> {
    let config = client_config(shared, host)?;
    let presented = client.presented.clone();
    // russh continues in its own task after this one stops waiting: the cut ends that task, too.
    let cut = CancellationToken::new();
    let stream = Cut::new(stream, cut.clone());
    let cut = cut.drop_guard();
    let shaking = client::connect_stream(Arc::new(config), stream, client);
    let limit = shared.settings.connect_timeout;
    match tokio::time::timeout(limit, shaking).await {
        Err(_) => Err(phase(
            host,
            "handshake",
            &format!("no answer within {limit:?}; is it an SSH server that is alive?"),
        )),
        Ok(Ok(handle)) => {
            cut.disarm();
            Ok(Shaken::Link(handle))
        }
        Ok(Err(HandshakeRefusal::HostKey(why))) => Err(phase(host, "host key", &why)),
        Ok(Err(HandshakeRefusal::Ssh(error))) => {
            let saw_key = presented.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            let why = error.to_string();
            // No attempt changes the algorithms that a host has.
            let lasting = saw_key || matches!(error, russh::Error::NoCommonAlgo { .. });
            if lasting { Err(phase(host, "handshake", &why)) } else { Ok(Shaken::TryAgain(why)) }
        }
    }
}

/// How a host let rollcall in.
pub(super) struct Login {
    /// For people.
    pub by: String,
    pub forwards: bool,
}

pub(super) async fn authenticate(
    shared: &FleetState,
    host: &Endpoint,
    handle: &mut client::Handle<Client>,
    errand: Errand,
) -> Result<Login, String> {
    let limit = shared.settings.connect_timeout;
    match tokio::time::timeout(limit, offer_all(shared, host, handle, errand)).await {
        Err(_) => Err(phase(host, "authentication", &format!("no answer within {limit:?}"))),
        Ok(Err(why)) => Err(phase(host, "authentication", &why)),
        Ok(Ok(login)) => Ok(login),
    }
}

/// Offers a certificate, if there is a CA, and then the keys.
async fn offer_all(
    shared: &FleetState,
    host: &Endpoint,
    handle: &mut client::Handle<Client>,
    errand: Errand,
) -> Result<Login, String> {
    if let Some(name) = &host.key {
        let key = shared.keys.get(name).ok_or_else(|| no_such_key(name))?;
        return offer_keys(std::slice::from_ref(key), host, handle).await;
    }
    let identities = &shared.identities;
    let authority = identities.iter().find_map(Identity::authority);
    let Some(authority) = authority else { return offer_keys(identities, host, handle).await };
    let result = authority.log_in((host, handle), errand, shared.clock.now()).await;
    match answer(handle, result)? {
        KeyAnswer::Accepted => {
            let by = format!(", by a certificate of the CA {}", authority.fingerprint());
            return Ok(Login { by, forwards: errand.forwards() });
        }
        KeyAnswer::WantsMore(methods) => return Err(wants_more(&methods)),
        KeyAnswer::Refused if handle.is_closed() => {
            return Err("the host disconnected when it had refused the certificate; its log says why".into());
        }
        KeyAnswer::Refused => {}
    }
    // A host that does not trust the CA yet may have the key.
    let keys = match identities.len() {
        1 => String::new(),
        _ => match offer_keys(identities, host, handle).await {
            Ok(login) => return Ok(login),
            Err(why) => format!("; {why}"),
        },
    };
    let why = authority.explain((host, handle), shared.clock.now()).await;
    Err(format!("certificate: {why}{keys}"))
}

fn no_such_key(name: &str) -> String {
    format!(
        "rollcall has started without a key called `{name}`; try: [fleet.keys] in rollcall.toml, then a restart"
    )
}

async fn offer_keys(
    identities: &[Identity],
    host: &Endpoint,
    handle: &mut client::Handle<Client>,
) -> Result<Login, String> {
    let mut offered = 0;
    for identity in identities {
        let answer = match identity {
            Identity::Authority(_) => continue,
            Identity::Key(_) if offered >= KEYS_OFFERED => {
                return Err(format!("more than {KEYS_OFFERED} keys; try: fewer files in [fleet] identity"));
            }
            Identity::Key(key) => {
                offered += 1;
                offer_key(host, handle, key).await?
            }
            Identity::Agent(socket) => offer_agent(host, handle, (socket, None), &mut offered).await?,
            Identity::Pinned(socket, key) => {
                offer_agent(host, handle, (socket, Some(key)), &mut offered).await?
            }
        };
        match answer {
            KeyAnswer::Accepted => return Ok(Login { by: String::new(), forwards: true }),
            KeyAnswer::WantsMore(methods) => return Err(wants_more(&methods)),
            KeyAnswer::Refused if handle.is_closed() => return Err(hung_up(offered)),
            KeyAnswer::Refused => {}
        }
    }
    Err(match offered {
        0 => "keys: rollcall has no key to log in with; try: [fleet] identity, agent or certificates in rollcall.toml"
            .into(),
        n => format!(
            "keys: {n} offered, none accepted for login `{}`; try: its authorized_keys on the host",
            host.login
        ),
    })
}

/// What a host said to a key.
enum KeyAnswer {
    Accepted,
    Refused,
    /// The key is right, and the host wants these methods as well.
    WantsMore(String),
}

impl From<AuthResult> for KeyAnswer {
    fn from(result: AuthResult) -> KeyAnswer {
        match result {
            AuthResult::Success => KeyAnswer::Accepted,
            AuthResult::Failure { partial_success: true, remaining_methods } => {
                let methods: Vec<String> = remaining_methods.iter().map(String::from).collect();
                KeyAnswer::WantsMore(methods.join(", "))
            }
            AuthResult::Failure { .. } => KeyAnswer::Refused,
        }
    }
}

fn wants_more(methods: &str) -> String {
    format!(
        "the key is right, and the host wants a second factor as well ({methods}), which rollcall cannot give; try: \
         `AuthenticationMethods publickey` for this login (Match User) in its sshd_config"
    )
}

fn hung_up(offered: usize) -> String {
    format!(
        "the host disconnected after {offered} keys, and accepted none; its MaxAuthTries may be lower than the number of keys; \
         try: fewer keys, or the right one first, in [fleet] identity"
    )
}

fn is_rsa(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { .. })
}

/// RSA keys sign with SHA-2 only.
async fn hash_for(handle: &client::Handle<Client>, algorithm: &Algorithm) -> Option<HashAlg> {
    if !is_rsa(algorithm) {
        return None;
    }
    handle.best_supported_rsa_hash().await.ok().flatten().flatten().or(Some(HashAlg::Sha512))
}

async fn offer_key(
    host: &Endpoint,
    handle: &mut client::Handle<Client>,
    key: &Arc<PrivateKey>,
) -> Result<KeyAnswer, String> {
    let hash = hash_for(handle, &key.algorithm()).await;
    let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
    let result = handle.authenticate_publickey(host.login.clone(), key).await;
    answer(handle, result.map_err(|error| error.to_string()))
}

async fn offer_agent(
    host: &Endpoint,
    handle: &mut client::Handle<Client>,
    (socket, only): (&std::path::Path, Option<&PublicKey>),
    offered: &mut usize,
) -> Result<KeyAnswer, String> {
    let failed = |error: &dyn std::fmt::Display| format!("agent {}: {error}", socket.display());
    let mut agent = AgentClient::connect_uds(socket).await.map_err(|error| failed(&error))?;
    let identities = agent.request_identities().await.map_err(|error| failed(&error))?;
    let keys = identities.into_iter().filter_map(|identity| match identity {
        AgentIdentity::PublicKey { key, .. } => Some(key),
        AgentIdentity::Certificate { .. } => None,
    });
    let is_it = |key: &PublicKey| only.is_none_or(|only| only.key_data() == key.key_data());
    let keys: Vec<PublicKey> = keys.filter(is_it).collect();
    if let (true, Some(only)) = (keys.is_empty(), only) {
        let fingerprint = only.fingerprint(HashAlg::Sha256);
        return Err(failed(&format!("it does not hold the key {fingerprint}; try: ssh-add")));
    }
    for key in keys {
        if *offered >= KEYS_OFFERED {
            return Err(format!(
                "more than {KEYS_OFFERED} keys; try: an agent that holds rollcall's key only"
            ));
        }
        *offered += 1;
        let hash = hash_for(handle, &key.algorithm()).await;
        let result = handle.authenticate_publickey_with(host.login.clone(), key, hash, &mut agent).await;
        match answer(handle, result.map_err(|error| failed(&error)))? {
            KeyAnswer::Refused if !handle.is_closed() => {}
            answer => return Ok(answer),
        }
    }
    Ok(KeyAnswer::Refused)
}

/// A host that hangs up after too many keys sends no answer to the last one.
fn answer(handle: &client::Handle<Client>, result: Result<AuthResult, String>) -> Result<KeyAnswer, String> {
    match result {
        Ok(result) => Ok(result.into()),
        Err(_) if handle.is_closed() => Ok(KeyAnswer::Refused),
        Err(why) => Err(why),
    }
}

fn client_config(shared: &FleetState, host: &Endpoint) -> Result<client::Config, String> {
    let (mut types, authority) = shared.known_hosts.preferences(&host.address, host.port)?;
    let defaults = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    if types.iter().any(is_rsa) {
        types.retain(|algorithm| !is_rsa(algorithm));
        types.extend(defaults[4..].iter().cloned());
    }
    types.extend(defaults);
    let mut unique: Vec<Algorithm> = Vec::new();
    types.into_iter().for_each(|algorithm| {
        if !unique.contains(&algorithm) {
            unique.push(algorithm)
        }
    });
    let certificates = if authority { unique.clone() } else { Vec::new() };
    Ok(client::Config {
        client_id: russh::SshId::Standard("SSH-2.0-rollcall".into()),
        preferred: Preferred {
            key: Cow::Owned(unique),
            host_key_certificates: Cow::Owned(certificates),
            kex: Cow::Borrowed(KEX),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(&[
                mac::HMAC_SHA512_ETM,
                mac::HMAC_SHA256_ETM,
                mac::HMAC_SHA512,
                mac::HMAC_SHA256,
            ]),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        keepalive_interval: Some(shared.settings.keepalive),
        keepalive_max: 3,
        inactivity_timeout: None,
        nodelay: true,
        ..client::Config::default()
    })
}

/// The names with `ext` and `strict` protect the handshake against truncation (Terrapin).
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];
