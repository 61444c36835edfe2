//! Which hosts answer, and which the last contact did not reach.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::table::{age, alike, columns, folded, moment};
use crate::domain::base::name::HostName;

/// How rollcall knows that a host is reachable, in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Open,
    New,
}

/// A host that was pinged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pinged {
    pub host: HostName,
    pub reachable: bool,
    /// `open`, `new`; `null` if the host was not reached.
    pub connection: Option<&'static str>,
    /// How long a new connection took.
    pub connected_ms: Option<f64>,
    pub round_trip_ms: Option<f64>,
    pub why: Option<String>,
}

impl Pinged {
    /// `connected`: `None` over a connection that was open.
    pub fn of(host: &HostName, connected: Option<Duration>, answered: Result<Duration, String>) -> Pinged {
        let reachable = answered.is_ok();
        Pinged {
            host: host.clone(),
            reachable,
            connection: reachable.then_some(if connected.is_some() { "new" } else { "open" }),
            connected_ms: connected.filter(|_| reachable).map(milliseconds),
            round_trip_ms: answered.as_ref().ok().copied().map(milliseconds),
            why: answered.err(),
        }
    }

    fn way(&self) -> Result<Way, &str> {
        match (&self.why, self.connected_ms) {
            (Some(why), _) => Err(bare(&self.host, why)),
            (None, Some(_)) => Ok(Way::New),
            (None, None) => Ok(Way::Open),
        }
    }
}

/// A reason without the name and the address of its host, so that equal ones are equal.
fn bare<'a>(host: &HostName, why: &'a str) -> &'a str {
    let rest = why.strip_prefix("cannot connect to ").and_then(|rest| rest.strip_prefix(host.as_str()));
    let rest = rest.and_then(|rest| rest.strip_prefix(" (")).and_then(|rest| rest.split_once("), "));
    rest.map_or(why, |(_, why)| why)
}

/// To the hundredth of a millisecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

/// Hosts folded by how they answered, or why they did not.
pub fn pinged(all: &[Pinged]) -> String {
    let mut groups = alike(all.iter().map(|one| (one.way(), one)));
    groups.sort_by(|(a, _), (b, _)| match (a, b) {
        (Ok(a), Ok(b)) => a.cmp(b),
        (Err(a), Err(b)) => a.cmp(b),
        (Ok(_), Err(_)) => std::cmp::Ordering::Less,
        (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
    });
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|(way, group)| {
            let times = |time: fn(&Pinged) -> Option<f64>| spread(group.iter().filter_map(|one| time(one)));
            let answered = || format!("answered in {}", times(|one| one.round_trip_ms));
            let (word, about) = match way {
                Ok(Way::Open) => ("reachable", format!("{} over the open connection", answered())),
                Ok(Way::New) => {
                    let connected = times(|one| one.connected_ms);
                    ("reachable", format!("{} over a new connection, made in {connected}", answered()))
                }
                Err(why) => ("not reachable", why.replace('\n', " ")),
            };
            vec![word.into(), group.len().to_string(), folded(group.iter().map(|one| &one.host)), about]
        })
        .collect();
    let mut text = columns(&rows);
    if all.iter().any(|one| one.reachable) {
        text += "the SSH server of a reachable host has answered after it proved its host key; no command ran there\n";
    }
    text
}

/// The least and the largest time: `0.4-2.1 ms`.
fn spread(times: impl Iterator<Item = f64>) -> String {
    let (mut least, mut most) = (f64::INFINITY, 0.0f64);
    for time in times {
        (least, most) = (least.min(time), most.max(time));
    }
    let (least, most) = (format!("{least:.1}"), format!("{most:.1}"));
    if least == most { format!("{most} ms") } else { format!("{least}-{most} ms") }
}

/// What the last contact with a host says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastContact {
    pub host: HostName,
    /// `unreachable`, or `unknown` if rollcall has not tried it since it has started.
    pub state: &'static str,
    /// The first contact in a row that did not reach it.
    pub since: Option<Timestamp>,
    /// The last one.
    pub at: Option<Timestamp>,
    pub why: Option<String>,
}

/// The hosts that the last contact did not reach, and those that were never tried. `reached`: how many it did.
pub fn unreachable(all: &[LastContact], reached: usize, now: Timestamp) -> String {
    let failed = all.iter().filter_map(|one| Some((one.since?, one.at?, one.why.as_ref()?, &one.host)));
    let mut failed: Vec<_> = failed.collect();
    failed.sort_by(|a, b| (a.0, a.3).cmp(&(b.0, b.3)));
    let rows: Vec<Vec<String>> = failed
        .iter()
        .map(|(since, at, why, host)| {
            let since = format!("since {} ({})", moment(*since), age(*since, now));
            let last = format!("tried {} ago", age(*at, now));
            vec![host.to_string(), since, last, bare(host, why).replace('\n', " ")]
        })
        .collect();
    let mut text = columns(&rows);
    let untried: Vec<&HostName> = all.iter().filter(|one| one.why.is_none()).map(|one| &one.host).collect();
    if rows.is_empty() {
        text += match reached {
            0 => "no contact has failed\n",
            _ => "the last contact has reached every host that was tried\n",
        };
    }
    if !untried.is_empty() {
        _ = writeln!(
            text,
            "unknown, not tried at this address since rollcall has started: {} ({}); try: ping {}",
            folded(untried.iter().copied()),
            untried.len(),
            folded(untried.iter().copied())
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_folded_by_how_they_are_known() {
        let ms = |time: f64| Duration::from_secs_f64(time / 1000.0);
        let host = |name: &str| HostName::from(name);
        let all = [
            Pinged::of(&host("web3"), None, Err("cannot connect to web3 (h3:22), dial: refused".into())),
            Pinged::of(&host("web1"), None, Ok(ms(0.4))),
            Pinged::of(&host("web4"), Some(ms(35.0)), Ok(ms(1.25))),
            Pinged::of(&host("web2"), None, Ok(ms(2.1))),
            // Connected, and no answer: not reached.
            Pinged::of(
                &host("web5"),
                Some(ms(35.0)),
                Err("cannot connect to web5 (h5:22), dial: refused".into()),
            ),
        ];
        let wanted = "reachable      2  web[1-2]  answered in 0.4-2.1 ms over the open connection\n\
                      reachable      1  web4      answered in 1.2 ms over a new connection, made in 35.0 ms\n\
                      not reachable  2  web[3,5]  dial: refused\n\
                      the SSH server of a reachable host has answered after it proved its host key; no command ran there\n";
        assert_eq!(pinged(&all), wanted);
        assert_eq!((all[4].connection, all[4].connected_ms), (None, None));
    }

    #[test]
    fn a_host_that_was_never_tried_is_unknown() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let one = |host: &str, contact: Option<(i64, i64)>| LastContact {
            host: host.into(),
            state: if contact.is_some() { "unreachable" } else { "unknown" },
            since: contact.map(|(since, _)| at(since)),
            at: contact.map(|(_, last)| at(last)),
            why: contact.map(|_| format!("cannot connect to {host} (h:22), dial: refused")),
        };
        let all =
            [one("web2", Some((60, 100))), one("db1", None), one("db2", None), one("web1", Some((0, 90)))];
        let wanted = "web1  since 1970-01-01 00:00:00Z (2m)  tried 30s ago  dial: refused\n\
                      web2  since 1970-01-01 00:01:00Z (1m)  tried 20s ago  dial: refused\n\
                      unknown, not tried at this address since rollcall has started: db[1-2] (2); try: ping db[1-2]\n";
        assert_eq!(unreachable(&all, 3, at(120)), wanted);
        assert_eq!(unreachable(&[], 3, at(0)), "the last contact has reached every host that was tried\n");
    }
}
