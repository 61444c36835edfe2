//! The subject of an observation on a host: a check, or whether the host is reachable.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::check::id::CheckId;

/// The word for the contact, which every host has. A check may have this name, too: it has a set.
pub const REACHABLE: &str = "reachable";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub enum Subject {
    /// Whether the host is reachable.
    Contact,
    Check(CheckId),
}

/// The stored form: the contact has no set.
#[derive(Serialize, Deserialize)]
struct Form {
    #[serde(default)]
    set: Option<Arc<str>>,
    check: Arc<str>,
}

impl From<Form> for Subject {
    fn from(Form { set, check }: Form) -> Subject {
        Subject::of_row(set.as_deref().unwrap_or_default(), &check)
    }
}

impl From<Subject> for Form {
    fn from(subject: Subject) -> Form {
        let (set, check) = subject.row();
        Form { set: (!set.is_empty()).then(|| set.into()), check: check.into() }
    }
}

impl From<CheckId> for Subject {
    fn from(id: CheckId) -> Subject {
        Subject::Check(id)
    }
}

impl Subject {
    /// From a stored set and name. The contact has no set, and earlier builds stored no check like that.
    pub fn of_row(set: &str, name: &str) -> Subject {
        match (set, name) {
            ("", REACHABLE) => Subject::Contact,
            (set, name) => Subject::Check(CheckId::new(set, name)),
        }
    }

    /// The set and name to store.
    pub fn row(&self) -> (&str, &str) {
        match self {
            Subject::Contact => ("", REACHABLE),
            Subject::Check(id) => (&id.set, &id.name),
        }
    }

    /// The check, if the subject is one.
    pub fn check(&self) -> Option<&CheckId> {
        match self {
            Subject::Contact => None,
            Subject::Check(id) => Some(id),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Contact => f.write_str(REACHABLE),
            Subject::Check(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contact_is_no_check_whatever_checks_are_called() {
        let check = Subject::Check(CheckId::new("api", REACHABLE));
        for (subject, text) in [
            (Subject::Contact, r#"{"set":null,"check":"reachable"}"#),
            (check, r#"{"set":"api","check":"reachable"}"#),
        ] {
            assert_eq!(serde_json::to_string(&subject).unwrap(), text);
            assert_eq!(serde_json::from_str::<Subject>(text).unwrap(), subject);
        }
        // The form of an earlier build.
        let old = |text: &str| serde_json::from_str::<Subject>(text).unwrap();
        assert_eq!(old(r#"{"check":"reachable"}"#), Subject::Contact);
        assert_eq!(old(r#"{"check":"up"}"#), Subject::Check(CheckId::new("", "up")));
    }
}
