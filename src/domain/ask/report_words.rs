//! The words of `report`.

use clap::Args;

use super::ask::Command;
use super::options::{Record, ReportAsk};
use crate::domain::base::schedule::read_time;

pub(super) const REPORT_HELP: &str = "\
Deploys are runs of tasks with a rollout. What is under way, cancelled or not known counts as neither good nor failed.
docs/report.md has the rule of each number.";

#[derive(Args, Debug)]
pub(super) struct ReportWords {
    #[arg(default_value = "all")]
    selector: String,
    /// The time, back from now: 12h, 30d, 4w
    #[arg(long = "for", default_value = "30d")]
    time: String,
}

pub(super) fn read_report(words: ReportWords) -> Result<Command, String> {
    let ReportWords { selector, time } = words;
    Ok(Command::Record(Record::Report(ReportAsk { selector, time: read_time(&time)? })))
}
