//! The chains of the store: rows that are hashed together with the row before. One is the journal, the other the audit.

use rusqlite::{Connection, OptionalExtension, Row};

use super::error::failed;
use crate::domain::ask::audit::ChainSummary;
use crate::port::StoreError;

/// The number of last rows that are verified at start: enough to detect a cut or changed tail.
pub(super) const CHECKED_AT_START_ROWS: usize = 10_000;

/// One chain.
#[derive(Debug)]
pub(super) struct Chain {
    /// `journal`, as people read it.
    pub noun: &'static str,
    /// What one row is called, which is the name of the table, too.
    pub table: &'static str,
    pub row: &'static str,
    /// The text that is hashed before the first row.
    pub genesis: &'static str,
    /// The end of the name of its head file.
    pub suffix: &'static str,
    /// The columns that [`Chain::link`] reads.
    pub columns: &'static str,
    pub link: fn(&Row<'_>) -> rusqlite::Result<Link>,
}

/// One row of a chain.
pub(super) struct Link {
    pub seq: u64,
    pub at: String,
    /// The hash of the row before, as this row has it.
    pub prev: String,
    /// Its own hash as stored, and as computed now.
    pub hash: String,
    pub computed: String,
}

/// The last row of a chain, or of a verified part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainEnd {
    pub seq: u64,
    pub hash: String,
}

/// The last row in the store.
pub(super) fn end_of(connection: &Connection, chain: &Chain) -> Result<Option<ChainEnd>, StoreError> {
    connection
        .prepare_cached(&format!("SELECT seq, hash FROM {} ORDER BY seq DESC LIMIT 1", chain.table))
        .and_then(|mut statement| {
            statement.query_row([], |row| Ok(ChainEnd { seq: row.get(0)?, hash: row.get(1)? })).optional()
        })
        .map_err(failed)
}

/// The last row that retention has removed from a chain.
pub(super) fn start_of(connection: &Connection, chain: &Chain) -> Result<Option<ChainEnd>, StoreError> {
    connection
        .prepare_cached("SELECT seq, hash FROM chain_start WHERE chain = ?")
        .and_then(|mut statement| {
            let start = |row: &Row<'_>| Ok(ChainEnd { seq: row.get(0)?, hash: row.get(1)? });
            statement.query_row([chain.table], start).optional()
        })
        .map_err(failed)
}

/// The number and the `prev` of the next row.
pub(super) fn next_of(connection: &Connection, chain: &Chain) -> Result<(u64, String), StoreError> {
    let last = end_of(connection, chain)?;
    Ok(last.map_or((1, chain.genesis.to_string()), |last| (last.seq + 1, last.hash)))
}

/// Verifies that the end of a chain is unchanged.
pub(super) fn verify_end(connection: &Connection, chain: &'static Chain) -> Result<(), StoreError> {
    let last = end_of(connection, chain)?.map_or(0, |end| end.seq);
    let mut verifying = Verifying::whole(chain, connection)?;
    let after = last.saturating_sub(CHECKED_AT_START_ROWS as u64);
    if after > verifying.after {
        (verifying.after, verifying.before) = (after, None);
    }
    verifying.page(connection).map(drop)
}

/// The state of a verification that goes through a chain page by page, so that writers wait for one page only.
pub(super) struct Verifying {
    pub chain: &'static Chain,
    /// The number of the last verified row.
    pub after: u64,
    /// Its hash, if it is known.
    pub before: Option<String>,
}

impl Verifying {
    /// A verification of the whole chain, from the first row that retention has not removed.
    pub fn whole(chain: &'static Chain, connection: &Connection) -> Result<Verifying, StoreError> {
        let start = start_of(connection, chain)?;
        let ChainEnd { seq, hash } = start.unwrap_or(ChainEnd { seq: 0, hash: chain.genesis.into() });
        Ok(Verifying { chain, after: seq, before: Some(hash) })
    }

    /// Verifies the next rows; returns their number, and the time of the last of them.
    pub fn page(&mut self, connection: &Connection) -> Result<Page, StoreError> {
        let Chain { table, columns, link, .. } = self.chain;
        let query = format!("SELECT {columns} FROM {table} WHERE seq > ? ORDER BY seq LIMIT ?");
        let mut statement = connection.prepare(&query).map_err(failed)?;
        let rows = statement.query_map((self.after, CHECKED_AT_START_ROWS), link).map_err(failed)?;
        let mut page = Page::default();
        for row in rows {
            self.follow(row.map_err(failed)?, &mut page)?;
        }
        Ok(page)
    }

    fn follow(&mut self, row: Link, page: &mut Page) -> Result<(), StoreError> {
        let is_next = row.seq == self.after + 1;
        let follows = self.before.as_ref().is_none_or(|before| *before == row.prev);
        if !is_next || !follows || row.computed != row.hash {
            let Chain { noun, row: of, .. } = self.chain;
            return Err(StoreError::Failed(format!(
                "the {noun} was changed at {of} {}: its hash does not fit; try: restore the store from a copy",
                row.seq
            )));
        }
        page.rows += 1;
        page.first.get_or_insert_with(|| row.at.clone());
        page.last = Some(row.at);
        (self.after, self.before) = (row.seq, Some(row.hash));
        Ok(())
    }
}

/// Verified rows.
#[derive(Default)]
pub(super) struct Page {
    pub rows: u64,
    pub first: Option<String>,
    pub last: Option<String>,
}

impl Page {
    /// Adds this page to the summary of the pages before.
    pub fn add_to(self, summary: &mut ChainSummary) {
        summary.rows += self.rows;
        summary.first = summary.first.take().or(self.first);
        summary.last = self.last.or(summary.last.take());
    }
}
