//! Judges answers over the network: HTTP, TCP, TLS, DNS.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::judged::{Judged, by_limits};
use super::texts::{ExpectedText, shorten};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::perf::Reading;
use crate::domain::base::range::Limits;
use crate::domain::check::probe::{BodyExpect, Cache, Dns, Http, Tcp, Tls, Trust};
use crate::domain::check::seen::{Handshake, HttpAnswer, ScriptLines};

fn wanted(body: &BodyExpect) -> ExpectedText<'_> {
    ExpectedText { equals: None, contains: body.contains.as_deref(), matches: body.matches.as_deref() }
}

pub(super) fn answer(http: &Http, answer: &HttpAnswer) -> Judged {
    let fault = status_fault(http, answer)
        .or_else(|| wanted(&http.body).fault(answer.body.trim_end(), "body"))
        .or_else(|| header_fault(http, answer))
        .or_else(|| json_fault(http, &answer.body))
        .or_else(|| http.cache.as_ref().and_then(|cache| cache_fault(cache, answer)));
    let said = match fault {
        Some(why) if answer.cut => {
            Judged::unknown(format!("of a body over a MiB only that is looked at: {why}"))
        }
        Some(why) => Judged::critical(why),
        None => Judged::ok(format!("HTTP status {}", answer.status)),
    };
    timed(said, &http.limits, answer.took).of_value(&answer.body)
}

fn status_fault(http: &Http, answer: &HttpAnswer) -> Option<String> {
    let hint = answer.header("location").map_or_else(String::new, |to| format!(" (it leads to {to})"));
    let allowed = http.status.allows(answer.status);
    (!allowed).then(|| format!("HTTP status {}, wanted {}{hint}", answer.status, http.status.words()))
}

fn header_fault(http: &Http, answer: &HttpAnswer) -> Option<String> {
    http.answers.iter().find_map(|(name, part)| match answer.header(name) {
        None => Some(format!("there is no header {name}")),
        Some(value) if !value.contains(part.as_str()) => {
            Some(format!("header {name} is {:?}, wanted it to contain {part:?}", shorten(&value)))
        }
        Some(_) => None,
    })
}

fn json_fault(http: &Http, body: &str) -> Option<String> {
    if http.json.is_empty() {
        return None;
    }
    let Ok(document) = serde_json::from_str::<Value>(body.trim_start_matches('\u{feff}')) else {
        return Some(format!("body is {:?}, wanted JSON", shorten(body)));
    };
    http.json.iter().find_map(|(path, wanted)| match at_path(&document, path) {
        None => Some(format!("the body has nothing at {path}")),
        Some(value) if is_value(value, wanted) => None,
        Some(value) => Some(format!("{path} is {}, wanted {wanted}", shorten(&value.to_string()))),
    })
}

/// A rendered template is always a text, so a number may be expected as text.
fn is_value(value: &Value, wanted: &Value) -> bool {
    let numbers = value.as_f64().zip(wanted.as_f64());
    let text = value.to_string();
    let as_text = wanted.as_str().is_some_and(|wanted| !value.is_string() && text == wanted);
    value == wanted || as_text || numbers.is_some_and(|(got, wanted)| got == wanted)
}

/// Finds `$.a.b[0].c`; the `$.` may be left out.
fn at_path<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    let path = path.strip_prefix('$').unwrap_or(path).replace('[', ".").replace(']', "");
    path.split('.').filter(|part| !part.is_empty()).try_fold(document, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => value.get(part),
    })
}

/// Why a shared cache would not handle the answer as expected (RFC 9111).
fn cache_fault(cache: &Cache, answer: &HttpAnswer) -> Option<String> {
    let facts = Caching::of(answer);
    let shared = cache.shared.filter(|wanted| *wanted != facts.shared).map(|wanted| {
        let word = if wanted { "no shared cache may keep it" } else { "a shared cache may keep it" };
        format!("{word} (Cache-Control: {})", facts.control)
    });
    let fresh = cache.fresh.as_ref().and_then(|range| match facts.fresh {
        Some(seconds) if range.alerts(seconds) => {
            Some(format!("it is fresh for {seconds} seconds, which is not in range {range}"))
        }
        Some(_) => None,
        None => Some("nothing says for how long it is fresh (no max-age, no Expires)".into()),
    });
    let revalidates = cache.revalidates.and_then(|wanted| match (wanted, answer.revalidated) {
        (true, None) => Some("it has no validator (ETag, Last-Modified) to ask again with".into()),
        (true, Some(status)) if status != 304 => {
            Some(format!("asked again with its validator it answers {status}, not 304"))
        }
        (false, Some(304)) => Some("asked again with its validator it answers 304".into()),
        _ => None,
    });
    shared.or(fresh).or(revalidates)
}

/// The caching headers of an answer.
struct Caching {
    control: String,
    shared: bool,
    /// Freshness in seconds, minus its age.
    fresh: Option<f64>,
}

impl Caching {
    fn of(answer: &HttpAnswer) -> Caching {
        let control = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
        let has = |word: &str| control.split(',').any(|part| part.trim() == word);
        let number = |word: &str| {
            let mut parts = control.split(',').filter_map(|part| part.trim().split_once('='));
            let (_, value) = parts.find(|(name, _)| *name == word)?;
            value.trim_matches('"').parse::<f64>().ok()
        };
        let age = answer.header("age").and_then(|age| age.trim().parse::<f64>().ok()).unwrap_or_default();
        let lifetime = number("s-maxage").or_else(|| number("max-age")).or_else(|| expires(answer));
        let lifetime = if has("no-cache") || has("no-store") { Some(0.0) } else { lifetime };
        Caching {
            shared: !has("private") && !has("no-store"),
            fresh: lifetime.map(|seconds| (seconds - age).max(0.0)),
            control: if control.is_empty() { "none".into() } else { control },
        }
    }
}

/// Expires, counted from the answer's own date.
fn expires(answer: &HttpAnswer) -> Option<f64> {
    let at = |name: &str| jiff::fmt::rfc2822::parse(&answer.header(name)?).ok().map(|time| time.timestamp());
    Some((at("expires")?.as_second() - at("date")?.as_second()) as f64)
}

/// Adds the time. A time beyond its limits can only worsen the verdict.
fn timed(judged: Judged, limits: &Limits, took: Duration) -> Judged {
    let seconds = took.as_secs_f64();
    let seconds = (seconds * 1e6).round() / 1e6;
    let (verdict, range) = limits.judge(seconds);
    let late = range.filter(|_| judged.verdict == Verdict::Ok);
    let judged = match late {
        Some(range) => {
            let text = format!(
                "{}, after {seconds} s, which is not in {} range {range}",
                judged.text,
                verdict.word()
            );
            Judged::new(verdict, text)
        }
        None => judged,
    };
    judged.measured(Reading::with_unit("time", seconds, "s"), limits)
}

pub(super) fn connection(tcp: &Tcp, banner: &str, took: Duration) -> Judged {
    let judged = match wanted(&tcp.banner).fault(banner.trim_end(), "the banner") {
        Some(why) => Judged::critical(why),
        None if tcp.listens() => {
            Judged::ok(format!("port {} says {:?}", tcp.port, shorten(banner.trim_end())))
        }
        None => Judged::ok(format!("port {} accepts connections", tcp.port)),
    };
    let judged = if tcp.listens() { judged.of_value(banner.trim_end()) } else { judged };
    timed(judged, &tcp.limits, took)
}

pub(super) fn certificate(tls: &Tls, shook: &Handshake) -> Judged {
    let days = (shook.days_left * 10.0).round() / 10.0;
    let reading = Reading::new("days", days);
    if let Some(why) = shook.cannot_tell.as_ref().filter(|_| tls.trust == Trust::Full) {
        return Judged::unknown(why.as_str());
    }
    if let Some(why) = shook.distrusted.as_ref().filter(|_| tls.trust == Trust::Full) {
        return Judged::critical(format!("the certificate is not trusted: {why}"))
            .measured(reading, &tls.limits);
    }
    let has = |name: &String| shook.names.iter().any(|known| fits(known, name));
    if let Some(missing) = tls.names.iter().find(|name| !has(name)) {
        let why = format!("the certificate is not for {missing}; its names are {}", shook.names.join(", "));
        return Judged::critical(why).measured(reading, &tls.limits);
    }
    if days < 0.0 {
        return Judged::critical(format!("the certificate has expired {} days ago", -days))
            .measured(reading, &tls.limits);
    }
    let words = format!("{} ({}), {days} days left", shook.subject, shook.issuer);
    let judged = by_limits(&tls.limits, reading, &words);
    Judged {
        detail: format!("names: {}; certificates sent: {}", shook.names.join(", "), shook.chain),
        ..judged
    }
}

/// `*.example.com` matches one more label.
fn fits(known: &str, name: &str) -> bool {
    let wild = known.strip_prefix("*.").zip(name.split_once('.'));
    known.eq_ignore_ascii_case(name) || wild.is_some_and(|(rest, (_, tail))| rest.eq_ignore_ascii_case(tail))
}

pub(super) fn resolved(dns: &Dns, words: &ScriptLines) -> Judged {
    let got: BTreeSet<String> = words.all("answer").map(plain).collect();
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    if got.is_empty() {
        return Judged::critical(format!("{} has no answer", dns.name));
    }
    let wanted: BTreeSet<String> = dns.answers.iter().map(|answer| plain(answer)).collect();
    if !wanted.is_empty() && wanted != got {
        return Judged::critical(format!("{} is {}, wanted {}", dns.name, list(&got), list(&wanted)))
            .of_value(&list(&got));
    }
    Judged::ok(format!("{} is {}", dns.name, list(&got))).of_value(&list(&got))
}

/// Names are equal with and without the dot at their end.
fn plain(answer: &str) -> String {
    answer.trim().trim_end_matches('.').to_ascii_lowercase()
}
