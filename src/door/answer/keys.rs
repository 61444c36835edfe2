//! `host accept` and `host forget`: the keys that hosts present, and those that are recorded.

use std::sync::Arc;
use std::time::Duration;

use super::asked::{Asked, Ended};
use crate::domain::ask::audit::{AuditKind, KeyChange};
use crate::domain::ask::command::HostKeys;
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::{HostName, count};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::{Endpoint, Inventory};
use crate::domain::inventory::key_list::{KeyList, Listed};
use crate::port::{HostKey, KeyState};

/// What a set of keys starts with, in place of a fingerprint.
const SET: &str = "SET:";

/// Hexadecimal digits of a set: as hard to imitate as a key.
const SET_DIGITS: usize = 32;

/// How long the input with known keys may take.
const INPUT_LIMIT: Duration = Duration::from_secs(60);

/// Why a key may be recorded.
enum HostKeyProof {
    /// It may not: keys are shown.
    None,
    /// The operator has compared the key of one host.
    Fingerprint(String),
    /// The operator has compared all keys that were shown.
    Set(String),
    /// The operator knows these keys.
    List(KeyList),
    /// The operator wants it without comparing.
    Trust,
}

/// A host, and the key that it presents.
struct PresentedHostKey {
    at: usize,
    host: Endpoint,
    key: HostKey,
}

impl PresentedHostKey {
    fn shown(&self) -> String {
        format!("{} {} {}", self.host.name, self.key.algorithm, self.key.fingerprint)
    }

    fn is_unknown(&self) -> bool {
        self.key.known == KeyState::Unknown
    }
}

impl Asked<'_> {
    pub(super) async fn host_keys(
        &mut self,
        asked: &HostKeys,
        inventory: &Arc<Inventory>,
    ) -> Result<u8, Ended> {
        match asked {
            HostKeys::Accept { selector, fingerprint, trust } => {
                self.host_accept(inventory, selector, (fingerprint.as_deref(), *trust)).await
            }
            HostKeys::Forget { selector } => self.host_forget(inventory, selector).await,
        }
    }

    /// Prints the keys that hosts present, and records those that are proven. A changed key is never recorded.
    async fn host_accept(
        &mut self,
        inventory: &Arc<Inventory>,
        selector: &str,
        (fingerprint, trust): (Option<&str>, bool),
    ) -> Result<u8, Ended> {
        let names = self.pick(inventory, selector).await?;
        let hosts: Vec<Endpoint> =
            names.iter().filter_map(|name| inventory.host(name)).map(|host| host.endpoint.clone()).collect();
        let proof = self.proof(selector, &hosts, (fingerprint, trust)).await?;
        let remote = self.ports().hosts.remote.clone();
        let keys = futures::future::join_all(hosts.iter().map(|host| remote.host_key(host))).await;
        let (mut presented, mut status) = (Vec::new(), 0);
        for (at, (host, key)) in hosts.into_iter().zip(keys).enumerate() {
            match key {
                Ok(key) => presented.push(PresentedHostKey { at, host, key }),
                Err(why) => {
                    status = Cause::Failed.exit_status();
                    self.terminal.err(&format!("rollcall: {why}\n")).await?;
                }
            }
        }
        let set = set_of(&presented);
        if let HostKeyProof::Set(given) = &proof
            && *given != set
        {
            let why = "the keys are not those that were shown; nothing was recorded";
            return Err(Refusal::new(Cause::Failed, why).hint(format!("see: host accept {selector}")).into());
        }
        for one in &presented {
            status = status.max(self.accept_one(one, &proof).await?);
        }
        self.say_set(selector, &presented, &proof).await?;
        Ok(status)
    }

    async fn proof(
        &mut self,
        selector: &str,
        hosts: &[Endpoint],
        (fingerprint, trust): (Option<&str>, bool),
    ) -> Result<HostKeyProof, Ended> {
        Ok(match fingerprint {
            None if trust => HostKeyProof::Trust,
            None => HostKeyProof::None,
            Some("-") => HostKeyProof::List(self.list(hosts).await?),
            Some(set) if set.starts_with(SET) => HostKeyProof::Set(set.into()),
            Some(_) if hosts.len() > 1 => {
                let why = format!("a fingerprint is of one host, and `{selector}` is {} hosts", hosts.len());
                return Err(Refusal::usage(why).hint(format!("see: host accept {selector}")).into());
            }
            Some(fingerprint) => HostKeyProof::Fingerprint(fingerprint.into()),
        })
    }

    /// The keys on standard input.
    async fn list(&mut self, hosts: &[Endpoint]) -> Result<KeyList, Ended> {
        let Some(input) = self.terminal.input() else {
            return Err(Refusal::internal("there is no standard input").into());
        };
        let bytes = tokio::time::timeout(INPUT_LIMIT, input.whole()).await.ok().flatten();
        let hint = "try: host accept SELECTOR - <known_hosts";
        let Some(bytes) = bytes else {
            return Err(Refusal::usage("the known keys on standard input have no end, or are too many")
                .hint(hint)
                .into());
        };
        let list = KeyList::read(&String::from_utf8_lossy(&bytes), hosts);
        Ok(list.map_err(|why| Refusal::usage(why).hint(hint))?)
    }

    /// Prints one key, and records it if it is proven; returns the exit status.
    async fn accept_one(&mut self, one: &PresentedHostKey, proof: &HostKeyProof) -> Result<u8, Ended> {
        let failed = Cause::Failed.exit_status();
        let proven = match proof {
            HostKeyProof::Fingerprint(given) => Some(given.as_str()),
            HostKeyProof::None => None,
            HostKeyProof::Set(_) | HostKeyProof::Trust => {
                one.is_unknown().then_some(one.key.fingerprint.as_str())
            }
            HostKeyProof::List(list) => match list.says(one.at, &one.key.fingerprint) {
                Listed::Same => one.is_unknown().then_some(one.key.fingerprint.as_str()),
                other => {
                    self.terminal
                        .out(&format!("{}{}\n", one.shown(), not_listed(&other, &one.key.known)))
                        .await?;
                    return Ok(failed);
                }
            },
        };
        let Some(fingerprint) = proven else {
            let advice = advice(&one.host.name, &one.key);
            self.terminal.out(&format!("{}{advice}\n", one.shown())).await?;
            let is_fine = matches!(proof, HostKeyProof::None) || one.key.known == KeyState::Known;
            return Ok(if is_fine { 0 } else { failed });
        };
        let remote = self.ports().hosts.remote.clone();
        match remote.accept_host_key(&one.host, fingerprint).await {
            Ok(()) => {
                self.note_key(&one.host.name, KeyChange::Accepted, Some(fingerprint));
                self.say(&format!("{}: recorded\n", one.shown())).await
            }
            Err(why) => {
                self.terminal.err(&format!("rollcall: {why}\n")).await?;
                Ok(failed)
            }
        }
    }

    fn note_key(&self, host: &HostName, change: KeyChange, fingerprint: Option<&str>) {
        let (host, fingerprint) = (host.to_string(), fingerprint.map(String::from));
        self.desk.audit.note(self.caller, AuditKind::HostKey { host, change, fingerprint });
    }

    /// How to record all of the keys that were shown.
    async fn say_set(
        &mut self,
        selector: &str,
        presented: &[PresentedHostKey],
        proof: &HostKeyProof,
    ) -> Result<(), Ended> {
        let unknown = presented.iter().filter(|one| one.is_unknown()).count();
        if unknown < 2 || !matches!(proof, HostKeyProof::None) {
            return Ok(());
        }
        let selector = shell_words::quote(selector);
        let text = format!(
            "{} not known; once you have compared them, record them in one go: host accept {selector} {}\n\
             or compare them with a list (known_hosts, ssh-keyscan, ssh-keygen -l): host accept {selector} - <LIST\n",
            count(unknown, "key"),
            set_of(presented)
        );
        Ok(self.terminal.out(&text).await?)
    }

    /// Removes the recorded keys of hosts, for hosts that were made anew.
    async fn host_forget(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
        let names = self.pick(inventory, selector).await?;
        let remote = self.ports().hosts.remote.clone();
        let mut status = 0;
        for host in names.iter().filter_map(|name| inventory.host(name)) {
            match remote.forget_host_key(&host.endpoint).await {
                Ok(0) => self.terminal.out(&format!("{}: no key was recorded\n", host.name)).await?,
                Ok(keys) => {
                    self.note_key(&host.name, KeyChange::Forgotten, None);
                    let keys = count(keys, "key");
                    let text = format!("{0}: {keys} forgotten; then: host accept {0}\n", host.name);
                    self.terminal.out(&text).await?;
                }
                Err(why) => {
                    status = Cause::Failed.exit_status();
                    self.terminal.err(&format!("rollcall: {}: {why}\n", host.name)).await?;
                }
            }
        }
        Ok(status)
    }
}

/// Stands for all unknown keys that hosts present.
fn set_of(presented: &[PresentedHostKey]) -> String {
    let unknown = presented.iter().filter(|one| one.is_unknown());
    let all: String = unknown.map(|one| format!("{} {}\n", one.host.name, one.key.fingerprint)).collect();
    format!("{SET}{}", &sha256_hex(all.as_bytes())[..SET_DIGITS])
}

fn advice(host: &HostName, key: &HostKey) -> String {
    match key.known {
        KeyState::Known => ": known".into(),
        KeyState::Unknown => format!(
            ": not known; compare it on the host (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then: \
             host accept {host} {}",
            key.fingerprint
        ),
        KeyState::Changed => format!(
            ": CHANGED: another key is recorded; find out why; if the host was reinstalled: host forget {host}"
        ),
        KeyState::Revoked => ": REVOKED".into(),
    }
}

/// Why a key that the list does not have is not recorded.
fn not_listed(listed: &Listed, state: &KeyState) -> String {
    let recorded = match state {
        KeyState::Known => "; it is recorded already",
        KeyState::Unknown => "; not recorded",
        KeyState::Changed => "; CHANGED: another key is recorded",
        KeyState::Revoked => "; REVOKED",
    };
    match listed {
        Listed::Others(keys) => format!(": NOT THE KEY OF THE LIST ({}){recorded}", keys.join(", ")),
        Listed::Nothing | Listed::Same => format!(": the list has no key of this host{recorded}"),
    }
}
