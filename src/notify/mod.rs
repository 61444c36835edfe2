//! The transports of messages: mail, webhooks, commands. Implements [`Messenger`].

mod command;
mod mail;
mod webhook;

use async_trait::async_trait;

use crate::domain::notify::channel::{Channel, Transport};
use crate::domain::notify::notice::Notice;
use crate::port::{Messenger, SendError};

/// See the module.
pub struct Ways {
    /// Distinguishes messages of this rollcall from those of others.
    pub site: String,
}

impl Ways {
    /// The same for each attempt of a message, and for no other message, so that receivers can detect duplicates.
    fn id(&self, channel: &Channel, key: &str) -> String {
        format!("rollcall.{}.{}.{key}", self.site, channel.name)
    }
}

#[async_trait]
impl Messenger for Ways {
    async fn send(&self, channel: &Channel, notice: &Notice) -> Result<(), SendError> {
        let id = |key: &str| self.id(channel, key);
        match &channel.way {
            Transport::Mail(way) => mail::send(way, notice, &id).await,
            Transport::Webhook(way) => webhook::send(way, &channel.name, notice, &id(&notice.key)).await,
            Transport::Command(script) => command::tell(script, &channel.name, notice).await,
        }
    }
}
