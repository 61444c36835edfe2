//! Rights for a time: an operator asks for them, another person grants them, and they end by themselves. Pure: the time is
//! an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::access::{LOCAL_KEY, Operator, OperatorRole, Role, least_role};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::is_within;

/// Longest time of temporary rights: who needs them longer needs a line in `operators`.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a request waits for a person who grants it.
pub const REQUEST_LIFE: Duration = Duration::from_secs(60 * 60);

/// Most requests and rights of one operator at the same time.
pub const PER_OPERATOR: usize = 8;

/// A role in some groups for a time: asked for, granted, or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryRight {
    /// 0 until it is stored.
    #[serde(default)]
    pub id: u64,
    pub operator: String,
    pub role: String,
    pub groups: BTreeSet<String>,
    pub time: Duration,
    pub why: String,
    pub asked_at: Timestamp,
    pub granted: Option<RightGrant>,
    pub ended: Option<RightEnd>,
}

/// Who granted a right, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightGrant {
    pub by: String,
    pub key: String,
    pub at: Timestamp,
    pub until: Timestamp,
}

/// Who ended a right or a request before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightEnd {
    pub by: String,
    pub at: Timestamp,
    pub why: Option<String>,
}

impl TemporaryRight {
    /// True for a request that waits, and for a right that holds.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.over_at()
    }

    /// True for a right that holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.granted.is_some() && self.is_open(now)
    }

    fn over_at(&self) -> Timestamp {
        match &self.granted {
            Some(grant) => grant.until,
            None => later(self.asked_at, REQUEST_LIFE),
        }
    }
}

/// The time of day after a duration.
pub fn later(at: Timestamp, time: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(time)
        .ok()
        .and_then(|time| at.checked_add(time).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Whether an operator may grant a request. An admin does, by permanent rights, and not for themselves.
pub fn may_grant(granter: &Operator, asked: &TemporaryRight, role: &OperatorRole) -> Result<(), Refusal> {
    let refused = |why: String| Err(Refusal::new(Cause::NotAllowed, why));
    if !granter.is_admin() {
        return refused(format!(
            "to grant rights needs the role admin, and {} has the role {}",
            granter.name, granter.role
        ));
    }
    if granter.name == asked.operator && granter.key != LOCAL_KEY {
        return refused(format!("{} asked for it, so another person grants it", asked.operator));
    }
    match &granter.groups {
        None => Ok(()),
        Some(_) if has_admins_commands(role) => {
            refused("only an admin of all groups makes another admin".into())
        }
        Some(own) => match asked.groups.iter().find(|group| !is_within(group, own)) {
            None => Ok(()),
            Some(group) => refused(format!("the group {group} is not one of yours")),
        },
    }
}

/// True for the role admin, and for a role of `rollcall.toml` with commands of admins.
fn has_admins_commands(role: &OperatorRole) -> bool {
    match role {
        OperatorRole::Standard(role) => *role == Role::Admin,
        OperatorRole::Own(role) => {
            role.includes == Some(Role::Admin)
                || role.commands.iter().any(|path| least_role(path) == Role::Admin)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::domain::ask::own_role::OwnRole;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(role: &str, group: &str) -> TemporaryRight {
        TemporaryRight {
            id: 1,
            operator: "bob".into(),
            role: role.into(),
            groups: [group.to_string()].into(),
            time: Duration::from_secs(600),
            why: "on call".into(),
            asked_at: at(0),
            granted: None,
            ended: None,
        }
    }

    #[test]
    fn a_request_waits_for_an_hour_and_a_right_ends_by_itself() {
        let asked = request("operator", "prod");
        assert!(asked.is_open(at(3_599)) && !asked.is_open(at(3_600)) && !asked.holds(at(10)));
        let grant = RightGrant { by: "ann".into(), key: "k".into(), at: at(100), until: at(700) };
        let granted = TemporaryRight { granted: Some(grant), ..asked };
        assert!(granted.holds(at(699)) && !granted.holds(at(700)));
        let ended = RightEnd { by: "ann".into(), at: at(200), why: None };
        assert!(!TemporaryRight { ended: Some(ended), ..granted }.holds(at(300)));
    }

    #[test]
    fn another_admin_grants_what_is_theirs_to_grant() {
        let of = |name: &str, role, groups: Option<&str>| Operator {
            groups: groups.map(|group| [group.to_string()].into()),
            ..Operator::new(name, "k", role)
        };
        let only_admins = "only an admin of all groups makes another admin";
        let table = [
            (of("ann", Role::Admin, Some("prod")), "super", "prod", only_admins),
            (of("ann", Role::Admin, None), "admin", "prod", ""),
            (of("ann", Role::Operator, None), "operator", "prod", "needs the role admin"),
            (
                of("bob", Role::Admin, None),
                "operator",
                "prod",
                "bob asked for it, so another person grants it",
            ),
            (of("ann", Role::Admin, Some("prod")), "operator", "prod.web", ""),
            (
                of("ann", Role::Admin, Some("prod")),
                "operator",
                "production",
                "the group production is not one of yours",
            ),
            (
                of("ann", Role::Admin, Some("prod.web")),
                "operator",
                "prod",
                "the group prod is not one of yours",
            ),
            (
                of("ann", Role::Admin, Some("prod")),
                "admin",
                "prod",
                "only an admin of all groups makes another admin",
            ),
        ];
        for (granter, role, group, why) in table {
            let of_request = match role {
                "admin" => OperatorRole::Standard(Role::Admin),
                "super" => {
                    let includes = Some(Role::Admin);
                    OperatorRole::Own(Arc::new(OwnRole { name: role.into(), includes, ..OwnRole::default() }))
                }
                _ => OperatorRole::Standard(Role::Operator),
            };
            let judged = may_grant(&granter, &request(role, group), &of_request);
            match why {
                "" => assert_eq!(judged, Ok(()), "{granter:?}"),
                why => assert!(judged.unwrap_err().to_string().contains(why), "{granter:?}"),
            }
        }
    }
}
