//! Sessions of the door, in words.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::table::{age, columns};
use crate::domain::base::name::RunId;

/// A session at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionLine {
    pub id: u64,
    #[serde(flatten)]
    pub guest: ConnectedOperator,
    pub commands: Vec<CommandUnderWay>,
}

/// Who is connected, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectedOperator {
    pub operator: String,
    pub key: String,
    pub from: IpAddr,
    pub since: Timestamp,
}

/// A command that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandUnderWay {
    /// The line, without the values of secrets.
    pub line: String,
    pub since: Timestamp,
    /// The run that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// A line for each session; commands under way are in the last column. `own` is the session of the reader.
pub fn sessions(all: &[SessionLine], own: Option<u64>, now: Timestamp) -> String {
    if all.is_empty() {
        return "no operator is connected\n".into();
    }
    let head = ["SESSION", "OPERATOR", "FROM", "CONNECTED", "COMMANDS"].map(String::from).to_vec();
    let row = |one: &SessionLine| {
        let id = if own == Some(one.id) { format!("{} (this one)", one.id) } else { one.id.to_string() };
        let ConnectedOperator { operator, from, since, .. } = &one.guest;
        vec![id, operator.clone(), from.to_string(), age(*since, now), commands(one)]
    };
    let rows: Vec<_> = std::iter::once(head).chain(all.iter().map(row)).collect();
    columns(&rows)
}

fn commands(one: &SessionLine) -> String {
    let with_run = |doing: &CommandUnderWay| match doing.run {
        Some(run) => format!("{} (follows run {run})", doing.line),
        None => doing.line.clone(),
    };
    let lines: Vec<String> = one.commands.iter().map(with_run).collect();
    if lines.is_empty() { "-".into() } else { lines.join("; ") }
}

/// Who else follows a run: `ann and ben follow it, too`.
pub fn others<'o>(operators: impl IntoIterator<Item = &'o String>) -> Option<String> {
    let names: Vec<&str> = operators.into_iter().map(String::as_str).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("{one} follows it, too")),
        [first @ .., last] => Some(format!("{} and {last} follow it, too", first.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_listed_with_what_it_does() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let guest = |operator: &str| ConnectedOperator {
            operator: operator.into(),
            key: "SHA256:k".into(),
            from: "192.0.2.1".parse().unwrap(),
            since: at(0),
        };
        let doing = CommandUnderWay { line: "watch 7".into(), since: at(60), run: Some(RunId(7)) };
        let all = [
            SessionLine { id: 1, guest: guest("ann"), commands: vec![doing] },
            SessionLine { id: 2, guest: guest("ben"), commands: Vec::new() },
        ];
        assert_eq!(
            sessions(&all, Some(2), at(300)),
            "SESSION       OPERATOR  FROM       CONNECTED  COMMANDS\n\
             1             ann       192.0.2.1  5m         watch 7 (follows run 7)\n\
             2 (this one)  ben       192.0.2.1  5m         -\n"
        );
        assert_eq!(sessions(&[], None, at(0)), "no operator is connected\n");
    }

    #[test]
    fn others_are_named() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            others(&names)
        };
        assert_eq!(names(&[]), None);
        assert_eq!(names(&["ann"]).unwrap(), "ann follows it, too");
        assert_eq!(names(&["ann", "ben", "eve"]).unwrap(), "ann, ben and eve follow it, too");
    }
}
