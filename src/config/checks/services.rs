//! Checks over a connection: `http`, `tcp`, `tls`.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::checks::fields::{Common, list, nothing_asserted, regex, required_port, some_text, text};
use crate::config::text::keys::{
    Any, Choice, Flag, In, Key, ListOf, MapOf, Or, PortOrTemplate, Text, Texts, Threshold, Whole, table,
    words,
};
use crate::config::text::reader::{self, Reader};
use crate::config::text::templates;
use crate::domain::base::range::Limits;
use crate::domain::check::probe::{BodyExpect, Cache, Http, Probe, Status, Tcp, Tls, Trust};

table! {
    /// An HTTP request. `warning` and `critical` of the check are for seconds.
    pub HttpKeys "Http" [EndpointKeys] {
        PATH "path": Text = "/",
        /// The `Host` header. Default: the address.
        HOST "host": Text,
        METHOD "method": Choice<MethodWords> = "GET",
        /// Sent with the request.
        HEADERS "headers": MapOf<Text>,
        /// The body of the request.
        BODY "body": Text,
        /// How many redirects on the same service are followed.
        FOLLOW "follow": Whole<0, 10> = 0,
        /// The expected status, or a list of them.
        STATUS "status": Or<StatusNumber, ListOf<StatusNumber>> = DEFAULT_STATUS as u32,
        /// A text that the body must contain.
        BODY_CONTAINS "body_contains": Text,
        /// The same as a regular expression.
        BODY_MATCHES "body_matches": Text,
        /// Headers of the answer, and a text that each must contain.
        ANSWERS "answers": MapOf<Text>,
        /// Values within a body that is JSON, by path: `"$.db.state" = "up"`.
        JSON "json": MapOf<Any>,
        /// What caches may do with the answer.
        CACHE "cache": In<CacheKeys>,
        /// HTTPS.
        TLS "tls": Flag = false,
        /// `false`: any certificate is accepted.
        VERIFY "verify": Flag = true,
    }

    /// What caches may do with an answer (RFC 9111).
    pub CacheKeys "Cache" {
        /// Whether a shared cache may keep it.
        SHARED "shared": Flag,
        /// A range for how many seconds it is fresh.
        FRESH "fresh": Threshold,
        /// Whether asking again with its validator gets a 304.
        REVALIDATES "revalidates": Flag,
    }

    /// A TCP connection. `warning` and `critical` of the check are for seconds.
    pub TcpKeys "Tcp" [EndpointKeys] {
        /// Sent after the connection is open.
        SEND "send": Text,
        /// A text that the answer must contain.
        BANNER "banner": Text,
        /// The same as a regular expression.
        BANNER_MATCHES "banner_matches": Text,
    }

    /// A TLS server.
    pub TlsKeys "Tls" [EndpointKeys] {
        /// The name of the server (SNI). Default: the address.
        NAME "name": Text,
        /// Names that the certificate must contain.
        NAMES "names": Texts,
        /// `false`: any authority is accepted.
        VERIFY "verify": Flag = true,
    }

    /// Where a probe connects to.
    pub EndpointKeys "Endpoint" {
        /// A port, or a template that becomes one.
        PORT "port": PortOrTemplate; needed,
        /// From where the probe runs. Default: `127.0.0.1`, and the host's address if the probe runs elsewhere.
        ADDRESS "address": Text,
    }
}

words! {
    /// The methods of HTTP.
    pub MethodWords: &'static str {
        "GET" = "GET",
        "HEAD" = "HEAD",
        "POST" = "POST",
        "PUT" = "PUT",
        "PATCH" = "PATCH",
        "DELETE" = "DELETE",
        "OPTIONS" = "OPTIONS",
    }
}

/// The status that is expected by default.
const DEFAULT_STATUS: u16 = 200;

type StatusNumber = Whole<100, 599>;

/// An HTTP request, with only the connection keys that `wait_for` needs.
pub fn read_awaited(table: Reader<'_>) -> Option<Probe> {
    read_http(table, &Common { limits: Limits::default(), is_compared: false, from_elsewhere: false })
}

/// A port of an address.
pub fn read_awaited_port(
    table: &mut Reader<'_>,
    (port, address): (Key<PortOrTemplate>, Key<Text, &'static str>),
) -> Option<Probe> {
    let default = address.default;
    let (port, address) =
        (required_port(table, port), text(table, address).unwrap_or_else(|| default.into()));
    let tcp =
        |port| Tcp { address, port, send: None, banner: BodyExpect::default(), limits: Limits::default() };
    Some(Probe::Tcp(tcp(port?)))
}

pub fn read_http(mut table: Reader<'_>, common: &Common) -> Option<Probe> {
    let port = required_port(&mut table, EndpointKeys::PORT);
    let path = table.get(HttpKeys::PATH);
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
    let trust = trust(&mut table, HttpKeys::VERIFY);
    let http = Http {
        address: text(&mut table, EndpointKeys::ADDRESS).unwrap_or_else(|| common.address()),
        host: text(&mut table, HttpKeys::HOST),
        status: status(&mut table).unwrap_or(Status::One(DEFAULT_STATUS)),
        body: BodyExpect {
            contains: some_text(&mut table, HttpKeys::BODY_CONTAINS),
            matches: regex(&mut table, HttpKeys::BODY_MATCHES),
        },
        method: table.or_default(HttpKeys::METHOD).into(),
        headers: texts(&mut table, HttpKeys::HEADERS),
        send: text(&mut table, HttpKeys::BODY),
        follow: table.or_default(HttpKeys::FOLLOW),
        answers: texts(&mut table, HttpKeys::ANSWERS),
        json: json(&mut table),
        cache: table.get(HttpKeys::CACHE).map(read_cache),
        tls: table.or_default(HttpKeys::TLS).then_some(trust),
        limits: common.limits.clone(),
        ..Http::get("", &path.unwrap_or_else(|| HttpKeys::PATH.default.into()))
    };
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

/// `verify = false`: any certificate is accepted.
fn trust(table: &mut Reader<'_>, key: Key<Flag, bool>) -> Trust {
    if table.or_default(key) { Trust::Full } else { Trust::Any }
}

/// One status, or a list of them.
fn status(table: &mut Reader<'_>) -> Option<Status> {
    let value = table.value(HttpKeys::STATUS)?;
    let DeValue::Array(items) = value.get_ref() else {
        let one = table.get(HttpKeys::STATUS.first())?;
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
    let cache = Cache {
        shared: table.get(CacheKeys::SHARED),
        fresh: table.get(CacheKeys::FRESH),
        revalidates: table.get(CacheKeys::REVALIDATES),
    };
    if cache == Cache::default() {
        nothing_asserted(&table, "cache", "known keys: fresh, revalidates, shared");
    }
    table.finish();
    cache
}

/// Names, and the text that the value of each must contain.
fn texts(table: &mut Reader<'_>, key: Key<MapOf<Text>>) -> BTreeMap<String, String> {
    let entries = table.entries(key);
    let read = |(name, value): (Spanned<String>, &Spanned<DeValue<'_>>)| match value.get_ref() {
        DeValue::String(text) => {
            let text = Spanned::new(value.span(), text.to_string());
            templates::syntax(table.doc, key.name, &text);
            Some((name.into_inner(), text.into_inner()))
        }
        _ => {
            table.doc.wrong(value.span(), format!("`{}` holds texts", key.name));
            None
        }
    };
    entries.into_iter().filter_map(read).collect()
}

fn json(table: &mut Reader<'_>) -> BTreeMap<String, Value> {
    let entries = table.entries(HttpKeys::JSON);
    entries.into_iter().map(|(path, value)| (path.into_inner(), reader::json(table.doc, value))).collect()
}

fn endpoint(table: &mut Reader<'_>, common: &Common) -> (Option<String>, String) {
    let port = required_port(table, EndpointKeys::PORT);
    (port, text(table, EndpointKeys::ADDRESS).unwrap_or_else(|| common.address()))
}

pub fn read_tcp(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let (port, address) = endpoint(table, common);
    let send = text(table, TcpKeys::SEND);
    let banner = BodyExpect {
        contains: some_text(table, TcpKeys::BANNER),
        matches: regex(table, TcpKeys::BANNER_MATCHES),
    };
    Some(Probe::Tcp(Tcp { address, port: port?, send, banner, limits: common.limits.clone() }))
}

pub fn read_tls(table: &mut Reader<'_>, common: &Common) -> Option<Probe> {
    let (port, address) = endpoint(table, common);
    let name = text(table, TlsKeys::NAME);
    let names = list(table, TlsKeys::NAMES);
    let trust = trust(table, TlsKeys::VERIFY);
    if trust == Trust::Any && names.is_empty() && common.limits.assert_nothing() && !common.is_compared {
        nothing_asserted(
            table,
            TlsKeys::VERIFY.name,
            "give critical = \"7:\" for the days that are left, or `names`",
        );
    }
    Some(Probe::Tls(Tls { address, port: port?, name, names, trust, limits: common.limits.clone() }))
}
