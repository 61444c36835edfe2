//! `whoami`: who an operator is to rollcall, by which key, what they may do, and until when.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::domain::ask::access::{ExtraRight, Operator, OperatorRole};
use crate::domain::ask::command::command_paths;

/// The answer. Commands that everyone has are not in it.
#[derive(Serialize)]
pub struct Whoami {
    name: String,
    key: String,
    role: String,
    groups: Option<BTreeSet<String>>,
    commands: Vec<String>,
    tasks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    only: Option<String>,
    needs_approval: bool,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh_s: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    touch: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    besides: Vec<Besides>,
}

/// A right for a time.
#[derive(Serialize)]
struct Besides {
    request: u64,
    role: String,
    groups: BTreeSet<String>,
    until: String,
}

fn besides(right: &ExtraRight) -> Besides {
    let ExtraRight { id, role, groups, until } = right;
    Besides { request: *id, role: role.to_string(), groups: groups.clone(), until: until.to_string() }
}

impl Whoami {
    /// `tasks` are those that work on a host the operator may see.
    pub fn of(operator: &Operator, tasks: Vec<String>) -> Whoami {
        let own = match &operator.role {
            OperatorRole::Own(role) => Some(role),
            OperatorRole::Standard(_) => None,
        };
        // Completion scripts send `complete`, people do not.
        let everyone = ["help", "version", "whoami", "complete"];
        let commands = command_paths().into_iter().filter(|path| !everyone.contains(&path.as_str()));
        Whoami {
            name: operator.name.clone(),
            key: operator.key.clone(),
            role: operator.role.to_string(),
            groups: operator.groups.clone(),
            commands: commands.filter(|path| operator.may_use(path)).collect(),
            tasks: tasks.into_iter().filter(|task| operator.may_run(task)).collect(),
            hours: own.and_then(|role| role.hours.as_ref()).map(ToString::to_string),
            until: operator.until.map(|until| until.to_string()),
            only: operator.only.clone(),
            needs_approval: own.is_some_and(|role| role.needs_approval),
            fresh_s: own.and_then(|role| role.fresh).map(|fresh| fresh.as_secs()),
            touch: own.is_some_and(|role| role.touch),
            besides: operator.extra.iter().map(besides).collect(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let list = |names: Vec<&str>| if names.is_empty() { "none".to_string() } else { names.join(", ") };
        let groups = match &self.groups {
            None => "all groups".to_string(),
            Some(groups) => list(groups.iter().map(String::as_str).collect()),
        };
        let mut text = format!("{} ({}), role {}, {groups}\n", self.name, self.key, self.role);
        if let Some(only) = &self.only {
            _ = writeln!(text, "only:     {only}");
        }
        _ = writeln!(text, "commands: {}", list(self.commands.iter().map(String::as_str).collect()));
        _ = writeln!(text, "tasks:    {}", list(self.tasks.iter().map(String::as_str).collect()));
        if self.needs_approval {
            text.push_str("approval: another person approves your runs before they start\n");
        }
        if let Some(fresh) = self.fresh_s {
            _ = writeln!(
                text,
                "fresh:    to act, within {fresh} s of the login: ssh -o ControlPath=none ..."
            );
        }
        if self.touch {
            text.push_str("touch:    to act, a login with a security key\n");
        }
        if let Some(hours) = &self.hours {
            _ = writeln!(text, "hours:    {hours}");
        }
        if let Some(until) = &self.until {
            _ = writeln!(text, "until:    {until}");
        }
        for Besides { role, groups, until, .. } in &self.besides {
            let groups = list(groups.iter().map(String::as_str).collect());
            _ = writeln!(text, "besides:  {role} in {groups} until {until}");
        }
        text
    }
}
