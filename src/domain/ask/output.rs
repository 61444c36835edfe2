//! What is asked of the output of a command.

/// What is asked of the output of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputOf {
    /// Its number or its name.
    pub step: String,
    /// Default: the last one.
    pub attempt: Option<u32>,
    pub part: OutputPart,
}

/// A part of an output.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputPart {
    /// Lines from a number to another one, or to the end.
    Lines {
        from: u64,
        to: Option<u64>,
    },
    /// A line, and some around it.
    Around(u64),
    Tail(usize),
    /// Lines with a text.
    Search(String),
    Regex(String),
    /// Lines that look like problems.
    Problems,
    /// Bytes, as they are.
    Raw(ByteRange),
}

/// Some bytes of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    All,
    /// From an offset to another one, which is in it, or to the end.
    From(u64, Option<u64>),
    /// The last ones.
    Last(u64),
}

impl ByteRange {
    /// Reads `0-1023`, `1024-` or `-500`, which is also `last-500`: a field of the API begins with no `-`.
    pub fn read(text: &str) -> Option<ByteRange> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let text = text.strip_prefix("last").filter(|rest| rest.starts_with('-')).unwrap_or(text);
        match text.split_once('-')? {
            ("", last) if is_number(last) => Some(ByteRange::Last(last.parse().ok()?)),
            (from, "") if is_number(from) => Some(ByteRange::From(from.parse().ok()?, None)),
            (from, to) if is_number(from) && is_number(to) => {
                let (from, to) = (from.parse().ok()?, to.parse().ok()?);
                (from <= to).then_some(ByteRange::From(from, Some(to)))
            }
            _ => None,
        }
    }

    /// The bytes of something with this length: the first one, and the one behind the last; `None` if it has none of them.
    pub fn within(self, length: u64) -> Option<(u64, u64)> {
        match self {
            ByteRange::All => Some((0, length)),
            ByteRange::From(from, to) => {
                (from < length).then(|| (from, to.map_or(length, |to| length.min(to.saturating_add(1)))))
            }
            ByteRange::Last(last) => (last > 0 && length > 0).then(|| (length.saturating_sub(last), length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_bytes_are_those_of_http() {
        type Within = Option<(u64, u64)>;
        let table: [(&str, Option<Within>); 15] = [
            ("last-4", Some(Some((6, 10)))),
            ("last4", None),
            ("last4-5", None),
            ("0-0", Some(Some((0, 1)))),
            ("0-", Some(Some((0, 10)))),
            ("3-5", Some(Some((3, 6)))),
            ("3-500", Some(Some((3, 10)))),
            ("9-9", Some(Some((9, 10)))),
            ("10-", Some(None)),
            ("-4", Some(Some((6, 10)))),
            ("-400", Some(Some((0, 10)))),
            ("-0", Some(None)),
            ("5-3", None),
            ("-", None),
            ("+1-2", None),
        ];
        for (text, wanted) in table {
            assert_eq!(ByteRange::read(text).map(|range| range.within(10)), wanted, "{text}");
        }
        assert_eq!(
            ByteRange::read("18446744073709551615-18446744073709551615").map(|range| range.within(10)),
            Some(None)
        );
        assert_eq!(ByteRange::All.within(0), Some((0, 0)));
        assert_eq!(ByteRange::Last(4).within(0), None);
    }
}
