//! Limits of logged-in connections: for each operator, and in total.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::ask::access::Operator;

/// Connections of admins beyond those of all operators: an admin must be able to log in when all others are taken.
const ADMIN_SEATS: usize = 64;

/// The logged-in connections, by the operator's name.
#[derive(Clone)]
pub struct Seats {
    /// Most connections of all operators, and of one: each takes about 50 KB.
    all: usize,
    each: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// The place of one connection.
pub struct ConnectionSeat {
    seats: Seats,
    name: String,
}

impl Drop for ConnectionSeat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.name);
            }
        }
    }
}

impl Seats {
    pub fn new(all: usize, each: usize) -> Seats {
        Seats { all, each, taken: Arc::default() }
    }

    /// A place for one more connection, or the sentence why there is none.
    pub fn take(&self, operator: &Operator) -> Result<ConnectionSeat, String> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&operator.name).copied().unwrap_or_default();
        if own >= self.each {
            return Err(format!(
                "{} has {own} connections, the most for one operator; try: close some of them",
                operator.name
            ));
        }
        let limit = self.all + if operator.is_admin() { ADMIN_SEATS } else { 0 };
        if taken.values().sum::<usize>() >= limit {
            return Err(format!(
                "{limit} connections are open, the most for all operators; try: again later"
            ));
        }
        taken.insert(operator.name.clone(), own + 1);
        Ok(ConnectionSeat { seats: self.clone(), name: operator.name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ask::access::Role;

    const SEATS: usize = 1024;
    const SEATS_PER_OPERATOR: usize = 128;

    fn operator(name: &str, role: Role) -> Operator {
        Operator::new(name, format!("SHA256:{name}"), role)
    }

    #[test]
    fn an_operator_has_so_many_and_admins_get_in_last() {
        let seats = Seats::new(SEATS, SEATS_PER_OPERATOR);
        let mut held = Vec::new();
        for n in 0..SEATS / SEATS_PER_OPERATOR {
            let one = operator(&format!("v{n}"), Role::Viewer);
            held.extend((0..SEATS_PER_OPERATOR).map(|_| seats.take(&one).ok().unwrap()));
            let why = seats.take(&one).err().unwrap();
            assert_eq!(
                why,
                format!("v{n} has 128 connections, the most for one operator; try: close some of them")
            );
        }
        let why = seats.take(&operator("vic", Role::Viewer)).err().unwrap();
        assert_eq!(why, "1024 connections are open, the most for all operators; try: again later");
        let admin = operator("ann", Role::Admin);
        let last: Vec<ConnectionSeat> = (0..ADMIN_SEATS).map(|_| seats.take(&admin).ok().unwrap()).collect();
        assert!(seats.take(&admin).is_err());
        drop(last);
        held.pop();
        assert!(seats.take(&operator("vic", Role::Viewer)).is_ok(), "a place that was left is free");
    }
}
