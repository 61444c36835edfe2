//! The boards in a browser. A page is the answer to `board` on the line, as HTML: so it shows what the operator may see, as the
//! line would, and nothing on it acts.

use std::io::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::time::Instant;

use super::channel::Api;
use super::perform::perform_page;
use super::timing::timed;
use super::{gate, live, problem};
use crate::domain::ask::resource::{Given, Resource, Verb};
use crate::domain::ask::view::View;
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::output::printable;
use crate::domain::base::refusal::Refusal;
use crate::present::board::page::Page;
use crate::present::board::text::text;
use crate::present::html::{ASSETS, Asset, Frame, document, refusal};
use crate::present::json::safe_lines;
use crate::version::VERSION;

/// The command that answers for pages.
const BOARD: &str = "/v1/board";

/// The header of a request for a page that is open already.
const REFRESH: &str = "x-rollcall-refresh";

/// What pages may load and do: only what comes from here, no script but ours, no frame around them. A form may ask for a page
/// of ours: the search in output works without script, too.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Shorter texts are not worth the work.
const GZIP_ABOVE_BYTES: usize = 1_400;

/// The addresses of files, each with a digest of its content: a browser keeps them as long as they are the same.
static ADDRESSES: LazyLock<[String; 3]> = LazyLock::new(|| ASSETS.map(|asset| address(&asset)));

fn address(asset: &Asset) -> String {
    let digest = sha256_hex(asset.text.as_bytes());
    format!("/assets/{}-{}", &digest[..12], asset.name)
}

/// The paths of pages besides `/`, which programs ask for something else.
const PATHS: [&str; 10] = [
    "/runs",
    "/runs/{run}",
    "/runs/{run}/steps/{step}",
    "/runs/{run}/hosts/{host}",
    "/runs/{run}/hosts/{host}/steps/{step}",
    "/hosts/{host}",
    "/checks",
    "/checks/{check}",
    "/debts",
    "/audit",
];

/// Adds the pages, and what they need.
pub(super) fn routes(mut router: Router, api: &Api) -> Router {
    for path in PATHS {
        let api = api.clone();
        router = router.route(path, get(move |request: Request| async move { page(&api, request).await }));
    }
    for (asset, path) in ASSETS.into_iter().zip(&*ADDRESSES) {
        router = router.route(path, get(move |request: Request| async move { file(&asset, &request) }));
    }
    let followed = api.clone();
    router.route("/live", get(move |request: Request| async move { live::follow(&followed, &request) }))
}

/// True for a client that shows pages.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    accepts(headers, "text/html")
}

fn accepts(headers: &HeaderMap, media: &str) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains(media))
}

/// Answers with a page: HTML, JSON or text, as the client accepts it.
pub(super) async fn page(api: &Api, request: Request) -> Response<Body> {
    let begun = Instant::now();
    timed(answered(api, request).await, begun)
}

async fn answered(api: &Api, request: Request) -> Response<Body> {
    let headers = request.headers();
    if let Err(wrong) = gate::judge(api, &request) {
        let (status, title, detail) = wrong.words();
        return match wants_page(headers) {
            true => html(status, &refusal(title, detail, &frame(api)), headers),
            false => problem::http(status, title, detail),
        };
    }
    let address = request.uri().path_and_query().map_or("/", |address| address.as_str());
    // The script of an open page says so.
    let is_open = headers.contains_key(REFRESH);
    let made = match View::at_address(address) {
        Ok(view) => made(api, &View { is_open, ..view }).await,
        Err(why) => Err(Refusal::not_found(why)),
    };
    match made {
        Ok(page) if accepts(headers, "application/json") => with_type(
            StatusCode::OK,
            safe_lines(&serde_json::to_string(&page).unwrap_or_default()),
            "application/json",
        ),
        Ok(page) if accepts(headers, "text/plain") => {
            with_type(StatusCode::OK, printable(&text(&page)), "text/plain; charset=utf-8")
        }
        Ok(page) => html(StatusCode::OK, &document(&page, &frame(api)), headers),
        Err(why) if wants_page(headers) => {
            let (_, title, status) = problem::words(why.cause);
            html(status, &refusal(title, &why.to_string(), &frame(api)), headers)
        }
        Err(why) => problem::refused(&why),
    }
}

async fn made(api: &Api, view: &View) -> Result<Page, Refusal> {
    let none = || Refusal::internal("there is no resource for pages");
    let resource = Resource::find(Verb::Get, BOARD).ok_or_else(none)?;
    let plain = View::of(view.page.clone());
    let mut given = Given::new();
    given.insert("words".into(), json!(plain.words()[1..]));
    given.extend(view.all.then(|| ("all".into(), json!(true))));
    given.extend(view.is_open.then(|| ("open".into(), json!(true))));
    given.extend(view.at.map(|at| ("at".into(), json!(at))));
    given.extend(view.line.map(|line| ("line".into(), json!(line))));
    given.extend(view.find.as_ref().map(|text| ("find".into(), json!(text))));
    let gone = api.gone.child_token();
    let _gone_at_the_end = gone.clone().drop_guard();
    perform_page(&api.client, (resource, &given), gone).await
}

fn frame(api: &Api) -> Frame<'_> {
    let [style, script, icon] = &*ADDRESSES;
    Frame { viewer: &api.client.operator.name, version: VERSION, assets: [style, script, icon] }
}

fn html(status: StatusCode, text: &str, headers: &HeaderMap) -> Response<Body> {
    let takes_gzip = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let packed = match takes_gzip.is_some_and(|value| value.contains("gzip")) && text.len() > GZIP_ABOVE_BYTES
    {
        true => packed(text).ok(),
        false => None,
    };
    let is_packed = packed.is_some();
    let body = packed.map_or_else(|| Body::from(text.to_string()), Body::from);
    let mut response = with_type(status, body, "text/html; charset=utf-8");
    let into = response.headers_mut();
    if is_packed {
        into.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let guards = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), ""),
    ];
    for (name, value) in guards {
        into.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn packed(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

fn with_type(status: StatusCode, body: impl Into<Body>, media: &'static str) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    response
}

/// A file that pages need. It is the same for everyone, so it needs no entrance.
fn file(asset: &Asset, request: &Request) -> Response<Body> {
    let mut response = html(StatusCode::OK, asset.text, request.headers());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    response
}
