//! Permissions. A [`Granted`] can be created in this file only, so code that needs one
//! cannot be reached without [`authorize`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::agent::AgentAsk;
use super::command::{Command, Params, parse_line};
use super::hours::Hours;
use super::login::Login;
use super::own_role::{Clause, OwnRole};
pub use super::role::{Role, least_role, needed_role};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::base::request::RequestKey;
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::domain::value::secret::HIDDEN;

/// The key of a local user who can read the store: no key proves an identity there.
pub const LOCAL_KEY: &str = "local";

/// A connected operator, identified by their key or certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The comment of the line in `operators`, or the name in the certificate. Several keys of one name are one person.
    pub name: String,
    /// SHA-256 fingerprint of the key that was used, or what identifies the certificate; [`LOCAL_KEY`] for a local user.
    pub key: String,
    pub role: OperatorRole,
    /// Groups they may see and act on; `None` means all.
    pub groups: Option<BTreeSet<String>>,
    /// The only command line that their certificate allows.
    pub only: Option<String>,
    /// When their key or certificate expires.
    pub until: Option<Timestamp>,
    /// When and how they logged in; `None` for a local user.
    pub login: Option<Login>,
    /// Rights for a time, besides those of the role.
    pub extra: Vec<ExtraRight>,
}

/// A role in some groups for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraRight {
    /// The number of the request.
    pub id: u64,
    pub role: OperatorRole,
    pub groups: BTreeSet<String>,
    pub until: Timestamp,
}

/// A built-in role, or one of `rollcall.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorRole {
    Standard(Role),
    Own(Arc<OwnRole>),
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperatorRole::Standard(role) => role.fmt(f),
            OperatorRole::Own(role) => f.pad(&role.name),
        }
    }
}

impl Operator {
    /// An operator with a built-in role, for all groups and without an end.
    pub fn new(name: impl Into<String>, key: impl Into<String>, role: Role) -> Operator {
        let role = OperatorRole::Standard(role);
        Operator {
            name: name.into(),
            key: key.into(),
            role,
            groups: None,
            only: None,
            until: None,
            login: None,
            extra: Vec::new(),
        }
    }

    /// The groups that they may see by any of their rights; `None` means all.
    pub fn all_groups(&self) -> Option<BTreeSet<String>> {
        let mut all = self.groups.clone()?;
        all.extend(self.extra.iter().flat_map(|right| right.groups.iter().cloned()));
        Some(all)
    }

    /// The hours of their role, if it has any.
    pub fn hours(&self) -> Option<&Hours> {
        match &self.role {
            OperatorRole::Standard(_) => None,
            OperatorRole::Own(role) => role.hours.as_ref(),
        }
    }

    /// True for the built-in role admin.
    pub fn is_admin(&self) -> bool {
        self.role == OperatorRole::Standard(Role::Admin)
    }

    /// True if they may run the task somewhere, or see what it does.
    pub fn knows_task(&self, task: &str) -> bool {
        match &self.role {
            OperatorRole::Standard(_) => true,
            OperatorRole::Own(role) => role.knows_task(task),
        }
    }

    /// True if they may run the task somewhere.
    pub fn may_run(&self, task: &str) -> bool {
        match &self.role {
            OperatorRole::Standard(role) => *role >= Role::Operator,
            OperatorRole::Own(role) => {
                role.tasks.contains(task) || role.includes.is_some_and(|role| role >= Role::Operator)
            }
        }
    }

    /// True if they may use a command in some form, at some time; by its words.
    pub fn may_use(&self, path: &str) -> bool {
        let has = |role: Role| role >= least_role(path);
        match &self.role {
            OperatorRole::Standard(role) => has(*role),
            OperatorRole::Own(role) => role.commands.contains(path) || role.includes.is_some_and(has),
        }
    }
}

/// A command that this operator is allowed to run.
#[derive(Clone, Debug)]
pub struct Granted {
    /// With the rights that the command is granted by.
    operator: Operator,
    person: Operator,
    command: Command,
    /// The same with the artifacts that were given to it.
    supplied: Option<Command>,
    rule: Rule,
    /// Its row in the audit.
    row: Option<u64>,
    /// The digest of the configuration that its run is planned from.
    config: Option<String>,
    /// What makes its request one that was sent before.
    request: Option<RequestKey>,
    /// An agent asks for it.
    agent: Option<AgentAsk>,
}

/// The rule that granted or refused a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A built-in role.
    Role(Role),
    /// A role of `rollcall.toml`.
    Own { role: String, clause: Clause },
    /// The one command line of a certificate (`force-command`).
    OnlyCommand,
    /// The key or certificate has expired.
    Expired,
    /// A right for a time, by the number of its request.
    Temporary(u64),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Role(role) => write!(f, "role {role}"),
            Rule::Own { role, clause } => write!(f, "roles.{role}: {}", clause.word()),
            Rule::OnlyCommand => f.write_str("force-command"),
            Rule::Expired => f.write_str("expired"),
            Rule::Temporary(id) => write!(f, "temporary right {id}"),
        }
    }
}

/// A refused command, with the rule that refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub rule: Rule,
    pub refusal: Refusal,
}

impl Denied {
    /// The refusal of a typed line: where another login is missing, with the line that makes one.
    pub fn of_line(self, line: &str) -> Refusal {
        let options = match self.rule {
            Rule::Own { clause: Clause::Fresh, .. } => "-o ControlPath=none",
            Rule::Own { clause: Clause::Touch, .. } => {
                "-o ControlPath=none -o IdentitiesOnly=yes -i ~/.ssh/id_ed25519_sk"
            }
            _ => return self.refusal,
        };
        // What a shell reads as more than words would run on the operator's own machine.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || " =-.,:_/@%+".contains(c);
        let again = match line {
            _ if line.contains(HIDDEN) => "COMMAND".into(),
            _ if line.chars().all(is_plain) => line.to_string(),
            _ => shell_words::quote(line).into_owned(),
        };
        self.refusal.hint(format!("try: ssh {options} rollcall {again}"))
    }
}

impl Granted {
    /// Who asked, with their permanent rights and all temporary ones.
    pub fn person(&self) -> &Operator {
        &self.person
    }

    /// The operator of the command, with the rights that it is granted by.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The command.
    pub fn command(&self) -> &Command {
        self.supplied.as_ref().unwrap_or(&self.command)
    }

    /// The command as it was typed, before it was given any artifact.
    pub fn typed(&self) -> &Command {
        &self.command
    }

    /// The same command, with its artifacts by their content. Nothing else of it can change.
    pub fn with_artifacts(self, artifacts: Params) -> Granted {
        let supplied = self.command.with_artifacts(artifacts);
        Granted { supplied, ..self }
    }

    /// The rule that granted it.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The same with its row in the audit.
    pub fn recorded(self, row: Option<u64>) -> Granted {
        Granted { row, ..self }
    }

    /// The same for a request that may have been sent before.
    pub fn requested(self, request: Option<RequestKey>) -> Granted {
        Granted { request, ..self }
    }

    /// What makes its request one that was sent before.
    pub fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    /// The same for a request of an agent, if it is one.
    pub fn sent_by(self, agent: Option<AgentAsk>) -> Granted {
        Granted { agent, ..self }
    }

    /// The request of an agent.
    pub fn agent(&self) -> Option<&AgentAsk> {
        self.agent.as_ref()
    }

    /// The digest of the plan that an agent has proposed.
    pub fn proposed(&self) -> Option<&str> {
        match &self.agent {
            Some(AgentAsk::Starts { digest }) => Some(digest),
            Some(AgentAsk::Reads) | None => None,
        }
    }

    /// The same for a run that is planned from this version of the configuration.
    pub fn planned_from(&self, digest: &str) -> Granted {
        Granted { config: Some(digest.to_string()), ..self.clone() }
    }

    /// The digest of the configuration that its run is planned from.
    pub fn config(&self) -> Option<&str> {
        self.config.as_deref()
    }

    /// Its row in the audit, if it was recorded before it acts.
    pub fn row(&self) -> Option<u64> {
        self.row
    }

    /// True if a run of this operator waits until another person approves it; one of an agent always does.
    pub fn needs_approval(&self) -> bool {
        let is_of_role = matches!(&self.operator.role, OperatorRole::Own(role) if role.needs_approval);
        is_of_role || self.agent.is_some()
    }

    /// The part of the inventory that the operator may see. All selections use this one.
    pub fn inventory(&self, whole: &Arc<Inventory>) -> Arc<Inventory> {
        match &self.operator.groups {
            None => whole.clone(),
            groups => Arc::new(whole.visible_to(groups.as_ref())),
        }
    }

    /// True when the operator may see the host.
    pub fn sees(&self, host: &Host) -> bool {
        host.is_within(self.operator.groups.as_ref())
    }
}

/// Grants the command, or returns the reason for the refusal; each with the rule that decided.
pub fn authorize(operator: &Operator, command: Command, now: Timestamp) -> Result<Granted, Denied> {
    let person = operator.clone();
    let judged = judge(operator, &command, now);
    let extra = extra_rights(operator, &command, now);
    let rule = match (judged, extra.first()) {
        (Ok(rule), _) => rule,
        (Err(_), Some(right)) => Rule::Temporary(right.id),
        (Err(denied), None) => return Err(denied),
    };
    let acting = match (&rule, extra.first()) {
        (Rule::Temporary(_), Some(first)) => with_role(operator, first),
        _ => Operator { extra: Vec::new(), ..operator.clone() },
    };
    // Who acts does so with one role: another one may have other limits, such as an approval. To read, each right counts.
    let only_reads = command.only_reads();
    let counts = |right: &&&ExtraRight| only_reads || right.role == acting.role;
    let further = extra.iter().filter(counts).flat_map(|right| right.groups.iter().cloned());
    let groups = acting.groups.clone().map(|own| own.into_iter().chain(further).collect());
    Ok(Granted {
        operator: Operator { groups, ..acting },
        person,
        command,
        supplied: None,
        rule,
        row: None,
        config: None,
        request: None,
        agent: None,
    })
}

/// The temporary rights that grant a command. They widen neither an expired login nor a certificate for one command.
fn extra_rights<'o>(operator: &'o Operator, command: &Command, now: Timestamp) -> Vec<&'o ExtraRight> {
    let is_open = operator.only.is_none() && operator.until.is_none_or(|until| now < until);
    let holds = |right: &&ExtraRight| {
        is_open && now < right.until && judge(&with_role(operator, right), command, now).is_ok()
    };
    operator.extra.iter().filter(holds).collect()
}

/// The operator with a temporary right alone.
fn with_role(operator: &Operator, right: &ExtraRight) -> Operator {
    let (role, groups) = (right.role.clone(), Some(right.groups.clone()));
    Operator { role, groups, extra: Vec::new(), ..operator.clone() }
}

fn judge(operator: &Operator, command: &Command, now: Timestamp) -> Result<Rule, Denied> {
    if let Some(until) = operator.until.filter(|until| *until <= now) {
        return Err(denied(Rule::Expired, format!("your key or certificate expired at {until}")));
    }
    if let Some(only) = &operator.only {
        let is_it = parse_line(only.as_bytes()).is_ok_and(|request| request.command == *command);
        if !is_it {
            let why = format!("your certificate allows one command only (force-command): {only}");
            return Err(denied(Rule::OnlyCommand, why));
        }
    }
    match &operator.role {
        OperatorRole::Standard(role) => standard(operator, *role, command),
        OperatorRole::Own(role) => {
            let rule = |clause| Rule::Own { role: role.name.clone(), clause };
            let judged = role.judge(command, now);
            let step_up = |clause| role.step_up(operator.login.as_ref(), command, now).map(|()| clause);
            let judged = judged.and_then(step_up);
            judged.map(&rule).map_err(|(clause, why)| {
                let Denied { rule, refusal } = denied(rule(clause), why);
                Denied { rule, refusal: refusal.hint("see: whoami") }
            })
        }
    }
}

fn standard(operator: &Operator, role: Role, command: &Command) -> Result<Rule, Denied> {
    let needed = needed_role(command);
    if role >= needed {
        return Ok(Rule::Role(needed));
    }
    let why = format!("this needs the role {needed}, and {} has the role {role}", operator.name);
    let Denied { rule, refusal } = denied(Rule::Role(needed), why);
    Err(Denied { rule, refusal: refusal.hint("try: ask an admin to change your line in `operators`") })
}

fn denied(rule: Rule, why: String) -> Denied {
    Denied { rule, refusal: Refusal::new(Cause::NotAllowed, why) }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
