//! Facts: the last ones of each host, projected from the step that gathered them.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::plan::plan::Plan;
use crate::domain::run::event::Event;
use crate::domain::task::facts::Gathered;
use crate::domain::task::task::StepBody;
use crate::port::StoreError;

/// Records which steps will gather facts.
pub(super) fn planned(connection: &Connection, run: RunId, plan: &Plan) -> Result<(), StoreError> {
    let mut insert = connection
        .prepare_cached("INSERT INTO look (run, host, step, endpoint) VALUES (?, ?, ?, ?)")
        .map_err(failed)?;
    for (host, planned) in &plan.hosts {
        let gathering = planned.steps.iter().enumerate();
        for (step, _) in gathering.filter(|(_, step)| matches!(step.body, StepBody::Facts { .. })) {
            let endpoint = serde_json::to_string(&planned.endpoint).map_err(failed)?;
            insert.execute(params![run.0, host.as_str(), step, endpoint]).map_err(failed)?;
        }
    }
    Ok(())
}

/// Stores the output of a step that gathers facts.
pub(super) fn ended(
    connection: &Connection,
    event: &Event,
    host: &HostName,
    (step, body): (usize, &str),
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO facts (host, endpoint, run, at, body)
             SELECT host, endpoint, run, ?1, ?2 FROM look WHERE run = ?3 AND host = ?4 AND step = ?5",
        )
        .and_then(|mut insert| {
            insert.execute(params![event.at.to_string(), body, event.run.0, host.as_str(), step])
        })
        .map(drop)
        .map_err(failed)
}

impl SqliteStore {
    /// [`crate::port::Store::facts`], on this thread.
    pub fn facts_now(&self) -> Result<BTreeMap<HostName, Gathered>, StoreError> {
        let rows = self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT host, endpoint, run, at, body FROM facts")?;
            let rows = statement.query_map([], |row| {
                let texts: (String, String, String) = (row.get(1)?, row.get(3)?, row.get(4)?);
                Ok((row.get::<_, String>(0)?, row.get::<_, u64>(2)?, texts))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        // Facts in the form of another version are gathered again.
        let read = |(host, run, (endpoint, at, body)): (String, u64, (String, String, String))| {
            let gathered = Gathered {
                facts: serde_json::from_str(&body).ok()?,
                at: at.parse().ok()?,
                run: RunId(run),
                endpoint: serde_json::from_str(&endpoint).ok()?,
            };
            Some((HostName::new(host), gathered))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }
}
