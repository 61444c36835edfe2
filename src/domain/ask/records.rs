//! From the words of `audit`, `receipt` and `config` to the command.

use super::ask::{AuditAsk, Command, GitService, Record, Since};
use super::config_words::{ConfigWords, GitWords};
use super::grammar::{AuditWord, AuditWords, ReceiptWords};
use super::number::Number;
use crate::domain::base::name::RunId;
use crate::domain::base::schedule::read_time;

pub(super) fn read_audit(words: AuditWords) -> Result<Command, String> {
    let AuditWords { what, since, before, operator, types, refused } = words;
    let record = match what {
        Some(AuditWord::Verify) => Record::Verify,
        None => {
            let since = since.map(|text| read_since(&text, "a row")).transpose()?;
            Record::Audit(AuditAsk { since, before: before.map(u64::from), operator, types, refused })
        }
    };
    Ok(Command::Record(record))
}

/// Without a run, the grammar has demanded `--allowed-signers`.
pub(super) fn read_receipt(words: &ReceiptWords) -> Command {
    let receipt = |run| Record::Receipt { run: RunId::from(run), signature: words.signature };
    Command::Record(words.run.map_or(Record::Signers, receipt))
}

pub(super) fn read_config(words: ConfigWords) -> Command {
    Command::Record(match words {
        ConfigWords::Log => Record::ConfigLog,
        ConfigWords::Diff { old, new } => Record::ConfigDiff { old, new },
    })
}

pub(super) fn read_git(words: GitWords) -> Command {
    let (service, path) = match words {
        GitWords::Push { path } => (GitService::Push, path),
        GitWords::Fetch { path } => (GitService::Fetch, path),
    };
    Command::Record(Record::Git { service, path })
}

pub(super) fn read_events(since: &str, follow: bool, types: Vec<String>) -> Result<Command, String> {
    Ok(Command::Events { since: read_since(since, "an event")?, follow, types })
}

/// A number of an event or a row, or a time back from now.
fn read_since(text: &str, of: &str) -> Result<Since, String> {
    match text.parse::<Number>() {
        Ok(seq) => Ok(Since::Event(seq.into())),
        Err(_) => read_time(text).map(Since::Time).map_err(|_| {
            format!("`{text}` is neither a number of {of} nor a time; try: --since 41, --since 2h")
        }),
    }
}
