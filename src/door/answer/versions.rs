//! `config log` and `config diff`: the versions of the configuration.

use super::asked::{Asked, Ended};
use crate::config::{on_disk_now, redacted_files};
use crate::domain::ask::access::Granted;
use crate::domain::base::configuration::short;
use crate::domain::base::name::clipped;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::port::audit::{AuditQuery, KeptConfig};
use crate::present::config::{self, ConfigSide};
use crate::present::json;

/// Versions that `config log` prints: those that are kept.
const VERSIONS_LIMIT: usize = 100;

/// The fewest digits that name a version.
const DIGITS_NEEDED: usize = 4;

impl Asked<'_> {
    pub(super) async fn versions(
        &mut self,
        granted: &Granted,
        diff: Option<(Option<&str>, Option<&str>)>,
    ) -> Result<u8, Ended> {
        if granted.operator().groups.is_some() {
            let why = "only an admin without groups reads versions of the configuration";
            return Err(Refusal::new(Cause::NotAllowed, why).hint("see: whoami").into());
        }
        if let Some(versions) = diff {
            return self.config_diff(granted, versions).await;
        }
        self.config_log(granted).await
    }

    async fn config_log(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let types = vec!["config-changed".to_string()];
        let query = AuditQuery { types, limit: VERSIONS_LIMIT, ..AuditQuery::default() };
        let rows = self.desk.audit.of(granted).await?.page(query).await?.rows;
        let text = match self.json {
            true => rows.iter().map(|row| json::line("audit", row)).collect(),
            false => config::log(&rows),
        };
        self.say(&text).await
    }

    async fn config_diff(
        &mut self,
        granted: &Granted,
        (old, new): (Option<&str>, Option<&str>),
    ) -> Result<u8, Ended> {
        if self.json {
            return Err(Refusal::usage("a difference is text")
                .hint("try: config diff without --json")
                .into());
        }
        let (old, new) = match (old, new) {
            (None, _) => (self.in_force(), self.on_disk().await?),
            (Some(old), None) => (self.kept_version(granted, old).await?, self.in_force()),
            (Some(old), Some(new)) => {
                (self.kept_version(granted, old).await?, self.kept_version(granted, new).await?)
            }
        };
        let text = self.work(move || config::diff(&old, &new)).await?;
        self.say(&text).await
    }

    fn in_force(&self) -> ConfigSide {
        let version = &self.config.version;
        ConfigSide {
            name: format!("{}, in force", short(&version.digest)),
            files: version.files.clone(),
            texts: redacted_files(&self.config.texts.0),
        }
    }

    async fn on_disk(&self) -> Result<ConfigSide, Refusal> {
        let root = self.config.root.clone();
        let (version, texts) = self.work(move || on_disk_now(&root)).await?;
        Ok(ConfigSide { name: format!("{}, on disk", short(&version.digest)), files: version.files, texts })
    }

    async fn kept_version(&self, granted: &Granted, start: &str) -> Result<ConfigSide, Ended> {
        let unknown = || {
            let why = format!("no kept version starts with `{}`", clipped(start));
            Refusal::not_found(why).hint("see: config log")
        };
        let is_digest = start.len() >= DIGITS_NEEDED && start.bytes().all(|byte| byte.is_ascii_hexdigit());
        let kept = match is_digest {
            true => self.desk.versions.of(granted).kept(Some(start.to_ascii_lowercase())).await?,
            false => None,
        };
        let KeptConfig { digest, files, texts } = kept.ok_or_else(unknown)?;
        Ok(ConfigSide { name: short(&digest).into(), files, texts })
    }
}
