//! `host accept`: the keys that hosts present, and their recorded states.

use std::sync::Arc;

use super::asked::{Asked, Ended};
use crate::domain::base::name::HostName;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::Inventory;
use crate::port::KeyState;

impl Asked<'_> {
    /// Prints the keys that hosts present. A key is recorded when its fingerprint was given, or, on the
    /// operator's request, for hosts without a recorded key.
    pub(super) async fn host_accept(
        &mut self,
        inventory: &Arc<Inventory>,
        selector: &str,
        fingerprint: Option<&str>,
        trust: bool,
    ) -> Result<u8, Ended> {
        let names = self.pick(inventory, selector).await?;
        if fingerprint.is_some() && names.len() > 1 {
            return Err(Refusal::usage(format!(
                "a fingerprint is of one host, and `{selector}` is {} hosts",
                names.len()
            ))
            .into());
        }
        let hosts: Vec<_> =
            names.iter().filter_map(|name| inventory.host(name)).map(|host| host.endpoint.clone()).collect();
        let remote = self.ports().remote.clone();
        let looks = futures::future::join_all(hosts.iter().map(|host| remote.host_key(host))).await;
        let mut status = 0;
        for (host, look) in hosts.iter().zip(looks) {
            let line = match look {
                Err(why) => Err(why),
                Ok(key) => {
                    let wanted = match (fingerprint, trust && key.known == KeyState::Unknown) {
                        (Some(fingerprint), _) => Some(fingerprint.to_string()),
                        (None, true) => Some(key.fingerprint.clone()),
                        (None, false) => None,
                    };
                    let shown = format!("{} {} {}", host.name, key.algorithm, key.fingerprint);
                    match wanted {
                        Some(fingerprint) => remote
                            .accept_host_key(host, &fingerprint)
                            .await
                            .map(|()| format!("{shown}: recorded")),
                        None => {
                            // A changed key is never recorded by `--trust`: that is not what was asked for.
                            if trust && key.known != KeyState::Known {
                                status = Cause::Failed.exit_status();
                            }
                            Ok(shown + &advice(&host.name, &key.known, &key.fingerprint))
                        }
                    }
                }
            };
            match line {
                Ok(line) => self.terminal.out(&format!("{line}\n")).await?,
                Err(why) => {
                    status = Cause::Failed.exit_status();
                    self.terminal.err(&format!("rollcall: {why}\n")).await?;
                }
            }
        }
        Ok(status)
    }
}

fn advice(host: &HostName, state: &KeyState, fingerprint: &str) -> String {
    match state {
        KeyState::Known => ": known".into(),
        KeyState::Unknown => format!(
            ": not known; compare it on the host (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then: \
             host accept {host} {fingerprint}"
        ),
        KeyState::Changed => {
            ": CHANGED: another key is recorded; find out why before you remove the old line".into()
        }
        KeyState::Revoked => ": REVOKED".into(),
    }
}
