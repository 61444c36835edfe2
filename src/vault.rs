//! The secrets of the configuration in force, and those that were given for single runs; in memory only.
//! Implements [`Secrets`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Config;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::plan::plan::{Plan, secrets_of};
use crate::domain::value::secret::{Given, Masks, Secret, SecretVars};
use crate::port::Secrets;

/// How many of the secrets that were given for runs are hidden on after their run.
const REMEMBERED: usize = 64;

/// See the module.
pub struct Vault(Mutex<VaultState>);

struct VaultState {
    config: Arc<Config>,
    /// Every secret that this process ever loaded: a step that began with the one before prints that.
    loaded: Vec<Secret>,
    masks: Arc<Masks>,
    /// For runs under way.
    given: BTreeMap<RunId, Given>,
    /// The last ones that were given for runs, over or not: what a run left on a host may be printed later.
    remembered: VecDeque<Secret>,
    masks_of_remembered: Masks,
}

impl VaultState {
    fn remember(&mut self, secret: &Secret) {
        if self.remembered.contains(secret) {
            return;
        }
        self.remembered.push_back(secret.clone());
        if self.remembered.len() > REMEMBERED {
            self.remembered.pop_front();
        }
        // Each by itself was not too much for a redactor, and a few are not either.
        if let Ok(masks) = Masks::new(&self.remembered) {
            self.masks_of_remembered = masks;
        }
    }
}

impl Vault {
    /// With the secrets of `config`.
    pub fn new(config: Arc<Config>) -> Result<Vault, String> {
        let loaded = with_secrets_of(&config, Vec::new());
        let masks = Arc::new(Masks::new(&loaded)?);
        let (given, remembered) = (BTreeMap::new(), VecDeque::new());
        let masks_of_remembered = Masks::default();
        let state = VaultState { config, loaded, masks, given, remembered, masks_of_remembered };
        Ok(Vault(Mutex::new(state)))
    }

    /// Goes over to another configuration; what was secret stays so.
    pub fn take_over(&self, config: Arc<Config>) -> Result<(), String> {
        let loaded = with_secrets_of(&config, self.state().loaded.clone());
        // Not under the lock: runs need not wait for it.
        let masks = Arc::new(Masks::new(&loaded)?);
        let mut state = self.state();
        (state.config, state.loaded, state.masks) = (config, loaded, masks);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, VaultState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_secrets_of(config: &Config, mut loaded: Vec<Secret>) -> Vec<Secret> {
    let of_hosts = config.inventory.hosts.iter().map(|host| &host.secrets);
    let all = of_hosts.chain(config.tasks.values().map(|task| &task.secrets)).flat_map(BTreeMap::values);
    let all = all.chain(config.channels.iter().flat_map(|channel| channel.way.secrets()));
    let mut seen: std::collections::BTreeSet<String> =
        loaded.iter().map(|secret| secret.expose().to_string()).collect();
    for secret in all {
        if seen.insert(secret.expose().to_string()) {
            loaded.push(secret.clone());
        }
    }
    loaded
}

impl Secrets for Vault {
    fn of(&self, run: RunId, plan: &Plan, host: &HostName) -> SecretVars {
        let state = self.state();
        let task = plan.made_from().and_then(|task| state.config.tasks.get(task));
        let host = state.config.inventory.host(host);
        let mut secrets = host.map(|host| secrets_of(host, task)).unwrap_or_default();
        if let Some(given) = state.given.get(&run) {
            secrets.extend(given.values.clone());
        }
        secrets
    }

    fn masks(&self, run: Option<RunId>) -> Arc<Masks> {
        let state = self.state();
        match run.and_then(|run| state.given.get(&run)) {
            Some(given) => Arc::new(state.masks.and(&state.masks_of_remembered).and(&given.masks)),
            None if state.masks_of_remembered.is_empty() => state.masks.clone(),
            None => Arc::new(state.masks.and(&state.masks_of_remembered)),
        }
    }

    fn keep(&self, run: RunId, given: Given) {
        let mut state = self.state();
        given.values.values().for_each(|secret| state.remember(secret));
        if !given.values.is_empty() {
            state.given.insert(run, given);
        }
    }

    fn forget(&self, run: RunId) {
        self.state().given.remove(&run);
    }
}
