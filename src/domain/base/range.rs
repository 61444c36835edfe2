//! Threshold ranges as Nagios plugins write them: `10`, `10:`, `~:10`, `10:20`, `@10:20`.
//! (Monitoring Plugins developer guidelines, "Threshold and Ranges".)

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::outcome::Verdict;

/// A range of numbers; a value outside it (or, with `@`, inside it) raises an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    text: String,
    start: f64,
    end: f64,
    inside: bool,
}

impl Range {
    /// True for `~:`, which lets every number pass.
    pub fn never_alerts(&self) -> bool {
        !self.inside && self.start == f64::NEG_INFINITY && self.end == f64::INFINITY
    }

    /// True when `value` raises an alert. Both ends belong to the range.
    pub fn alerts(&self, value: f64) -> bool {
        let within = self.start <= value && value <= self.end;
        within == self.inside
    }
}

/// Two ranges for one number, as Nagios plugins take them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<Range>,
    /// Tested before `warning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<Range>,
}

impl Limits {
    /// The verdict on a number, and the range that it violates.
    pub fn judge(&self, value: f64) -> (Verdict, Option<&Range>) {
        let both = [(&self.critical, Verdict::Critical), (&self.warning, Verdict::Warning)];
        let hit = both.into_iter().find_map(|(range, verdict)| {
            range.as_ref().filter(|range| range.alerts(value)).map(|range| (verdict, Some(range)))
        });
        hit.unwrap_or((Verdict::Ok, None))
    }

    /// True when no number would ever raise an alert.
    pub fn assert_nothing(&self) -> bool {
        [&self.warning, &self.critical].into_iter().flatten().all(Range::never_alerts)
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("`{text}` is no range: {why} (write 10, 10:, ~:10, 10:20 or @10:20)");
        let (inside, bare) = text.strip_prefix('@').map_or((false, text), |bare| (true, bare));
        let (start, end) = bare.split_once(':').unwrap_or(("", bare));
        let number = |part: &str| part.parse::<f64>().ok().filter(|n| n.is_finite());
        let start = match start {
            "" => 0.0,
            "~" => f64::NEG_INFINITY,
            part => number(part).ok_or_else(|| bad("the start is no number"))?,
        };
        let end = match end {
            "" if bare.contains(':') => f64::INFINITY,
            part => number(part).ok_or_else(|| bad("the end is no number"))?,
        };
        if start > end {
            return Err(bad("it runs backwards"));
        }
        Ok(Range { text: text.into(), start, end, inside })
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> String {
        range.text
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_table_of_the_plugin_guidelines_holds() {
        let values = [-1.0, 0.0, 5.0, 10.0, 10.5, 20.0, 21.0];
        let table = [
            ("10", "A...AAA"),
            ("10:", "AAA...."),
            ("~:10", "....AAA"),
            ("10:20", "AAA...A"),
            ("@10:20", "...AAA."),
            ("0:0", "A.AAAAA"),
        ];
        for (text, wanted) in table {
            let range: Range = text.parse().unwrap();
            let got: String = values.iter().map(|v| if range.alerts(*v) { 'A' } else { '.' }).collect();
            assert_eq!(got, wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "x", "20:10", "1:2:3", "@", "nan", "inf:"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}
