//! A channel of the API: what is spoken on it, for whom, and when it is over.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::door::client::Client;

/// What is spoken on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subsystem {
    /// HTTP/1.1 on standard input and output of `ssh -s rollcall api`.
    Http,
    /// HTTP/1.1 through a forwarded port, which other users of the operator's machine reach, too.
    Forwarded,
    /// `rollcall-api`: JSON, one request and one answer a line.
    Lines,
    /// `mcp`: the Model Context Protocol, for agents.
    Mcp,
    /// What clients of korv speak: JSON packed by gzip.
    Korv,
}

impl Subsystem {
    /// The one that `ssh -s` names.
    pub fn of(name: &str) -> Option<Subsystem> {
        match name {
            "api" => Some(Subsystem::Http),
            "rollcall-api" => Some(Subsystem::Lines),
            "mcp" => Some(Subsystem::Mcp),
            _ => None,
        }
    }
}

/// A channel of a client.
pub trait ApiStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ApiStream for S {}

/// What requests of one channel have in common.
#[derive(Clone)]
pub(super) struct Api {
    pub client: Arc<Client>,
    /// Other users of the operator's machine reach it, too.
    pub is_forwarded: bool,
    pub gone: CancellationToken,
}

/// A response that is a refusal. In a box, since it is large.
pub(super) type Refused = Box<Response<Body>>;

/// Resolves when a channel has to end: its connection is closed, or rollcall stops.
pub(super) async fn over(client: &Client, gone: &CancellationToken) {
    tokio::select! {
        () = gone.cancelled() => {}
        () = client.desk.engine.keeper().stopping() => {}
    }
}
