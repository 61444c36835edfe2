//! How long the steps of a run took, from the times of its events. Outputs are not read: they are behind what is needed of a row.

use rusqlite::params;

use super::database::SqliteStore;
use super::error::failed;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::run::event::{BracketDirection, EventKind};
use crate::domain::run::times::{RunTimes, StepClock, StepMoment, StepName};
use crate::port::StoreError;

impl SqliteStore {
    /// [`crate::port::report::Reports::step_times`], on this thread.
    pub fn step_times_now(&self, run: RunId) -> Result<RunTimes, StoreError> {
        let rows = self.read(|connection| {
            // The type is the first field of a body. Only the beginnings of steps have an operation, and no output.
            let mut rows = connection.prepare_cached(
                "SELECT host, at, CASE WHEN op IS NOT NULL THEN body END FROM event WHERE run = ? AND host IS NOT NULL
                 AND (op IS NOT NULL OR substr(body, 1, 20) = '{\"type\":\"step-ended\"') ORDER BY seq",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
            };
            rows.query_map(params![run.0], row)?.collect::<Result<Vec<_>, _>>()
        })?;
        let mut clock = StepClock::default();
        for (host, at, body) in rows {
            let moment = match body.map(|body| serde_json::from_str(&body)).transpose().map_err(failed)? {
                Some(EventKind::StepStarted { way, name, .. }) => {
                    StepMoment::Started(StepName { is_back: way == BracketDirection::Back, name })
                }
                Some(other) => return Err(StoreError::Failed(format!("{other:?} begins no step"))),
                None => StepMoment::Ended,
            };
            clock.take(HostName::new(host), at.parse().map_err(failed)?, moment);
        }
        Ok(clock.finish(run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::outcome::Outcome;
    use crate::domain::base::output::Output;
    use crate::domain::run::times::StepTime;
    use crate::store::tests::{ann, at, plan, store};

    #[test]
    fn the_times_of_steps_are_those_of_their_events() {
        let (_dir, store) = store();
        let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
        let (host, name) = (HostName::from("web1"), "copy".to_string());
        let (way, step, attempt) = (BracketDirection::Forward, 0, 1);
        let started = EventKind::StepStarted { host: host.clone(), way, step, name: name.clone(), attempt };
        let ended = EventKind::StepEnded {
            host,
            way,
            step,
            name,
            attempt,
            outcome: Outcome::Ok,
            stdout: Output { text: "x".repeat(10_000), left_out: 0 },
            stderr: Output::default(),
            took_ms: 1,
            code: None,
        };
        store.append_now(run, at(2), vec![started]).unwrap();
        store.append_now(run, at(9), vec![ended]).unwrap();
        let times = store.step_times_now(run).unwrap();
        let step = StepName { is_back: false, name: "copy".into() };
        assert_eq!(times.steps, [(step, StepTime { hosts: 1, median_ms: 7_000 })].into());
        assert!(store.step_times_now(RunId(99)).unwrap().steps.is_empty());
    }
}
