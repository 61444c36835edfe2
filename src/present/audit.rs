//! The audit in words.

use super::table::{columns, moment};
use crate::domain::ask::audit::{AuditFact, AuditKind, AuditRow, ChainSummary, CommandEnd, KeyChange};
use crate::domain::base::configuration::short;
use crate::domain::base::name::count;
use crate::domain::base::outcome::seconds;

/// `audit`: one line for each row, oldest first.
pub fn rows(rows: &[AuditRow]) -> String {
    let head = ["ROW", "TIME", "WHO", "FROM", "WHAT"].map(String::from).to_vec();
    let line = |row: &AuditRow| {
        let AuditFact { at, name, from, .. } = &row.fact;
        let dash = |text: String| if text.is_empty() { "-".to_string() } else { text };
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        vec![row.seq.to_string(), moment(*at), dash(name.clone()), dash(from), words(&row.fact)]
    };
    columns(&[head].into_iter().chain(rows.iter().map(line)).collect::<Vec<_>>())
}

/// A row in one line.
pub fn words(fact: &AuditFact) -> String {
    let times = if fact.times == 1 { String::new() } else { format!(" ({} times)", fact.times) };
    let text = match &fact.kind {
        AuditKind::Login { user } => format!("login as `{user}`"),
        AuditKind::LoginRefused { user, keys } => {
            format!("LOGIN REFUSED as `{user}`: {}", keys.join(", "))
        }
        AuditKind::LoginsLeftOut { count: left } => {
            format!("{} REFUSED beyond the limit for an hour, without rows", count(*left as usize, "login"))
        }
        AuditKind::Command { line, rule, end } => {
            let end = end.as_ref().map(|end| format!(": {}", ended(end))).unwrap_or_default();
            format!("`{line}` granted by {rule}{end}")
        }
        AuditKind::CommandRefused { line, rule, why } => {
            let rule = rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
            format!("`{line}` REFUSED{rule}: {why}")
        }
        AuditKind::CommandEnded { command, end } => format!("the command of row {command}: {}", ended(end)),
        AuditKind::ConfigChanged { how, new, commit, files, .. } => {
            let commit = commit.as_ref().map(|commit| format!(" (commit {commit})")).unwrap_or_default();
            format!("configuration {}{commit} in force by {}: {}", short(new), how.word(), files.join(" "))
        }
        AuditKind::HostKey { host, change, fingerprint } => {
            let change = match change {
                KeyChange::Accepted => "accepted",
                KeyChange::Forgotten => "forgotten",
            };
            let key = fingerprint.as_ref().map(|key| format!(": {key}")).unwrap_or_default();
            format!("host key of {host} {change}{key}")
        }
        AuditKind::Enrolled { operator, fingerprint, line } => {
            format!("{operator} enrolled: {fingerprint}: {line}")
        }
        AuditKind::RowsRemoved { chain, first, last, hash } => {
            format!(
                "rows {first} to {last} of the {chain} were removed by [retention]; the last hash was {}",
                short(hash)
            )
        }
    };
    text + &times
}

fn ended(end: &CommandEnd) -> String {
    let run = end.run.map(|run| format!(", run {run}")).unwrap_or_default();
    let why = end.why.as_ref().map(|why| format!(", NOT DONE: {why}")).unwrap_or_default();
    format!("exit status {} after {}{run}{why}", end.status, seconds(end.millis))
}

/// `audit verify`: what each chain holds.
pub fn verified(chains: &[ChainSummary]) -> String {
    let head = ["CHAIN", "ROWS", "FIRST", "LAST", "HEAD"].map(String::from).to_vec();
    let line = |chain: &ChainSummary| {
        let time = |at: &Option<String>| at.clone().unwrap_or_else(|| "-".into());
        let rows = chain.rows.to_string();
        vec![chain.chain.to_string(), rows, time(&chain.first), time(&chain.last), chain.head.clone()]
    };
    let table = columns(&[head].into_iter().chain(chains.iter().map(line)).collect::<Vec<_>>());
    let removed = |chain: &ChainSummary| {
        let ChainSummary { chain, removed, .. } = chain;
        format!("Rows 1 to {removed} of the {chain} were removed by [retention] in rollcall.toml.\n")
    };
    let removed: String = chains.iter().filter(|chain| chain.removed > 0).map(removed).collect();
    format!("{table}{removed}Every row is unchanged, and none is missing.\n")
}
