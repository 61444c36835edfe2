//! The configuration directory, and what becomes of the configuration when it is read again.

use std::collections::BTreeMap;
use std::iter::successors;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use super::clock::SystemClock;
use super::described::{describe, warnings};
use crate::config::{self, Config, redacted_files};
use crate::domain::ask::audit::{AuditKind, Caller, ConfigCause};
use crate::domain::ask::command::GitService;
use crate::domain::base::configuration::ConfigVersion;
use crate::domain::base::name::HostName;
use crate::domain::base::refusal::Refusal;
use crate::door::audit::Audit;
use crate::door::{GitWire, Reload};
use crate::notices::Channels;
use crate::port::Clock;
use crate::port::audit::ConfigVersions;
use crate::present::table;
use crate::vault::Vault;

/// Most changed files that a row of the audit names.
const FILES_LIMIT: usize = 200;

/// The configuration directory, and the present configuration.
pub(super) struct Root {
    pub path: PathBuf,
    pub current: watch::Sender<Arc<Config>>,
    pub channels: watch::Sender<Arc<Channels>>,
    pub vault: Arc<Vault>,
    /// The keys of hosts that rollcall has read, which it does at a start only.
    pub fleet_keys: BTreeMap<String, PathBuf>,
    pub audit: Audit,
    pub versions: Arc<dyn ConfigVersions>,
    /// One reload at a time: the later one wins as a whole.
    pub reloading: Mutex<()>,
    /// One push at a time.
    pub pushing: Mutex<()>,
}

impl Root {
    /// Records the version that a process starts with, if another one was in force before.
    pub async fn started(&self, by: &Caller) -> Result<(), Refusal> {
        let kept = self.versions.kept(None).await?;
        let (digest, files) = kept.map_or_else(Default::default, |kept| (kept.digest, kept.files));
        let old = ConfigVersion { digest, files, commit: None };
        let new = self.current.borrow().clone();
        self.record(&old, &new, (by, ConfigCause::Start)).await
    }

    /// Records a change of version before it is in force.
    async fn record(
        &self,
        old: &ConfigVersion,
        new: &Config,
        (by, how): (&Caller, ConfigCause),
    ) -> Result<(), Refusal> {
        // A push is on record also if it changes only what rollcall does not read.
        if old.digest == new.version.digest && how != ConfigCause::Push {
            return Ok(());
        }
        let kind = AuditKind::ConfigChanged {
            how,
            old: Some(old.digest.clone()).filter(|digest| !digest.is_empty()),
            new: new.version.digest.clone(),
            commit: new.version.commit.clone(),
            files: bounded(new.version.changes_since(&old.files)),
        };
        // The row says that it is in force, so it comes last.
        self.versions.keep(new.version.clone(), redacted_files(&new.texts.0)).await?;
        self.audit.change(by, kind).await
    }

    /// A host whose key was not read when rollcall started.
    fn key_not_read(&self, new: &Config) -> Option<(HostName, String)> {
        let files = &new.settings.fleet.keys;
        let is_read =
            |key: &String| self.fleet_keys.get(key).is_some_and(|file| files.get(key) == Some(file));
        new.inventory.hosts.iter().find_map(|host| {
            let hops = successors(Some(&host.endpoint), |hop| hop.via.as_deref());
            let key = hops.filter_map(|hop| hop.key.as_ref()).find(|key| !is_read(key))?;
            Some((host.name.clone(), key.clone()))
        })
    }

    async fn reload_as(&self, by: &Caller, how: ConfigCause) -> Result<String, String> {
        let _one_at_a_time = self.reloading.lock().await;
        self.reload_locked(by, how).await
    }

    /// The same for a caller that holds `reloading`.
    pub async fn reload_locked(&self, by: &Caller, how: ConfigCause) -> Result<String, String> {
        let (path, repository) = (self.path.clone(), self.repository());
        let loading = move || {
            let mut config = config::load_kept(&path, SystemClock.now())?;
            config.version.commit = repository.standing().or(config.version.commit.take());
            Ok(config)
        };
        let loaded: Result<Config, config::Diagnostics> =
            tokio::task::spawn_blocking(loading).await.map_err(|error| error.to_string())?;
        let new = loaded.map_err(|diagnostics| diagnostics.to_string())?;
        let mut said = format!("configuration in force: {}", describe(&new));
        if let Some((host, key)) = self.key_not_read(&new) {
            return Err(format!(
                "{host} is reached with the key `{key}`, and a change in [fleet.keys] takes effect at the next start; the configuration \
                 in force is unchanged; try: restart rollcall"
            ));
        }
        let current = self.current.borrow().clone();
        if current.settings.takes_a_restart(&new.settings) {
            said.push_str("; what changed in listen, host_key, store, downloads, [door] or [fleet] takes effect at the next start");
        }
        warnings(&new).iter().for_each(|warning| said.push_str(&format!("\n{warning}")));
        for trouble in troubles(&new) {
            said.push('\n');
            said.push_str(&trouble);
        }
        let new = Arc::new(new);
        // The new secrets must be masked before the new configuration is used.
        self.vault.take_over(new.clone())?;
        if let Err(refusal) = self.record(&current.version, &new, (by, how)).await {
            self.vault.take_over(current)?;
            return Err(refusal.to_string());
        }
        self.channels.send_replace(channels_of(&new));
        self.current.send_replace(new);
        Ok(said)
    }
}

#[async_trait]
impl Reload for Root {
    async fn reload(&self, by: &Caller) -> Result<String, String> {
        self.reload_as(by, ConfigCause::Reload).await
    }

    async fn enroll(&self, line: &str, by: &Caller) -> Result<Result<String, Refusal>, Refusal> {
        {
            let _one_at_a_time = self.reloading.lock().await;
            self.record_change("rollcall", "The directory as it was found").await;
            let (path, current, line) = (self.path.clone(), self.current.borrow().clone(), line.to_string());
            let appending =
                tokio::task::spawn_blocking(move || super::enroll::append(&path, &current, &line));
            appending.await.map_err(|error| Refusal::internal(error.to_string()))??;
            self.record_change(&by.operator.name, &format!("{}: a line of operators", by.line)).await;
        }
        let not_in_force =
            |why| Refusal::usage(format!("the line is in `operators`, but nothing was taken over:\n{why}"));
        Ok(self.reload_as(by, ConfigCause::Enroll).await.map_err(not_in_force))
    }

    async fn serve_git(
        self: Arc<Self>,
        service: GitService,
        by: Caller,
        wire: GitWire,
    ) -> Result<String, Refusal> {
        self.serve(service, &by, wire).await
    }

    async fn refresh(&self) {
        if self.current.borrow().scripted.is_empty() {
            return;
        }
        // A caller that waits for a refresh under way accepts its result.
        let wanted = SystemClock.now();
        let _one_at_a_time = self.reloading.lock().await;
        let current = self.current.borrow().clone();
        let asking =
            tokio::task::spawn_blocking(move || config::refresh(&current, wanted, || SystemClock.now()));
        // A thread that panicked leaves the present configuration unchanged.
        if let Ok(Some(new)) = asking.await {
            troubles(&new).iter().for_each(|trouble| tracing::warn!("{trouble}"));
            let new = Arc::new(new);
            // The new secrets must be masked before the new configuration is used.
            match self.vault.take_over(new.clone()) {
                Ok(()) => _ = self.current.send_replace(new),
                Err(why) => tracing::error!(%why, "what scripts in hosts/ say was not taken over"),
            }
        }
    }
}

/// The first of many files, and the number of the others.
fn bounded(mut files: Vec<String>) -> Vec<String> {
    let left = files.len().saturating_sub(FILES_LIMIT);
    files.truncate(FILES_LIMIT);
    files.extend((left > 0).then(|| format!("and {left} more")));
    files
}

/// The failures of scripts in `hosts/`, whose groups are outdated.
pub(super) fn troubles(config: &Config) -> Vec<String> {
    let now = SystemClock.now();
    let lines = config.scripted.iter().filter_map(|one| {
        let trouble = one.trouble.as_deref()?;
        Some(table::old_inventory(&one.group, one.at, trouble, now))
    });
    lines.collect()
}

pub(super) fn channels_of(config: &Config) -> Arc<Channels> {
    Arc::new(Channels { list: config.channels.clone(), zone: config.settings.schedule.time_zone.clone() })
}
