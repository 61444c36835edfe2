//! One step of a run on all of its hosts: which of them printed the same, and which of them say nothing that can be compared.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::fold::{Attempt, Printed, RunFold};
use super::mark::Mark;
use crate::domain::ask::view::StepNumber;
use crate::domain::base::answer::Answer;
use crate::domain::base::name::{HostName, natural};

/// Outputs that only files have, as they were read: a digest, or why there is none.
pub type FileAnswers = BTreeMap<HostName, Result<Answer, String>>;

/// The hosts of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepAnswers {
    /// The name that most hosts know the step by.
    pub name: String,
    /// Hosts that printed the same and ended alike, the most common ones first.
    pub groups: Vec<AnswerGroup>,
    /// Hosts whose outputs are not compared.
    pub apart: Vec<Apart>,
}

/// Hosts with the same answer.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerGroup {
    pub class: Class,
    pub lines: u64,
    pub members: Vec<Member>,
    /// The same for groups that printed the same and ended in another way.
    pub digest: u128,
    /// The hosts print their own names: their outputs are the same only apart from those.
    pub has_own_names: bool,
}

/// Hosts without an answer to compare, for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    pub mark: Mark,
    pub why: String,
    pub members: Vec<Member>,
}

/// A host, and the row of the step on its page, if it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub host: HostName,
    pub row: Option<usize>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    pub name: String,
    pub mark: Mark,
    pub why: String,
}

impl StepAnswers {
    /// The hosts of a step; `None` if no host has it in its plan.
    pub fn of(fold: &RunFold, step: StepNumber, files: &FileAnswers) -> Option<StepAnswers> {
        let mut found = StepAnswers::default();
        let mut known: BTreeMap<Class, Vec<(Member, Answer)>> = BTreeMap::new();
        let mut apart: BTreeMap<(Mark, String), Vec<Member>> = BTreeMap::new();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for host in hosts(fold) {
            let last = last_attempt(fold, host, step);
            let Some(name) = last.map(|(_, attempt)| &*attempt.name).or_else(|| planned(fold, host, step))
            else {
                continue;
            };
            *names.entry(name).or_default() += 1;
            let member = Member { host: host.clone(), row: last.map(|(row, _)| row) };
            match last.map(|(_, attempt)| (attempt, answer_of(attempt, files.get(host)))) {
                Some((attempt, Ok(answer))) => {
                    let (name, why) = (attempt.name.clone(), attempt.why.clone());
                    known.entry(Class { name, mark: attempt.mark, why }).or_default().push((member, answer));
                }
                Some((_, Err(reason))) => apart.entry(reason).or_default().push(member),
                None => apart.entry(not_reached(fold, host)).or_default().push(member),
            }
        }
        let (name, _) = names.into_iter().max_by_key(|(name, number)| (*number, Reverse(*name)))?;
        found.name = name.into();
        found.groups = known.into_iter().flat_map(|(class, members)| grouped(&class, members)).collect();
        found.groups.sort_by_key(|group| (Reverse(group.members.len()), group.class.mark.is_problem()));
        found.apart = apart.into_iter().map(|((mark, why), members)| Apart { mark, why, members }).collect();
        Some(found)
    }

    /// The hosts whose outputs only files have, with the attempt that wrote them.
    pub fn in_files(fold: &RunFold, step: StepNumber) -> Vec<(HostName, Attempt)> {
        let of = |host: &HostName| {
            let (_, attempt) = last_attempt(fold, host, step)?;
            (attempt.printed == Printed::InFile).then(|| (host.clone(), attempt.clone()))
        };
        hosts(fold).into_iter().filter_map(of).collect()
    }
}

/// True if the plan of a host has the step, or a host has gone through it.
pub fn has_step(fold: &RunFold, step: StepNumber) -> bool {
    let is_in =
        |host: &&HostName| planned(fold, host, step).is_some() || last_attempt(fold, host, step).is_some();
    step.number > 0 && fold.run.plan().hosts.keys().any(|host| is_in(&host))
}

/// All hosts of the run, in the order in which people count.
fn hosts(fold: &RunFold) -> Vec<&HostName> {
    let mut hosts: Vec<&HostName> = fold.run.plan().hosts.keys().collect();
    hosts.sort_by(|a, b| natural(a.as_str(), b.as_str()));
    hosts
}

/// The last attempt of the step on a host, with its row on the page of the host.
pub fn last_attempt<'f>(
    fold: &'f RunFold,
    host: &HostName,
    step: StepNumber,
) -> Option<(usize, &'f Attempt)> {
    let attempts = fold.attempts(host);
    let at = attempts.iter().rposition(|attempt| attempt.number() == step)?;
    Some((at + 1, &attempts[at]))
}

/// The name of the step in the plan of a host.
fn planned<'f>(fold: &'f RunFold, host: &HostName, step: StepNumber) -> Option<&'f str> {
    let host = fold.run.plan().hosts.get(host)?;
    let steps = if step.is_back { &host.rollback } else { &host.steps };
    steps.get(step.number.checked_sub(1)?).map(|step| &*step.name)
}

/// What an attempt printed, or why that cannot be compared.
fn answer_of(attempt: &Attempt, file: Option<&Result<Answer, String>>) -> Result<Answer, (Mark, String)> {
    let unknown = |why: &str| Err((Mark::Unknown, format!("not compared: {why}")));
    match (&attempt.printed, file) {
        (Printed::All(answer), _) | (Printed::InFile, Some(Ok(answer))) => Ok(*answer),
        (Printed::InFile, Some(Err(why))) | (Printed::Unknown(why), _) => unknown(why),
        (Printed::InFile, None) => unknown("its output is in a file that was not read"),
        (Printed::Nothing, _) => Err((attempt.mark, attempt.why.clone())),
    }
}

/// Why a host has not come to the step.
fn not_reached(fold: &RunFold, host: &HostName) -> (Mark, String) {
    let settled = fold.run.host(host).and_then(|state| state.settled());
    let why = match settled {
        Some((end, _)) => format!("left out: the host ended {}", end.word()),
        None if fold.run.outcome().is_some() => "left out: the run has ended".into(),
        None => String::new(),
    };
    (if why.is_empty() { Mark::NotStarted } else { Mark::Skipped }, why)
}

/// Each host is in the larger of two groups: those that printed the same, and those that printed the same apart from their own names.
fn grouped(class: &Class, members: Vec<(Member, Answer)>) -> Vec<AnswerGroup> {
    let (mut plain, mut masked) = (HashMap::new(), HashMap::new());
    for (_, answer) in &members {
        *plain.entry(answer.plain).or_insert(0_usize) += 1;
        *masked.entry(answer.masked).or_insert(0_usize) += 1;
    }
    let mut groups: Vec<AnswerGroup> = Vec::new();
    let mut places: HashMap<u128, (usize, u128)> = HashMap::new();
    for (member, answer) in members {
        let is_plain = plain.get(&answer.plain) > masked.get(&answer.masked);
        let digest = if is_plain { answer.plain } else { answer.masked };
        let (at, first) = *places.entry(digest).or_insert_with(|| {
            let (class, lines) = (class.clone(), answer.lines);
            groups.push(AnswerGroup { class, lines, members: Vec::new(), digest, has_own_names: false });
            (groups.len() - 1, answer.plain)
        });
        groups[at].has_own_names |= answer.plain != first;
        groups[at].members.push(member);
    }
    groups
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
