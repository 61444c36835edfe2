//! The open database: transactions of the one writer, and reads.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::chain::Chain;
use super::error::failed;
use super::head::Head;
use crate::port::StoreError;

/// The store in one file.
#[derive(Clone)]
pub struct SqliteStore {
    open: Arc<Mutex<Open>>,
    epoch: u64,
    /// The number of the newest event.
    pub(super) newest: Arc<watch::Sender<u64>>,
    /// Held while the store is open; the system frees it when the process dies.
    _lock: Option<Arc<File>>,
}

/// The database, and the head files of its chains; a store in memory has no such files.
pub(super) struct Open {
    pub connection: Connection,
    pub heads: Vec<Head>,
}

impl Open {
    /// Refuses a chain that lacks the last row which its head file names.
    pub fn compare(&self, chain: &Chain) -> Result<(), StoreError> {
        let mut heads = self.heads.iter().filter(|head| head.is_of(chain));
        heads.try_for_each(|head| head.compare(&self.connection))
    }
}

impl SqliteStore {
    pub(super) fn new(open: Open, (epoch, newest): (u64, u64), lock: Option<File>) -> SqliteStore {
        let newest = Arc::new(watch::Sender::new(newest));
        SqliteStore { open: Arc::new(Mutex::new(open)), epoch, newest, _lock: lock.map(Arc::new) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one transaction, on this thread.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.transact_with(false, work)
    }

    /// The same; with `safe` the head files survive a loss of power, too.
    pub(super) fn transact_with<T>(
        &self,
        safe: bool,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut open = self.lock();
        let Open { connection, heads } = &mut *open;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let epoch: u64 =
            transaction.query_row("SELECT epoch FROM owner", [], |row| row.get(0)).map_err(failed)?;
        if epoch != self.epoch {
            return Err(StoreError::Failed(format!(
                "another process (epoch {epoch}) has taken the store over from this one (epoch {})",
                self.epoch
            )));
        }
        let value = work(&transaction)?;
        transaction.commit().map_err(failed)?;
        heads.iter_mut().for_each(|head| head.follow(connection, safe));
        Ok(value)
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        work(&self.lock().connection).map_err(failed)
    }

    /// The epoch of this process: higher than that of the last writer.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Runs blocking work on a thread that may block.
    pub(super) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(SqliteStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || work(store)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Failed(format!("the store's thread ended: {error}"))),
        }
    }
}
