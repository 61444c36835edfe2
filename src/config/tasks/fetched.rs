//! Files at an address: `{ url = "...", sha256 = "..." }`.

use toml::Spanned;

use crate::config::text::diagnostic::Doc;
use crate::config::text::keys::{In, Or, Text, table};
use crate::config::text::reader::Reader;
use crate::config::text::templates::{self, Known};
use crate::domain::base::digest::artifact_sum;
use crate::domain::task::task::Source;
use crate::domain::value::template::is_template;

table! {
    /// A file at an address, which rollcall fetches once, before it plans.
    pub FetchedKeys "Fetched" {
        /// A template over parameters and vars of the task.
        URL "url": Text; needed,
        /// The SHA-256 of the file, in hex; a template, too.
        SHA256 "sha256": Text; needed,
    }
}

/// A path below `files/`, or an address.
pub type FileOrUrl = Or<Text, In<FetchedKeys>>;

pub fn read(mut table: Reader<'_>, known: &Known) -> Option<Source> {
    let doc = table.doc;
    let (url, sha256) = (table.required(FetchedKeys::URL), table.required(FetchedKeys::SHA256));
    table.finish();
    let (url, sha256) = (url?, sha256?);
    for (key, text) in [(FetchedKeys::URL, &url), (FetchedKeys::SHA256, &sha256)] {
        templates::names(doc, key.name, text, known);
    }
    check_origin(doc, &url, &sha256);
    Some(Source::Fetched { url: url.into_inner(), sha256: sha256.into_inner() })
}

/// Reports an address that is none of HTTP, and a digest that is none.
pub fn check_origin(doc: Doc<'_>, url: &Spanned<String>, sha256: &Spanned<String>) {
    let is_address = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    if !is_address(url.get_ref()) {
        let hint = "such as https://builds.example.com/app-{{ version }}.tar.gz".to_string();
        doc.report(url.span(), "the URL is no address of HTTP", hint);
    }
    let digest = format!("sha256:{}", sha256.get_ref());
    if !is_template(sha256.get_ref()) && artifact_sum(&digest).is_none() {
        let hint = "the first word that sha256sum prints".to_string();
        doc.report(sha256.span(), "`sha256` has 64 digits of hexadecimal, in lower case", hint);
    }
}
