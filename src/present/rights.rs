//! Rights for a time, in words.

use jiff::Timestamp;

use super::table::{age, columns, moment};
use crate::domain::ask::temporary::TemporaryRight;

/// A line for each request and right.
pub fn rights(all: &[TemporaryRight], now: Timestamp) -> String {
    if all.is_empty() {
        return "no temporary right is asked for or held\n".into();
    }
    let head = ["NUMBER", "OPERATOR", "ROLE", "GROUPS", "STATE", "REASON"].map(String::from).to_vec();
    let row = |right: &TemporaryRight| {
        let state = match &right.granted {
            Some(grant) => format!("until {}, granted by {}", moment(grant.until), grant.by),
            None => format!("asked for {} {} ago", in_words(right), age(right.asked_at, now)),
        };
        let TemporaryRight { id, operator, role, why, .. } = right;
        vec![id.to_string(), operator.clone(), role.clone(), groups(right), state, why.clone()]
    };
    let rows: Vec<_> = std::iter::once(head).chain(all.iter().map(row)).collect();
    columns(&rows)
}

/// A request, and what comes next.
pub fn asked(right: &TemporaryRight) -> String {
    let TemporaryRight { id, role, .. } = right;
    format!(
        "request {id}: the role {role} in {} for {}; it waits for an hour\nan admin grants it: ssh rollcall grant {id}\n",
        groups(right),
        in_words(right)
    )
}

/// A right that was granted now.
pub fn granted(right: &TemporaryRight) -> String {
    let until = right.granted.as_ref().map(|grant| moment(grant.until)).unwrap_or_default();
    let TemporaryRight { id, operator, role, .. } = right;
    format!(
        "{operator} has the role {role} in {} until {until}; to end it before: grant end {id}\n",
        groups(right)
    )
}

fn groups(right: &TemporaryRight) -> String {
    right.groups.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

fn in_words(right: &TemporaryRight) -> String {
    let span = jiff::SignedDuration::try_from(right.time).unwrap_or(jiff::SignedDuration::MAX);
    format!("{span:#}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::ask::temporary::RightGrant;

    #[test]
    fn a_request_names_the_line_that_grants_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let right = TemporaryRight {
            id: 3,
            operator: "bob".into(),
            role: "operator".into(),
            groups: ["prod".to_string(), "test".to_string()].into(),
            time: Duration::from_secs(3_600),
            why: "on call".into(),
            asked_at: at(0),
            granted: None,
            ended: None,
        };
        assert_eq!(
            asked(&right),
            "request 3: the role operator in prod,test for 1h; it waits for an hour\nan admin grants it: ssh rollcall grant 3\n"
        );
        assert!(rights(std::slice::from_ref(&right), at(120)).contains("asked for 1h 2m ago  on call\n"));
        let grant = RightGrant { by: "ann".into(), key: "k".into(), at: at(0), until: at(3_600) };
        let right = TemporaryRight { granted: Some(grant), ..right };
        assert!(granted(&right).contains("bob has the role operator in prod,test until 1970-01-01"));
        assert!(rights(&[right], at(0)).contains("granted by ann"));
    }
}
