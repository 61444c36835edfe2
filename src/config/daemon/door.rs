//! `[door]`: limits of the SSH server for operators.

use std::time::Duration;

use super::keys::{DoorKeys, Profile};
use crate::config::text::reader::Reader;

/// The settings of the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorSettings {
    pub profile: Profile,
    pub login_grace: Duration,
    /// Most connections that have not logged in.
    pub waiting: usize,
    /// Most connections that have, in all and of one operator.
    pub connections: usize,
    pub per_operator: usize,
    /// Whether unknown keys may be enrolled.
    pub enrollment: bool,
    /// New connections of a source in a second, and how many at once.
    pub rate: u32,
    pub burst: u32,
    /// The longest time for which a source is kept out.
    pub penalty: Duration,
}

impl Default for DoorSettings {
    fn default() -> Self {
        DoorSettings {
            profile: DoorKeys::ALGORITHMS.default,
            login_grace: DoorKeys::LOGIN_GRACE.default,
            waiting: size(DoorKeys::WAITING.default),
            connections: size(DoorKeys::CONNECTIONS.default),
            per_operator: size(DoorKeys::PER_OPERATOR.default),
            enrollment: DoorKeys::ENROLLMENT.default,
            rate: DoorKeys::RATE.default,
            burst: DoorKeys::BURST.default,
            penalty: DoorKeys::PENALTY.default,
        }
    }
}

/// Reads the table.
pub fn read(mut table: Reader<'_>) -> DoorSettings {
    let settings = DoorSettings {
        profile: table.or_default(DoorKeys::ALGORITHMS),
        login_grace: table
            .positive(DoorKeys::LOGIN_GRACE, "no operator could log in")
            .unwrap_or(DoorKeys::LOGIN_GRACE.default),
        waiting: size(table.or_default(DoorKeys::WAITING)),
        connections: size(table.or_default(DoorKeys::CONNECTIONS)),
        per_operator: size(table.or_default(DoorKeys::PER_OPERATOR)),
        enrollment: table.or_default(DoorKeys::ENROLLMENT),
        rate: table.or_default(DoorKeys::RATE),
        burst: table.or_default(DoorKeys::BURST),
        penalty: table.or_default(DoorKeys::PENALTY),
    };
    table.finish();
    settings
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
