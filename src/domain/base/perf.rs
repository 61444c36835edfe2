//! The output of a Nagios plugin: `TEXT | performance data`, then long text, then perhaps more performance data
//! (Monitoring Plugins developer guidelines, "Plugin Output" and "Performance data").

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most readings that are kept of one probe; a plugin that prints more is broken.
const READINGS_LIMIT: usize = 64;

/// One number with its name, as a plugin measured it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub label: String,
    /// `None` if the plugin printed `U`: it could not measure it.
    pub value: Option<f64>,
    /// `s`, `ms`, `us`, `%`, `B`, `KB`, `MB`, `GB`, `TB`, `c`, or another unit of the plugin; mostly empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// As the plugin wrote it, for graphs: the verdict never depends on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub warning: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub critical: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// As the plugin wrote it, for programs that read plugins: `0.420` stays `0.420`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub written: String,
}

impl Reading {
    /// A number without a unit.
    pub fn new(label: &str, value: f64) -> Reading {
        Reading { label: label.into(), value: Some(value), ..Reading::unmeasured(label) }
    }

    /// A number with its unit.
    pub fn with_unit(label: &str, value: f64, unit: &str) -> Reading {
        Reading { unit: unit.into(), ..Reading::new(label, value) }
    }

    fn unmeasured(label: &str) -> Reading {
        Reading {
            label: label.into(),
            value: None,
            unit: String::new(),
            warning: String::new(),
            critical: String::new(),
            min: None,
            max: None,
            written: String::new(),
        }
    }
}

/// As a plugin wrote it; or as one would write it, without trailing semicolons.
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.written.is_empty() {
            return f.write_str(&self.written);
        }
        let bare = !self.label.is_empty() && !self.label.contains([' ', '=', '\'']);
        let label = if bare { self.label.clone() } else { format!("'{}'", self.label.replace('\'', "''")) };
        let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        let value = self.value.map_or("U".into(), |value| value.to_string());
        let written = format!(
            "{label}={value}{};{};{};{};{}",
            self.unit,
            self.warning,
            self.critical,
            number(self.min),
            number(self.max)
        );
        f.write_str(written.trim_end_matches(';'))
    }
}

/// The parsed output of a plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Printed {
    /// The first line: the message.
    pub text: String,
    /// The lines after it.
    pub long: String,
    pub readings: Vec<Reading>,
    /// Pieces of performance data that are no numbers, as the plugin wrote them. They are among the readings, without a value.
    pub unread: Vec<String>,
    /// The number of pieces beyond the limit of readings.
    pub left_out: usize,
}

/// Parses the output of a plugin. Never fails: performance data that is no number is passed on as it was.
pub fn parse(stdout: &str) -> Printed {
    let (first, rest) = stdout.split_once('\n').unwrap_or((stdout, ""));
    let (text, data) = first.split_once('|').unwrap_or((first, ""));
    let (long, more) = rest.split_once('|').unwrap_or((rest, ""));
    let mut printed =
        Printed { text: text.trim().into(), long: long.trim_end().into(), ..Printed::default() };
    for item in [data, more].into_iter().flat_map(items) {
        if printed.readings.len() == READINGS_LIMIT {
            printed.left_out += 1;
            continue;
        }
        let reading = reading(&item).unwrap_or_else(|| {
            printed.unread.push(item.clone());
            unread(&item)
        });
        printed.readings.push(reading);
    }
    printed
}

/// Pieces between blanks; blanks in a quoted label do not separate.
fn items(data: &str) -> Vec<String> {
    let (mut items, mut item, mut quoted) = (Vec::new(), String::new(), false);
    for c in data.chars() {
        quoted ^= c == '\'';
        match c.is_whitespace() && !quoted {
            true => items.push(std::mem::take(&mut item)),
            false => item.push(c),
        }
    }
    items.push(item);
    items.retain(|item| !item.is_empty());
    items
}

/// `'label'=value[UOM];[warn];[crit];[min];[max]`
fn reading(item: &str) -> Option<Reading> {
    let (label, data) = split_label(item)?;
    let mut parts = data.split(';');
    let first = parts.next()?;
    let end =
        first.find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))).unwrap_or(first.len());
    let (number, unit) = first.split_at(end);
    // `95,7` is not 95 of the unit `,7`, and `1/s` is a unit.
    if unit.contains(|c: char| c.is_ascii_digit()) || unit.starts_with([',', '.', '_', '\'']) {
        return None;
    }
    let value = match (number, unit) {
        ("", "U") => None,
        _ => Some(finite(number)?),
    };
    let unit = if value.is_some() { unit } else { "" };
    let mut next = || parts.next().unwrap_or_default().trim().to_string();
    let (warning, critical, min, max) = (next(), next(), next(), next());
    Some(Reading {
        unit: unit.into(),
        value,
        warning,
        critical,
        min: finite(&min),
        max: finite(&max),
        written: item.into(),
        ..Reading::unmeasured(&label)
    })
}

/// A piece that is no number.
fn unread(item: &str) -> Reading {
    let label = split_label(item).map_or_else(|| item.to_string(), |(label, _)| label);
    Reading { written: item.into(), ..Reading::unmeasured(&label) }
}

fn finite(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn split_label(item: &str) -> Option<(String, &str)> {
    let Some(quoted) = item.strip_prefix('\'') else {
        let (label, data) = item.split_once('=')?;
        return (!label.is_empty()).then(|| (label.into(), data));
    };
    let (mut label, mut at) = (String::new(), 0);
    loop {
        let close = at + quoted[at..].find('\'')?;
        label.push_str(&quoted[at..close]);
        let after = &quoted[close + 1..];
        if let Some(data) = after.strip_prefix('=') {
            return (!label.is_empty()).then_some((label, data));
        }
        after.strip_prefix('\'')?;
        label.push('\'');
        at = close + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real output of Debian's plugins, and the guidelines' own example.
    #[test]
    fn the_output_of_plugins_is_taken_apart() {
        let table = [
            (
                "TCP OK - 0.000 second response time on 127.0.0.1 port 22922|time=0.000103s;1.000000;2.000000;0.000000;10.000000\n",
                "TCP OK - 0.000 second response time on 127.0.0.1 port 22922",
                vec!["time=0.000103s;1.000000;2.000000;0.000000;10.000000"],
            ),
            (
                "LOAD OK - load average: 0.42|load1=0.420;5.000;10.000;0; load5=1.160;4.000;8.000;0; \n",
                "LOAD OK - load average: 0.42",
                vec!["load1=0.420;5.000;10.000;0;", "load5=1.160;4.000;8.000;0;"],
            ),
            (
                "PROCS OK: 84 processes | procs=84;1:200;@0:0;0;\n",
                "PROCS OK: 84 processes",
                vec!["procs=84;1:200;@0:0;0;"],
            ),
            (
                "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n/ 15272 MB (77%);\n/boot 68 MB (69%); | /boot=68MB;88;93;0;98\n/home=69357MB;253404;253409;0;253414\n",
                "DISK OK - free space: / 3326 MB (56%);",
                vec![
                    "/=2643MB;5948;5958;0;5968",
                    "/boot=68MB;88;93;0;98",
                    "/home=69357MB;253404;253409;0;253414",
                ],
            ),
            ("X | 'a b''c'=1 d=U;5", "X", vec!["'a b''c'=1", "d=U;5"]),
            ("just text", "just text", vec![]),
            ("", "", vec![]),
        ];
        for (stdout, text, readings) in table {
            let printed = parse(stdout);
            let got: Vec<String> = printed.readings.iter().map(Reading::to_string).collect();
            assert_eq!(
                (printed.text.as_str(), got, printed.unread),
                (text, readings.iter().map(|r| r.to_string()).collect(), vec![]),
                "{stdout}"
            );
        }
        assert_eq!(parse("a | /=1\nb\nc | d=2").long, "b\nc");
    }

    #[test]
    fn performance_data_that_is_no_number_is_passed_on_as_it_was() {
        for bad in [
            "x",
            "=1",
            "a=",
            "a=b",
            "'a=1",
            "a=nan",
            "a=1e999",
            "a=--1",
            "''=1",
            "a=95,7",
            "a=0x1f",
            "a=1.234,5;1",
            "a=1_000",
        ] {
            let printed = parse(&format!("T | ok=1 {bad}"));
            assert_eq!(printed.unread, [bad]);
            let passed_on = printed.readings.iter().map(Reading::to_string).collect::<Vec<_>>().join(" ");
            assert_eq!(passed_on, format!("ok=1 {bad}"));
            assert_eq!(printed.readings[1].value, None, "{bad}");
        }
        let many = format!("T |{}", " a=1".repeat(READINGS_LIMIT + 3));
        assert_eq!((parse(&many).readings.len(), parse(&many).left_out), (READINGS_LIMIT, 3));
    }
}
