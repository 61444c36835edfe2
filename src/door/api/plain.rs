//! Requests of protocols without HTTP: a verb, a resource and fields become a request of the same table, and a code and an
//! object its answer.

use std::sync::{Arc, LazyLock};

use matchit::Router;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::items::{PAGE_ITEMS, PAGE_LIMIT, Page, page};
use super::perform::{Answer, perform};
use super::problem::Problem;
use crate::domain::ask::resource::{Given, Gives, RESOURCES, Resource, Verb};
use crate::domain::base::name::clipped;
use crate::domain::base::refusal::Refusal;
use crate::door::client::Client;

/// A request as it came.
pub(super) struct Asked<'a> {
    pub verb: &'a str,
    /// `/v1/runs/41`, or `/runs/41`.
    pub resource: &'a str,
    pub fields: Given,
}

/// The resources of one verb, by path.
fn router(verb: Verb) -> &'static Router<&'static Resource> {
    static ALL: LazyLock<[Router<&'static Resource>; 3]> =
        LazyLock::new(|| [Verb::Get, Verb::Post, Verb::Delete].map(routes));
    match verb {
        Verb::Get => &ALL[0],
        Verb::Post => &ALL[1],
        Verb::Delete => &ALL[2],
    }
}

fn routes(verb: Verb) -> Router<&'static Resource> {
    let mut router = Router::new();
    for resource in RESOURCES.iter().filter(|resource| resource.verb == verb) {
        // Paths are constant, and a test asks for each of them.
        if let Err(error) = router.insert(resource.path, resource) {
            tracing::error!(%error, path = resource.path, "a resource cannot be reached");
        }
    }
    router
}

/// The resource and the fields of a request. `Err(None)` is an unknown verb.
pub(super) fn find(asked: Asked<'_>) -> Result<(&'static Resource, Given), Option<Refusal>> {
    let verbs: &[Verb] = match asked.verb {
        "GET" => &[Verb::Get],
        "WATCH" => &[Verb::Get, Verb::Post],
        "STORE" | "UPDATE" => &[Verb::Post],
        "DELETE" => &[Verb::Delete],
        _ => return Err(None),
    };
    let path = match asked.resource.starts_with("/v1/") {
        true => asked.resource.to_string(),
        false => format!("/v1{}", asked.resource),
    };
    let found = verbs.iter().find_map(|verb| router(*verb).at(&path).ok());
    let Some(found) = found else {
        let why = format!("there is no {} {}", asked.verb, clipped(asked.resource));
        return Err(Some(Refusal::not_found(why).hint("see: docs/api.md")));
    };
    let mut given = asked.fields;
    for (name, value) in found.params.iter() {
        if given.insert(name.into(), value.into()).is_some() {
            return Err(Some(Refusal::usage(format!("`{name}` is given twice"))));
        }
    }
    let resource: &'static Resource = found.value;
    if asked.verb == "WATCH" && resource.gives != Gives::Stream {
        return Err(Some(
            Refusal::usage(format!("{} is no stream", clipped(asked.resource))).hint("try: GET"),
        ));
    }
    if resource.path == "/v1/events" && asked.verb == "WATCH" {
        given.entry("follow").or_insert(true.into());
    }
    Ok((resource, given))
}

/// Performs a request: the code of the answer, and its body.
pub(super) async fn reply(
    client: &Arc<Client>,
    request: (&'static Resource, Given),
    key: Option<&str>,
    gone: CancellationToken,
) -> (u16, Value) {
    let (code, body) = reply_text(client, request, key, gone).await;
    match serde_json::from_str(&body) {
        Ok(body) => (code, body),
        Err(error) => refused(&Refusal::internal(error.to_string())),
    }
}

/// The same with the body as JSON text, which is not made twice.
pub(super) async fn reply_text(
    client: &Arc<Client>,
    (resource, mut given): (&'static Resource, Given),
    key: Option<&str>,
    gone: CancellationToken,
) -> (u16, String) {
    let wanted = match wanted_page(resource, &mut given) {
        Ok(wanted) => wanted,
        Err(refusal) => return refused_text(&refusal),
    };
    let answer = perform(client, (resource, &given), key, gone).await;
    let answered = answer.and_then(|answer| body(resource, &answer, &wanted).map(|body| (answer, body)));
    match answered {
        Ok((Answer { run: Some(_), .. }, body)) if resource.gives == Gives::Run => (201, body),
        Ok((_, body)) => (200, body),
        Err(refusal) => refused_text(&refusal),
    }
}

fn refused_text(refusal: &Refusal) -> (u16, String) {
    let (code, body) = refused(refusal);
    (code, body.to_string())
}

/// The code and the body of a refusal.
pub(super) fn refused(refusal: &Refusal) -> (u16, Value) {
    let problem = Problem::from(refusal);
    (problem.status, json!(problem))
}

/// The requested part of a list, from the fields.
pub(super) fn wanted_page(resource: &Resource, given: &mut Given) -> Result<Page, Refusal> {
    if resource.gives != Gives::Items {
        return Ok(Page { limit: PAGE_ITEMS, cursor: None });
    }
    let text = |value: Value| value.as_str().map(String::from).unwrap_or_else(|| value.to_string());
    let is_possible = |limit: &usize| (1..=PAGE_LIMIT).contains(limit);
    let limit = given.remove("limit").map(text).map_or(Some(PAGE_ITEMS), |limit| limit.parse().ok());
    let limit = limit
        .filter(is_possible)
        .ok_or_else(|| Refusal::usage(format!("`limit` is a number from 1 to {PAGE_LIMIT}")))?;
    Ok(Page { limit, cursor: given.remove("cursor").map(text) })
}

fn body(resource: &Resource, answer: &Answer, wanted: &Page) -> Result<String, Refusal> {
    let text = text_of(resource, answer, wanted)?;
    match resource.gives {
        Gives::Text(_) => Ok(json!({ "text": text }).to_string()),
        _ => Ok(text),
    }
}

/// The body of an answer: one object, a page of objects, the number of a run, or a text.
pub(super) fn text_of(resource: &Resource, answer: &Answer, wanted: &Page) -> Result<String, Refusal> {
    let text = std::str::from_utf8(&answer.body).map_err(|error| Refusal::internal(error.to_string()))?;
    let is_object = |line: &str| line.starts_with('{') && line.ends_with('}');
    if !matches!(resource.gives, Gives::Text(_)) && !text.lines().all(is_object) {
        return Err(Refusal::internal("the command has not answered in JSON"));
    }
    match (resource.gives, answer.run) {
        (Gives::Run, Some(run)) => Ok(json!({ "run": run }).to_string()),
        (Gives::Text(_), _) => Ok(text.to_string()),
        (Gives::One, _) if text.lines().count() == 1 => Ok(text.trim_end().to_string()),
        _ => page(text, wanted).map(|page| with_more(page, answer)),
    }
}

/// Says in the last page how to ask for what the list has left out.
fn with_more(page: String, answer: &Answer) -> String {
    match (answer.more, page.strip_suffix("\"next\":null}")) {
        (Some((field, number)), Some(head)) => {
            format!("{head}\"next\":null,\"more\":{{\"{field}\":{number}}}}}")
        }
        _ => page,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verb: &str, resource: &str) -> Result<(&'static str, Given), Option<String>> {
        find(Asked { verb, resource, fields: Given::new() })
            .map(|(resource, given)| (resource.path, given))
            .map_err(|refused| refused.map(|refusal| refusal.to_string()))
    }

    #[test]
    fn every_resource_is_found_by_its_path() {
        for resource in RESOURCES {
            let path = resource.path.replace(['{', '}'], "");
            let (verb, shape) = (resource.verb, resource.path);
            let at = router(verb).at(&path).unwrap_or_else(|error| panic!("{shape}: {error}"));
            assert_eq!(at.value.path, shape);
        }
    }

    #[test]
    fn verbs_and_paths_are_resources() {
        assert_eq!(found("GET", "/hosts").unwrap().0, "/v1/hosts");
        let (path, given) = found("UPDATE", "/v1/runs/41/cancel").unwrap();
        assert_eq!((path, given["run"].as_str()), ("/v1/runs/{run}/cancel", Some("41")));
        assert_eq!(found("WATCH", "/events").unwrap().1["follow"], true);
        assert_eq!(found("PUT", "/hosts"), Err(None));
        assert_eq!(found("GET", "/nothing"), Err(Some("there is no GET /nothing; see: docs/api.md".into())));
        assert_eq!(found("WATCH", "/hosts"), Err(Some("/hosts is no stream; try: GET".into())));
        let twice = Asked {
            verb: "GET",
            resource: "/hosts/web1",
            fields: Given::from_iter([("host".into(), json!("x"))]),
        };
        assert_eq!(find(twice).unwrap_err().unwrap().to_string(), "`host` is given twice");
    }
}
