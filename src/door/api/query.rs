//! What a request asks for behind the `?` of its address.

use axum::http::Uri;

use super::channel::Refused;
use super::problem;
use crate::domain::base::refusal::Refusal;

/// The response to a request that cannot be read.
pub(super) fn wrong(why: impl Into<String>) -> Refused {
    Box::new(problem::refused(&Refusal::usage(why)))
}

/// Names and values of a query, decoded.
pub(super) fn query(uri: &Uri) -> Result<Vec<(String, String)>, Refused> {
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    query.map(|query| query.0).map_err(|error| wrong(format!("the query cannot be read: {error}")))
}
