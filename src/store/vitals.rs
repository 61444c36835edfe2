//! The health of the open store, for `doctor`: over a connection of its own, so that no run waits for it.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle, OpenFlags};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::chain;
use super::database::SqliteStore;
use super::error::failed;
use super::{audit, journal};
use crate::domain::ask::vitals::StoreSigns;
use crate::local::artifacts::free_bytes;
use crate::port::StoreError;

/// How long `quick_check` may take: it reads the whole file.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// How long it may take to get the right to write, which runs need, too.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

impl SqliteStore {
    /// Observes the store. `path` is its file.
    pub async fn signs(&self, path: PathBuf) -> StoreSigns {
        let writing = self.off_thread(|store| store.transact(|_| Ok(())));
        let writable = match timeout(WRITE_LIMIT, writing).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no transaction began within {} s", WRITE_LIMIT.as_secs())),
        };
        let (to, interrupt) = oneshot::channel();
        let file = path.clone();
        let mut checking = tokio::task::spawn_blocking(move || check(&file, to));
        let checked = timeout(CHECK_LIMIT, &mut checking).await;
        if checked.is_err()
            && let Ok(handle) = interrupt.await
        {
            handle.interrupt();
        }
        let (intact, chains) = match checked {
            Ok(Ok(Ok((intact, chains)))) => (Some(intact), chains),
            Ok(Ok(Err(error))) => (Some(Err(error.to_string())), Err(error.to_string())),
            Ok(Err(error)) => (Some(Err(error.to_string())), Err(error.to_string())),
            Err(_) => (None, Err("the check of the file took too long".into())),
        };
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        StoreSigns {
            writable,
            intact,
            chains,
            bytes: std::fs::metadata(&path).map(|about| about.len()).map_err(|error| error.to_string()),
            free: free_bytes(&folder).map_err(|error| error.to_string()),
            path: path.display().to_string(),
        }
    }
}

type Checked = (Result<(), String>, Result<(), String>);

/// The result of `quick_check`, and of the newest rows of both chains.
fn check(path: &std::path::Path, to: oneshot::Sender<InterruptHandle>) -> Result<Checked, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    // After the time limit the caller no longer waits for it.
    let _ = to.send(connection.get_interrupt_handle());
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    let intact = if said == "ok" { Ok(()) } else { Err(said) };
    let chains = [&journal::JOURNAL, &audit::AUDIT];
    let chains = chains.iter().try_for_each(|chain| chain::verify_end(&connection, chain));
    Ok((intact, chains.map_err(|error| error.to_string())))
}
