//! The last contact with a host, and a ping.

use std::time::Duration;

use jiff::Timestamp;

/// The last contact with a host since this process has started.
#[derive(Clone, Debug, PartialEq)]
pub struct Contact {
    pub at: Timestamp,
    /// The first contact of those that ended alike since.
    pub since: Timestamp,
    /// Why the host was not reached.
    pub end: Result<(), String>,
}

impl Contact {
    /// The contact that follows another one, or none.
    pub fn after(before: Option<&Contact>, at: Timestamp, end: Result<(), String>) -> Contact {
        let alike = before.filter(|before| before.end.is_ok() == end.is_ok());
        Contact { at, since: alike.map_or(at, |before| before.since), end }
    }
}

/// The answer to a ping.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// How long it took to connect; `None` over a connection that was open.
    pub connected: Option<Duration>,
    /// The time of the round trip; or why the host was not reached.
    pub round_trip: Result<Duration, String>,
}

impl Ping {
    /// A host that was not reached.
    pub fn failed(why: impl Into<String>) -> Ping {
        Ping { connected: None, round_trip: Err(why.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_the_first_contact_that_ended_alike() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut contact: Option<Contact> = None;
        let rows = [(1, Ok(()), 1), (2, Err("a"), 2), (3, Err("b"), 2), (4, Ok(()), 4), (5, Ok(()), 4)];
        for (second, end, since) in rows {
            let end: Result<(), String> = end.map_err(String::from);
            let next = Contact::after(contact.as_ref(), at(second), end.clone());
            assert_eq!(next, Contact { at: at(second), since: at(since), end });
            contact = Some(next);
        }
    }
}
