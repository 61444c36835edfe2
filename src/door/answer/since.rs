//! What happened since the operator has opened the page of the fleet before.

use std::collections::HashMap;

use super::asked::{Asked, Ended};
use crate::domain::ask::access::Granted;
use crate::domain::ask::view::View;
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::{RunOutcome, Verdict};
use crate::domain::inventory::inventory::Inventory;
use crate::domain::run::visit::Moment;
use crate::domain::watch::roll::CheckLine;
use crate::port::visits::Happened;
use crate::present::board::page::Line;
use crate::present::board::pages::debts::Debts;
use crate::present::board::pages::since::Since;

/// What the page of the fleet has read already.
pub(super) struct Shown<'a> {
    pub inventory: &'a Inventory,
    pub debts: &'a Debts<'a>,
    pub checks: &'a [CheckLine],
    /// How many of the newest runs are read, and how many at most.
    pub runs_read: (usize, usize),
}

impl Asked<'_> {
    /// The lines about it; none on a first visit.
    pub(super) async fn since_last_visit(
        &self,
        granted: &Granted,
        view: &View,
        (shown, now): (&Shown<'_>, Moment),
    ) -> Result<Vec<Line>, Ended> {
        let visits = self.desk.visits.of(granted);
        let key = &granted.person().key;
        // A page that is open shows its events as they come: only the opening counts as a visit. What an agent reads its
        // operator has not seen.
        let is_visit = !view.is_open && granted.agent().is_none();
        let before = match is_visit {
            true => visits.opened(key, now).await?,
            false => visits.seen_before(key).await?,
        };
        let Some(from) = before else { return Ok(Vec::new()) };
        let happened = visits.happened(from).await?;
        let (ended, more_ended) = self.visible_ends(granted, (&happened, shown.runs_read)).await?;
        let owed = shown.debts.open().filter(|debt| {
            happened.owed.iter().any(|(host, balancer)| *host == debt.host && *balancer == debt.balancer)
        });
        let critical = happened.critical.iter().filter(|(host, _)| shown.inventory.host(host).is_some());
        let is_critical = |line: &CheckLine| line.verdict == Some(Verdict::Critical);
        let now_critical: std::collections::HashSet<_> = shown
            .checks
            .iter()
            .filter(|line| is_critical(line))
            .map(|line| (&line.host, &line.check))
            .collect();
        let still_critical =
            critical.clone().filter(|(host, check)| now_critical.contains(&(host, check))).count();
        let since = Since {
            from,
            ended,
            more_ended,
            owed: owed.count(),
            critical: critical.count(),
            still_critical,
            // Turns of checks are found by the time of day.
            was_set_back: now.at < from.at,
        };
        Ok(since.lines())
    }

    /// How the runs ended that the operator may see; and whether there may be more of them.
    async fn visible_ends(
        &self,
        granted: &Granted,
        (happened, (few, most)): (&Happened, (usize, usize)),
    ) -> Result<(Vec<RunOutcome>, bool), Ended> {
        let all: HashMap<RunId, RunOutcome> = happened.ended.iter().copied().collect();
        if granted.operator().groups.is_none() || all.is_empty() {
            let ends = happened.ended.iter().map(|(_, outcome)| *outcome);
            return Ok((ends.collect(), happened.more_ended));
        }
        let oldest = all.keys().min().copied();
        let mut wanted = few;
        loop {
            let (runs, has_more) = self.runs_of(granted, wanted).await?;
            // Behind them are older ones that are under way.
            let last = runs.iter().take(wanted).next_back().map(|run| run.run);
            let is_missing = has_more && last > oldest;
            if !is_missing || wanted >= most {
                let ends = runs.iter().filter_map(|run| all.get(&run.run).copied());
                return Ok((ends.collect(), is_missing || happened.more_ended));
            }
            wanted = most;
        }
    }
}
