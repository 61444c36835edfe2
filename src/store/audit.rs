//! The audit in the store.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::chain::{Chain, Link, Verifying, next_of, start_of};
use super::database::SqliteStore;
use super::error::failed;
use super::journal::JOURNAL;
use crate::domain::ask::audit::{AuditFact, AuditPage, AuditRow, ChainSummary};
use crate::domain::base::digest::sha256_hex;
use crate::port::StoreError;
use crate::port::audit::{AuditLog, AuditQuery};

/// The chain of the audit.
pub(super) static AUDIT: Chain = Chain {
    noun: "audit",
    table: "audit",
    row: "row",
    genesis: "rollcall audit",
    suffix: "audit-head",
    columns: "seq, at, body, prev, hash",
    link,
};

fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    let (seq, at, body): (u64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (prev, hash): (String, String) = (row.get(3)?, row.get(4)?);
    let computed = hash_of((&prev, seq), &at, &body);
    Ok(Link { seq, at, prev, hash, computed })
}

fn hash_of((prev, seq): (&str, u64), at: &str, body: &str) -> String {
    sha256_hex(format!("{prev}\n{seq}\n{at}\n{body}").as_bytes())
}

/// The conditions of a query, and their values.
fn conditions(query: &AuditQuery) -> (String, Vec<Value>) {
    let mut parts = vec!["1"];
    let mut values = Vec::new();
    let mut add = |part: &'static str, value: Value| {
        parts.push(part);
        values.push(value);
    };
    let number = |seq: u64| Value::Integer(i64::try_from(seq).unwrap_or(i64::MAX));
    query.after.iter().for_each(|seq| add("seq > ?", number(*seq)));
    query.before.iter().for_each(|seq| add("seq < ?", number(*seq)));
    query.from.iter().for_each(|at| add("at >= ?", Value::Text(format!("{at:.6}"))));
    query.name.iter().for_each(|name| add("name = ?", Value::Text(name.clone())));
    if query.refused {
        parts.push("is_refused = 1");
    }
    (parts.join(" AND "), values)
}

/// The statement of a query, and its values. Types are read one by one, each no further than the page: an index has the rows of
/// one type in their order, but not those of several.
fn statement(query: &AuditQuery) -> Result<(String, Vec<Value>), StoreError> {
    let (conditions, common) = conditions(query);
    let forward = query.after.is_some() || query.from.is_some();
    let order = if forward { "ASC" } else { "DESC" };
    // One more than a page shows whether there are more.
    let limit = Value::Integer(i64::try_from(query.limit + 1).map_err(failed)?);
    let page = |and: &str| {
        format!("SELECT seq, body, hash FROM audit WHERE {conditions}{and} ORDER BY seq {order} LIMIT ?")
    };
    if query.types.is_empty() {
        return Ok((page(""), common.into_iter().chain([limit]).collect()));
    }
    let types: BTreeSet<&String> = query.types.iter().collect();
    let of_type = format!("SELECT * FROM ({})", page(" AND type = ?"));
    let all = vec![of_type; types.len()].join(" UNION ALL ");
    let values = types.into_iter().flat_map(|one| {
        common.iter().cloned().chain([Value::Text(one.clone()), limit.clone()]).collect::<Vec<_>>()
    });
    let values = values.chain([limit.clone()]).collect();
    Ok((format!("SELECT * FROM ({all}) ORDER BY seq {order} LIMIT ?"), values))
}

/// Adds rows, and returns the number of the last one. Call within a transaction.
pub(super) fn record(connection: &Connection, facts: Vec<AuditFact>) -> Result<u64, StoreError> {
    let (mut seq, mut prev) = next_of(connection, &AUDIT)?;
    let mut insert = connection
        .prepare_cached("INSERT INTO audit (seq, at, body, prev, hash) VALUES (?, ?, ?, ?, ?)")
        .map_err(failed)?;
    for fact in facts {
        // Of one length, so that times compare as texts.
        let at = format!("{:.6}", fact.at);
        let body = serde_json::to_string(&fact).map_err(failed)?;
        let hash = hash_of((&prev, seq), &at, &body);
        insert.execute((seq, &at, &body, &prev, &hash)).map_err(failed)?;
        (seq, prev) = (seq + 1, hash);
    }
    Ok(seq - 1)
}

impl SqliteStore {
    /// [`AuditLog::record`], on this thread.
    pub fn record_now(&self, facts: Vec<AuditFact>) -> Result<u64, StoreError> {
        // A row behind a tail that was cut off would hide the cut.
        self.lock().compare(&AUDIT)?;
        self.transact(|connection| record(connection, facts))
    }

    /// [`AuditLog::page`], on this thread.
    pub fn audit_now(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let (sql, values) = statement(query)?;
        let forward = query.after.is_some() || query.from.is_some();
        let found = self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement
                .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<Vec<(u64, String, String)>, _>>()
        })?;
        let row = |(seq, body, hash): (u64, String, String)| {
            let unreadable =
                |error| failed(format!("row {seq} of the audit: {error}; try: a newer rollcall"));
            let fact = serde_json::from_str::<AuditFact>(&body).map_err(unreadable)?;
            Ok(AuditRow { seq, fact, hash })
        };
        let more = found.len() > query.limit;
        let rows = found.into_iter().take(query.limit).map(row);
        let mut rows = rows.collect::<Result<Vec<_>, StoreError>>()?;
        if !forward {
            rows.reverse();
        }
        Ok(AuditPage { rows, more })
    }

    pub(super) fn summary_now(&self, chain: &'static Chain) -> Result<ChainSummary, StoreError> {
        let mut verifying = Verifying::whole(chain, &self.lock().connection)?;
        let (removed, head) = (verifying.after, chain.genesis.into());
        let mut summary = ChainSummary { chain: chain.noun, removed, rows: 0, first: None, last: None, head };
        loop {
            let open = self.lock();
            // Retention may remove rows between two pages: what remains is verified from its first row.
            if start_of(&open.connection, chain)?.is_some_and(|start| start.seq > verifying.after) {
                verifying = Verifying::whole(chain, &open.connection)?;
                summary = ChainSummary { removed: verifying.after, rows: 0, first: None, ..summary };
            }
            let page = verifying.page(&open.connection)?;
            if page.rows == 0 {
                open.compare(chain)?;
                break;
            }
            page.add_to(&mut summary);
        }
        summary.head = verifying.before.unwrap_or(summary.head);
        Ok(summary)
    }
}

#[async_trait]
impl AuditLog for SqliteStore {
    async fn record(&self, facts: Vec<AuditFact>) -> Result<u64, StoreError> {
        self.off_thread(move |store| store.record_now(facts)).await
    }

    async fn page(&self, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.off_thread(move |store| store.audit_now(&query)).await
    }

    async fn verify(&self) -> Result<Vec<ChainSummary>, StoreError> {
        let verifying = |store: SqliteStore| {
            [&AUDIT, &JOURNAL].map(|chain| store.summary_now(chain)).into_iter().collect()
        };
        self.off_thread(verifying).await
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
