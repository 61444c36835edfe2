//! Who acts when no operator does.

use crate::domain::ask::access::{LOCAL_KEY, Operator, Role};
use crate::domain::ask::audit::Caller;
use crate::door::Desk;

/// A caller on this machine.
pub(super) fn caller_of(desk: &Desk, operator: Operator) -> Caller {
    Caller { operator, from: None, config: desk.digest(), line: String::new() }
}

/// rollcall itself.
pub(super) fn myself() -> Operator {
    Operator::new("rollcall", LOCAL_KEY, Role::Admin)
}
