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

    /// Records the end of a command that was sent.
    pub fn ended(&self, host: &Endpoint, at: Timestamp, end: &ExecEnd) {
        match end {
            // The host has answered, whatever that was.
            ExecEnd::Exited(_) | ExecEnd::Signalled(_) | ExecEnd::Foreign(_) => self.record(host, at, Ok(())),
            ExecEnd::Lost(why) => self.record(host, at, Err(format!("contact was lost: {why}"))),
            // A command that was ended says nothing of its host, and one that was not sent is recorded where it failed.
            ExecEnd::TimedOut | ExecEnd::Cancelled | ExecEnd::NotStarted(_) => {}
        }
    }
}
