//! Lists in pages. A page ends with a cursor: the place and a digest of its last item, so that a list that has changed in
//! between goes on at the same item, or says that it cannot.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::domain::base::digest::sha256_hex;
use crate::domain::base::refusal::Refusal;

/// Items of a page, if a request does not say how many.
pub(super) const PAGE_ITEMS: usize = 1_000;

/// Most items of a page.
pub(super) const PAGE_LIMIT: usize = 10_000;

/// Digits of the digest of an item. They distinguish the items of one list.
const DIGITS: usize = 16;

/// What part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub limit: usize,
    pub cursor: Option<String>,
}

/// The body of a page: `{"items":[...],"next":"..."}`, of the lines of an answer.
pub(super) fn page(text: &str, page: &Page) -> Result<String, Refusal> {
    let lines: Vec<&str> = text.lines().collect();
    let from = match &page.cursor {
        Some(cursor) => place_behind(&lines, cursor)?,
        None => 0,
    };
    let to = from.saturating_add(page.limit).min(lines.len());
    let items = lines.get(from..to).unwrap_or_default();
    let next = match items.last() {
        Some(last) if to < lines.len() => format!("\"{}\"", cursor(to, last)),
        _ => "null".into(),
    };
    Ok(format!("{{\"items\":[{}],\"next\":{next}}}", items.join(",")))
}

fn cursor(place: usize, line: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{place} {}", digest(line)))
}

fn digest(line: &str) -> String {
    sha256_hex(line.as_bytes())[..DIGITS].to_string()
}

/// The place behind the item of a cursor.
fn place_behind(lines: &[&str], cursor: &str) -> Result<usize, Refusal> {
    let wrong = || Refusal::not_found("`cursor` is none that an answer of this list had as `next`");
    let text = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let text = String::from_utf8(text).map_err(|_| wrong())?;
    let (place, wanted) = text.split_once(' ').ok_or_else(wrong)?;
    let place: usize = place.parse().map_err(|_| wrong())?;
    let is_at = |at: usize| lines.get(at).is_some_and(|line| digest(line) == wanted);
    if place.checked_sub(1).is_some_and(is_at) {
        return Ok(place);
    }
    match (0..lines.len()).find(|at| is_at(*at)) {
        Some(at) => Ok(at + 1),
        None => Err(Refusal::rule("the list has changed, and the item of `cursor` is not in it any more")
            .hint("begin again without `cursor`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str, limit: usize) -> String {
        page(text, &Page { limit, cursor: None }).unwrap()
    }

    fn next(body: &str) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["next"].as_str().map(String::from)
    }

    #[test]
    fn pages_follow_each_other_and_miss_nothing() {
        let text: String = (0..10).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        let (mut cursor, mut found) = (None, Vec::new());
        loop {
            let body = page(&text, &Page { limit: 3, cursor }).unwrap();
            let items: serde_json::Value = serde_json::from_str(&body).unwrap();
            found.extend(items["items"].as_array().unwrap().iter().map(|item| item["n"].as_u64().unwrap()));
            cursor = next(&body);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, (0..10).collect::<Vec<u64>>());
        assert_eq!(first("", 3), "{\"items\":[],\"next\":null}");
    }

    #[test]
    fn a_list_that_has_grown_or_shrunk_goes_on_at_the_same_item() {
        let cursor = next(&first("1\n2\n3\n4\n", 2));
        let at = |text: &str| {
            page(text, &Page { limit: 9, cursor: cursor.clone() }).map_err(|why| why.to_string())
        };
        assert_eq!(at("0\n1\n2\n3\n4\n").unwrap(), "{\"items\":[3,4],\"next\":null}");
        assert_eq!(at("2\n3\n").unwrap(), "{\"items\":[3],\"next\":null}");
        assert_eq!(
            at("1\n3\n4\n").unwrap_err(),
            "the list has changed, and the item of `cursor` is not in it any more; begin again without `cursor`"
        );
        for wrong in ["", "x", "!", "MQ", "eCB4"] {
            let page = page("1\n", &Page { limit: 1, cursor: Some(wrong.into()) });
            assert!(page.unwrap_err().to_string().starts_with("`cursor` is none"), "{wrong}");
        }
    }
}
