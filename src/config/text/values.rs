//! How values of each type are read.

use std::time::Duration;

use jiff::SignedDuration;
use toml::Spanned;
use toml::de::DeValue;

use super::keys::{
    Choice, Choices, Flag, In, KeptTime, KeyType, MapOf, Mode, Port, SIZES, Scalar, Size, Text, Texts, Time,
    Whole, Word, WordList,
};
use super::reader::{At, Readable, Reader, choose, strings};
use super::table::Declared;
use crate::domain::base::schedule::read_time;

/// Longest duration that is accepted: more is a typing error, and would overflow clocks.
const DURATION_LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Largest mode of a file: all permissions, set-user-ID, set-group-ID and the sticky bit.
const LARGEST_MODE: u32 = 0o7777;

impl Readable for Text {
    type Value<'t> = Spanned<String>;

    fn read<'t>(at: At<'t>) -> Option<Spanned<String>> {
        match at.value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(at.value.span(), text.to_string())),
            _ => at.mismatch("a string"),
        }
    }
}

impl Readable for Word {
    type Value<'t> = String;

    fn read<'t>(at: At<'t>) -> Option<String> {
        let text = Text::read(at)?;
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if text.get_ref().is_empty() || text.get_ref().contains(bad) {
            at.doc.wrong(text.span(), format!("`{}` is one word, without blanks", at.key));
            return None;
        }
        Some(text.into_inner())
    }
}

impl Readable for Texts {
    type Value<'t> = Vec<Spanned<String>>;

    fn read<'t>(at: At<'t>) -> Option<Vec<Spanned<String>>> {
        Some(strings(at.doc, at.key, at.value))
    }
}

impl Readable for Time {
    type Value<'t> = Duration;

    fn read<'t>(at: At<'t>) -> Option<Duration> {
        let DeValue::String(text) = at.value.get_ref() else {
            return at.mismatch("a duration with its unit, such as \"30s\"");
        };
        let wrong = |why: &str| {
            let hint = "write it with its unit, such as \"30s\", \"2m\" or \"1m30s\"".to_string();
            at.doc.report(at.value.span(), format!("`{}`: {why}", at.key), hint);
        };
        let Ok(parsed) = text.parse::<SignedDuration>() else {
            wrong(&format!("`{text}` is no duration"));
            return None;
        };
        match Duration::try_from(parsed) {
            Err(_) => wrong("a duration cannot be negative"),
            Ok(duration) if duration > DURATION_LIMIT => wrong("a duration is at most 30 days"),
            Ok(duration) => return Some(duration),
        }
        None
    }
}

impl Readable for KeptTime {
    type Value<'t> = Duration;

    fn read<'t>(at: At<'t>) -> Option<Duration> {
        let text = Text::read(at)?;
        let wrong = |why| at.doc.wrong(text.span(), format!("`{}`: {why}", at.key));
        read_time(text.get_ref()).map_err(wrong).ok()
    }
}

impl Readable for Size {
    type Value<'t> = u64;

    fn read<'t>(at: At<'t>) -> Option<u64> {
        let text = Text::read(at)?;
        let size = bytes(text.get_ref());
        if size.is_none() {
            let hint = "write it with its unit, such as \"512 MiB\" or \"2 GiB\"".to_string();
            at.doc.report(text.span(), format!("`{}`: `{}` is no size", at.key, text.get_ref()), hint);
        }
        size
    }
}

/// A whole number of a unit; never zero.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (size, _) = SIZES.iter().find(|(_, name)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*size).filter(|bytes| *bytes > 0)
}

impl Readable for Mode {
    type Value<'t> = u32;

    fn read<'t>(at: At<'t>) -> Option<u32> {
        let hint = || "octal digits as chmod reads them, such as \"0644\"".to_string();
        let DeValue::String(text) = at.value.get_ref() else {
            at.doc.report(at.value.span(), format!("`{}` is a string", at.key), hint());
            return None;
        };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= LARGEST_MODE);
        if mode.is_none() {
            at.doc.report(at.value.span(), format!("`{}` cannot be `{text}`", at.key), hint());
        }
        mode
    }
}

/// As a command line would give it.
impl Readable for Scalar {
    type Value<'t> = Spanned<String>;

    fn read<'t>(at: At<'t>) -> Option<Spanned<String>> {
        let text = match at.value.get_ref() {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(yes) => yes.to_string(),
            _ => return Text::read(at),
        };
        Some(Spanned::new(at.value.span(), text))
    }
}

impl<const FROM: u32, const TO: u32> Readable for Whole<FROM, TO> {
    type Value<'t> = u32;

    fn read<'t>(at: At<'t>) -> Option<u32> {
        let DeValue::Integer(number) = at.value.get_ref() else { return at.mismatch("a whole number") };
        let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let read = read.and_then(|number| u32::try_from(number).ok()).filter(|n| (FROM..=TO).contains(n));
        if read.is_none() {
            let range =
                if TO == u32::MAX { format!("at least {FROM}") } else { format!("from {FROM} to {TO}") };
            at.doc.wrong(at.value.span(), format!("`{}` is a whole number, {range}", at.key));
        }
        read
    }
}

impl Readable for Port {
    type Value<'t> = u16;

    fn read<'t>(at: At<'t>) -> Option<u16> {
        Whole::<1, { u16::MAX as u32 }>::read(at).and_then(|port| u16::try_from(port).ok())
    }
}

impl Readable for Flag {
    type Value<'t> = bool;

    fn read<'t>(at: At<'t>) -> Option<bool> {
        at.value.get_ref().as_bool().or_else(|| at.mismatch("true or false"))
    }
}

impl<W: WordList> Readable for Choice<W> {
    type Value<'t> = W::Meaning;

    fn read<'t>(at: At<'t>) -> Option<W::Meaning> {
        choose(at, W::ALL)
    }
}

impl<W: WordList> Readable for Choices<W> {
    type Value<'t> = Vec<Spanned<String>>;

    fn read<'t>(at: At<'t>) -> Option<Vec<Spanned<String>>> {
        Texts::read(at)
    }
}

impl<T: KeyType> Readable for MapOf<T> {
    type Value<'t> = Reader<'t>;

    fn read<'t>(at: At<'t>) -> Option<Reader<'t>> {
        Reader::free(at.doc, format!("`{}`", at.key), at.key, at.value)
    }
}

impl<T: Declared> Readable for In<T> {
    type Value<'t> = Reader<'t>;

    fn read<'t>(at: At<'t>) -> Option<Reader<'t>> {
        match at.value.get_ref() {
            DeValue::Table(table) => {
                Some(Reader::of::<T>(at.doc, format!("`{}`", at.key), (table, Some(at.value.span()))))
            }
            _ => at.mismatch("a table"),
        }
    }
}
