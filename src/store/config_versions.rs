//! The versions of the configuration that were in force, without secrets.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::configuration::ConfigVersion;
use crate::port::StoreError;
use crate::port::audit::{ConfigVersions, KeptConfig};

/// Most versions that are kept with their files; the audit names the older ones, too.
const VERSIONS_LIMIT: u64 = 100;

/// Removes the oldest versions beyond the limit, and files that no version has.
fn prune(connection: &Connection) -> Result<(), StoreError> {
    let old = "DELETE FROM config_version WHERE id <= (SELECT max(id) FROM config_version) - ?";
    connection.execute(old, [VERSIONS_LIMIT]).map_err(failed)?;
    let unused = "DELETE FROM config_file WHERE sha256 NOT IN
                  (SELECT entry.value FROM config_version, json_each(files) entry)";
    connection.execute(unused, []).map(drop).map_err(failed)
}

impl SqliteStore {
    /// [`ConfigVersions::keep`], on this thread.
    pub fn keep_config_now(
        &self,
        version: &ConfigVersion,
        texts: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let files = serde_json::to_string(&version.files).map_err(failed)?;
        self.transact(|connection| {
            // The version in force is the newest one, also if it was in force before.
            connection
                .execute("DELETE FROM config_version WHERE digest = ?", [&version.digest])
                .map_err(failed)?;
            let insert = "INSERT INTO config_version (digest, files) VALUES (?, ?)";
            connection.execute(insert, (&version.digest, &files)).map_err(failed)?;
            for (path, sha256) in &version.files {
                let Some(text) = texts.get(path) else { continue };
                let insert = "INSERT OR IGNORE INTO config_file (sha256, body) VALUES (?, ?)";
                connection.execute(insert, (sha256, text)).map_err(failed)?;
            }
            prune(connection)
        })
    }

    /// [`ConfigVersions::kept`], on this thread.
    pub fn kept_config_now(&self, start: Option<&str>) -> Result<Option<KeptConfig>, StoreError> {
        let newest =
            "SELECT digest, files FROM config_version WHERE ?1 IS NULL OR substr(digest, 1, length(?1)) = ?1
                      ORDER BY id DESC LIMIT 1";
        let row = self.read(|connection| {
            connection
                .query_row(newest, [start], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
                .optional()
        })?;
        let Some((digest, files)) = row else { return Ok(None) };
        let files: BTreeMap<String, String> = serde_json::from_str(&files).map_err(failed)?;
        let texts = self.read(|connection| {
            let mut query = connection.prepare("SELECT body FROM config_file WHERE sha256 = ?")?;
            let mut texts = BTreeMap::new();
            for (path, sha256) in &files {
                let body: Option<String> = query.query_row([sha256], |row| row.get(0)).optional()?;
                texts.insert(path.clone(), body.unwrap_or_default());
            }
            Ok(texts)
        })?;
        Ok(Some(KeptConfig { digest, files, texts }))
    }
}

#[async_trait]
impl ConfigVersions for SqliteStore {
    async fn keep(&self, version: ConfigVersion, texts: BTreeMap<String, String>) -> Result<(), StoreError> {
        self.off_thread(move |store| store.keep_config_now(&version, &texts)).await
    }

    async fn kept(&self, start: Option<String>) -> Result<Option<KeptConfig>, StoreError> {
        self.off_thread(move |store| store.kept_config_now(start.as_deref())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_versions_are_kept_with_their_files_and_no_others() {
        let store = SqliteStore::in_memory().unwrap();
        let of = |number: usize| {
            let texts: BTreeMap<String, String> =
                [("a".to_string(), format!("text {number}")), ("b".to_string(), "same".to_string())].into();
            let version =
                ConfigVersion::of(texts.iter().map(|(path, text)| (path.as_str(), text.as_bytes())));
            (version, texts)
        };
        for number in 0..VERSIONS_LIMIT as usize + 20 {
            let (version, texts) = of(number);
            store.keep_config_now(&version, &texts).unwrap();
        }
        let kept = |start: &str| store.kept_config_now(Some(start)).unwrap();
        assert_eq!(kept(&of(0).0.digest), None);
        let (version, texts) = of(50);
        let found = kept(&version.digest[..12]).unwrap();
        assert_eq!((found.digest, found.texts), (version.digest.clone(), texts.clone()));
        let files = || {
            store.read(|db| db.query_row("SELECT count(*) FROM config_file", [], |row| row.get::<_, u64>(0)))
        };
        assert_eq!(files().unwrap(), VERSIONS_LIMIT + 1);
        // Again in force: it is the newest.
        store.keep_config_now(&version, &texts).unwrap();
        assert_eq!(store.kept_config_now(None).unwrap().unwrap().digest, version.digest);
    }
}
