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
