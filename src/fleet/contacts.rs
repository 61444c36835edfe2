//! Which hosts the last contact reached. In memory: a process that has just started has tried none.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::domain::inventory::inventory::Endpoint;
use crate::port::{Contact, ExecEnd};

/// See the module.
#[derive(Default)]
pub struct Contacts(Mutex<HashMap<Endpoint, Contact>>);

impl Contacts {
    pub fn of(&self, host: &Endpoint) -> Option<Contact> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    pub fn record(&self, host: &Endpoint, at: Timestamp, end: Result<(), String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Contact::after(all.get(host), at, end);
        all.insert(host.clone(), next);
    }

    /// Records what the end of a command shows about its host. A command that ignored its signals shows nothing: the host is lost only
    /// if the connection is closed.
    pub fn ended(&self, host: &Endpoint, (at, is_closed): (Timestamp, bool), end: &ExecEnd) {
        match end {
            // The host has answered, whatever that was.
            ExecEnd::Exited(_) | ExecEnd::Signalled(_) | ExecEnd::Foreign(_) => self.record(host, at, Ok(())),
            ExecEnd::Lost(why) if is_closed => self.record(host, at, Err(format!("contact was lost: {why}"))),
            // One that was not sent is recorded where it failed.
            ExecEnd::Lost(_) | ExecEnd::TimedOut | ExecEnd::Cancelled | ExecEnd::NotStarted(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_connection_has_lost_its_host() {
        let (contacts, host) = (Contacts::default(), Endpoint { port: 22, here: false, ..Endpoint::here() });
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(contacts.of(&host), None);
        contacts.ended(&host, (at(1), false), &ExecEnd::Exited(3));
        for end in [ExecEnd::TimedOut, ExecEnd::Cancelled, ExecEnd::Lost("it may still run".into())] {
            contacts.ended(&host, (at(2), false), &end);
        }
        assert_eq!(contacts.of(&host), Some(Contact { at: at(1), since: at(1), end: Ok(()) }));
        contacts.ended(&host, (at(3), true), &ExecEnd::Lost("gone".into()));
        let end = Err("contact was lost: gone".to_string());
        assert_eq!(contacts.of(&host), Some(Contact { at: at(3), since: at(3), end }));
    }
}
