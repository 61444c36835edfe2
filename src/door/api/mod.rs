//! The API: every command as a resource, over the same SSH connection and with the same rights. A request becomes the line
//! that an operator would type; see [`crate::domain::ask::resource`].

mod channel;
mod gate;
mod http;
mod items;
mod korv;
mod lines;
mod live;
mod mcp;
mod openapi;
mod pages;
mod perform;
mod plain;
mod problem;
mod query;
mod raw;
mod stream;
mod terminal;
mod timing;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::channel::ApiStream;
pub use self::channel::Subsystem;
pub use self::openapi::document;
use super::client::Client;

/// Serves a channel until one side ends it, or until `gone`.
pub async fn serve(
    client: Arc<Client>,
    subsystem: Subsystem,
    stream: impl ApiStream,
    gone: CancellationToken,
) {
    match subsystem {
        Subsystem::Http | Subsystem::Forwarded => http::serve(client, subsystem, stream, gone).await,
        Subsystem::Lines => lines::serve(client, stream, gone).await,
        Subsystem::Mcp => mcp::serve(client, stream, gone).await,
        Subsystem::Korv => korv::serve(client, stream, gone).await,
    }
}
