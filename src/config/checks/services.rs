//! Checks over a connection: `http`, `tcp`, `tls`.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::checks::fields::{Common, DEFAULT_ADDRESS, list, regex, required_port, some_text, text};
use crate::config::checks::fields::{nothing_asserted, range};
use crate::config::text::reader::{self, Reader};
use crate::config::text::templates;
use crate::domain::base::range::Limits;
use crate::domain::check::probe::{BodyExpect, Cache, Http, Probe, Status, Tcp, Tls, Trust};

/// An HTTP request, with only the connection keys that `wait_for` needs.
pub fn read_awaited(table: Reader<'_>) -> Option<Probe> {
    read_http(table, &Common { limits: Limits::default(), is_compared: false, from_elsewhere: false })
}

/// `port` and `address`.
pub fn read_awaited_port(table: &mut Reader<'_>) -> Option<Probe> {
    let (port, address) =
        (required_port(table), text(table, "address").unwrap_or_else(|| DEFAULT_ADDRESS.into()));
    let tcp =
        |port| Tcp { address, port, send: None, banner: BodyExpect::default(), limits: Limits::default() };
    Some(Probe::Tcp(tcp(port?)))
}

pub fn read_http(mut table: Reader<'_>, common: &Common) -> Option<Probe> {
    let port = required_port(&mut table);
    let path = table.string("path");
    if let Some(path) = &path
        && !path.get_ref().starts_with(['/', '{'])
    {
        table.doc.wrong(path.span(), "`path` begins with /");
    }
    if let Some(path) = &path
        && let Some(bad) = unfit_for_a_request(path.get_ref())
    {
        let message = format!("`path` has {bad:?}, which no request can have");
        table.doc.report(
            path.span(),
            message,
            "write it as a percent code, such as %20 for a blank".to_string(),
        );
    }
    let path = path.filter(|path| templates::syntax(table.doc, "path", path)).map(Spanned::into_inner);
    let http = Http {
        address: text(&mut table, "address").unwrap_or_else(|| common.address()),
        host: text(&mut table, "host"),
        status: status(&mut table).unwrap_or(Status::One(200)),
        body: BodyExpect {
            contains: some_text(&mut table, "body_contains"),
            matches: regex(&mut table, "body_matches"),
        },
        method: method(&mut table),
        headers: texts(&mut table, "headers"),
        send: text(&mut table, "body"),
        follow: table.number("follow", 0, 10).unwrap_or_default(),
        answers: texts(&mut table, "answers"),
        json: json(&mut table),
        cache: table.table("cache", "`cache`").map(read_cache),
        tls: table.bool("tls").then_some(trust(&mut table)),
        limits: common.limits.clone(),
        ..Http::get("", &path.unwrap_or_else(|| "/".into()))
    };
    // Read even without TLS, so that the key is known.
    trust(&mut table);
    table.finish();
    Some(Probe::Http(Box::new(Http { port: port?, ..http })))
}

/// A character that a path cannot have, outside of its templates.
fn unfit_for_a_request(path: &str) -> Option<char> {
    let mut rest = path;
    let mut written = String::new();
    while let Some((before, template)) = rest.split_once("{{") {
        written.push_str(before);
        rest = template.split_once("}}").map_or("", |(_, after)| after);
    }
    written.push_str(rest);
    written.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, '#' | '<' | '>'))
}

fn method(table: &mut Reader<'_>) -> String {
    let words = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map(|word| (word, word));
    table.one_of("method", &words).unwrap_or("GET").into()
}

/// `verify = false`: any certificate is accepted.
fn trust(table: &mut Reader<'_>) -> Trust {
    let off = table.value("verify").is_some() && !table.bool("verify");
    if off { Trust::Any } else { Trust::Full }
}

/// One status, or a list of them.
fn status(table: &mut Reader<'_>) -> Option<Status> {
    let value = table.value("status")?;
    let DeValue::Array(items) = value.get_ref() else {
        let one = table.number("status", 100, 599)?;
        return u16::try_from(one).ok().map(Status::One);
    };
    let read = |item: &Spanned<DeValue<'_>>| {
        let number = reader::json(table.doc, item).as_u64().and_then(|status| u16::try_from(status).ok());
        let number = number.filter(|status| (100..600).contains(status));
        if number.is_none() {
            table.doc.wrong(item.span(), "`status` is a whole number, from 100 to 599, or a list of them");
        }
        number
    };
    let all: Vec<u16> = items.iter().filter_map(read).collect();
    if items.is_empty() {
        table.doc.wrong(value.span(), "`status` is empty: no answer would ever be right");
    }
    Some(Status::Any(all))
}

fn read_cache(mut table: Reader<'_>) -> Cache {
    let maybe = |table: &mut Reader<'_>, key| table.value(key).is_some().then(|| table.bool(key));
    let cache = Cache {
        shared: maybe(&mut table, "shared"),
        fresh: range(&mut table, "fresh"),
        revalidates: maybe(&mut table, "revalidates"),
    };
    if cache == Cache::default() {
        nothing_asserted(&table, "cache", "known keys: fresh, revalidates, shared");
    }
    table.finish();
    cache
}

/// Names, and the text that the value of each must contain.
fn texts(table: &mut Reader<'_>, key: &'static str) -> BTreeMap<String, String> {
    let entries = table.entries(key);
    let read = |(name, value): (Spanned<String>, &Spanned<DeValue<'_>>)| match value.get_ref() {
        DeValue::String(text) => {
            let text = Spanned::new(value.span(), text.to_string());
            templates::syntax(table.doc, key, &text);
            Some((name.into_inner(), text.into_inner()))
        }
        _ => {
            table.doc.wrong(value.span(), format!("`{key}` holds texts"));
            None
        }
    };
    entries.into_iter().filter_map(read).collect()
}

fn json(table: &mut Reader<'_>) -> BTreeMap<String, Value> {
    let entries = table.entries("json");
    entries.into_iter().map(|(path, value)| (path.into_inner(), reader::json(table.doc, value))).collect()
}

pub fn read_tcp(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let (port, address) = (required_port(table), text(table, "address").unwrap_or_else(|| common.address()));
    let send = text(table, "send");
    let banner = BodyExpect { contains: some_text(table, "banner"), matches: regex(table, "banner_matches") };
    Some(Probe::Tcp(Tcp { address, port: port?, send, banner, limits: common.limits.clone() }))
}

pub fn read_tls(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let (port, address) = (required_port(table), text(table, "address").unwrap_or_else(|| common.address()));
    let name = text(table, "name");
    let names = list(table, "names");
    let trust = trust(table);
    if trust == Trust::Any && names.is_empty() && common.limits.assert_nothing() && !common.is_compared {
        nothing_asserted(table, "verify", "give critical = \"7:\" for the days that are left, or `names`");
    }
    Some(Probe::Tls(Tls { address, port: port?, name, names, trust, limits: common.limits.clone() }))
}
