//! What a request has to show before it counts. On a channel of its own, `ssh -s rollcall api`, only its owner can write. A
//! forwarded port is open to all users of the operator's machine, and to pages in the operator's browser.

use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::channel::{Api, Refused};
use super::problem;
use crate::door::entrances::LINK_NAME_DIGITS;

/// The names by which a forwarded port is reached. Others come from pages whose name points to this machine (DNS rebinding).
const HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "rollcall"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    NoHost,
    OtherHost,
    OtherSite,
    NoEntrance,
    /// A browser alone proves nothing about who wants the change.
    OnlyCookie,
}

/// What a request shows, besides its headers.
struct Shown {
    is_reading: bool,
    has_token: bool,
    has_cookie: bool,
}

/// Lets a request in, or refuses it.
pub(super) fn check(api: &Api, request: &Request) -> Result<(), Refused> {
    judge(api, request).map_err(refused)
}

/// Lets a request in, or says why not.
pub(super) fn judge(api: &Api, request: &Request) -> Result<(), Wrong> {
    if !api.is_forwarded {
        return Ok(());
    }
    let (client, now) = (&api.client, api.client.desk.clock.now());
    let headers = request.headers();
    let token = text(headers, &header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let shown = Shown {
        is_reading: matches!(*request.method(), Method::GET | Method::HEAD),
        has_token: token.is_some_and(|token| client.desk.entrances.knows(token, &client.operator, now)),
        has_cookie: text(headers, &header::COOKIE).is_some_and(|cookies| client.cookie.is_in(cookies)),
    };
    comes_from_here(headers).and_then(|()| may_enter(&shown))
}

/// Opens a link: the browser gets its cookie, once.
pub(super) fn enter(api: &Api, params: &RawPathParams, request: &Request) -> Response<Body> {
    if let Err(wrong) = comes_from_here(request.headers()).or_else(allow_other_site) {
        return *refused(wrong);
    }
    let (client, now) = (&api.client, api.client.desk.clock.now());
    let word = params.iter().next().map_or("", |(_, word)| word);
    if api.is_forwarded && !client.desk.entrances.opens(word, &client.operator, now) {
        let detail = "the link was opened before, or is older than a minute; try: ssh rollcall web";
        return problem::http(StatusCode::FORBIDDEN, "The link is over", detail);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static("/"));
    headers.extend(
        HeaderValue::from_str(&client.cookie.header()).ok().map(|cookie| (header::SET_COOKIE, cookie)),
    );
    response
}

/// A link may be opened from a mail or a chat: its word is what counts.
fn allow_other_site(wrong: Wrong) -> Result<(), Wrong> {
    if wrong == Wrong::OtherSite { Ok(()) } else { Err(wrong) }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// True for a name by which the forwarded port is reached, with any port: the daemon cannot know it.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    HOSTS.iter().any(|own| own.eq_ignore_ascii_case(name)) || is_below_localhost(name)
}

/// True for the name of a link, for example `3f9c2a17.localhost`. A browser sends the cookie of this name to no port of
/// `localhost`. No one can register such a name, and browsers resolve it to this machine (RFC 6761, section 6.3).
fn is_below_localhost(name: &str) -> bool {
    let label = name.strip_suffix(".localhost");
    label.is_some_and(|label| {
        label.len() == LINK_NAME_DIGITS && label.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

fn comes_from_here(headers: &HeaderMap) -> Result<(), Wrong> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Wrong::NoHost) };
    let host = host.to_str().map_err(|_| Wrong::OtherHost)?;
    if !is_here(host) {
        return Err(Wrong::OtherHost);
    }
    let is_own =
        |origin: &str| origin.strip_prefix("http://").is_some_and(|own| own.eq_ignore_ascii_case(host));
    let is_other = headers.get(header::ORIGIN).is_some_and(|origin| !origin.to_str().is_ok_and(is_own));
    let site = text(headers, &SEC_FETCH_SITE).unwrap_or("none");
    match is_other || !["none", "same-origin"].contains(&site) {
        true => Err(Wrong::OtherSite),
        false => Ok(()),
    }
}

fn may_enter(shown: &Shown) -> Result<(), Wrong> {
    match (shown.has_token, shown.has_cookie, shown.is_reading) {
        (true, _, _) | (_, true, true) => Ok(()),
        (false, true, false) => Err(Wrong::OnlyCookie),
        (false, false, _) => Err(Wrong::NoEntrance),
    }
}

impl Wrong {
    /// The status, a title, and what to do.
    pub(super) fn words(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Wrong::NoHost => (StatusCode::BAD_REQUEST, "No host", "a request has one `Host`"),
            Wrong::OtherHost => (
                StatusCode::MISDIRECTED_REQUEST,
                "Another host",
                "this is rollcall, reached as localhost, 127.0.0.1, [::1] or rollcall; no other name is answered",
            ),
            Wrong::OtherSite => {
                (StatusCode::FORBIDDEN, "Another site", "a page of another site sent this request")
            }
            Wrong::NoEntrance => (
                StatusCode::UNAUTHORIZED,
                "Not let in",
                "other users of your machine reach this port, too; try: ssh rollcall web, or for programs: ssh rollcall web --token",
            ),
            Wrong::OnlyCookie => (
                StatusCode::UNAUTHORIZED,
                "No token",
                "a browser may only read; programs that act send `Authorization: Bearer TOKEN`; try: ssh rollcall web --token",
            ),
        }
    }
}

fn refused(wrong: Wrong) -> Refused {
    let (status, title, detail) = wrong.words();
    let mut response = problem::http(status, title, detail);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Box::new(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in [
            "localhost:8080",
            "LOCALHOST",
            "127.0.0.1:1",
            "[::1]:8080",
            "[::1]",
            "rollcall",
            "3f9c2a17.localhost:8080",
        ] {
            assert_eq!(comes_from_here(&headers(&[(header::HOST, host)])), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil:80",
            "localhost:",
            "localhost:8a",
            "",
            "[::1",
        ] {
            assert_eq!(comes_from_here(&headers(&[(header::HOST, host)])), Err(Wrong::OtherHost), "{host}");
        }
        assert_eq!(comes_from_here(&headers(&[])), Err(Wrong::NoHost));
        let twice = [(header::HOST, "localhost"), (header::HOST, "evil.example")];
        assert_eq!(comes_from_here(&headers(&twice)), Err(Wrong::NoHost));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let with = |name: HeaderName, value| {
            comes_from_here(&headers(&[(header::HOST, "localhost:8080"), (name, value)]))
        };
        assert_eq!(with(header::ORIGIN, "http://localhost:8080"), Ok(()));
        for origin in ["http://localhost:9999", "https://localhost:8080", "null", "http://evil.example"] {
            assert_eq!(with(header::ORIGIN, origin), Err(Wrong::OtherSite), "{origin}");
        }
        assert_eq!(with(SEC_FETCH_SITE, "same-origin"), Ok(()));
        for site in ["cross-site", "same-site", "else"] {
            assert_eq!(with(SEC_FETCH_SITE, site), Err(Wrong::OtherSite), "{site}");
        }
    }

    #[test]
    fn a_cookie_reads_and_a_token_acts() {
        let rows = [
            ((true, true, false), Ok(())),
            ((false, true, false), Ok(())),
            ((true, false, true), Ok(())),
            ((false, false, true), Err(Wrong::OnlyCookie)),
            ((true, false, false), Err(Wrong::NoEntrance)),
            ((false, false, false), Err(Wrong::NoEntrance)),
        ];
        for ((is_reading, has_token, has_cookie), wanted) in rows {
            assert_eq!(may_enter(&Shown { is_reading, has_token, has_cookie }), wanted);
        }
    }
}
