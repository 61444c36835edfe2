//! Numbers of runs, rows, sessions and leases, as operators type them.

use std::str::FromStr;

use crate::domain::base::name::RunId;

/// A number that the store can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(u64);

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Number, String> {
        let number = text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
        number.map(Number).ok_or_else(|| format!("a number is one from 0 to {}", i64::MAX))
    }
}

/// The largest number that the store keeps.
pub const LARGEST_NUMBER: i64 = i64::MAX;

/// True for a number in range. Other words are for the grammar, which says what they should be.
pub(super) fn is_number(text: &str) -> bool {
    let is_digits = text.bytes().all(|digit| digit.is_ascii_digit());
    !is_digits || text.parse::<u64>().is_ok_and(|number| i64::try_from(number).is_ok())
}

impl From<Number> for u64 {
    fn from(number: Number) -> u64 {
        number.0
    }
}

impl From<Number> for RunId {
    fn from(number: Number) -> RunId {
        RunId(number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_that_the_store_can_hold() {
        assert_eq!("41".parse(), Ok(Number(41)));
        assert_eq!("9223372036854775807".parse(), Ok(Number(i64::MAX.unsigned_abs())));
        for wrong in ["9223372036854775808", "99999999999999999999", "-1", "1.5", "", "x"] {
            let why: Result<Number, String> = wrong.parse();
            assert_eq!(why, Err("a number is one from 0 to 9223372036854775807".into()), "{wrong}");
        }
    }
}
