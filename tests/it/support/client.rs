//! An SSH client that does what plain `ssh` does not: many channels at once, and whatever is asked of it.

use std::sync::Arc;

use russh::client::{AuthResult, Config, DisconnectReason, Handle, Handler, connect};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg, client};
use tokio::sync::mpsc;

use super::site::Site;

/// A connection.
pub struct Client {
    pub handle: Handle<Trusting>,
    /// What the door said when it ended the connection.
    pub farewell: mpsc::UnboundedReceiver<String>,
}

/// Takes every host key, and passes on why the connection ended.
pub struct Trusting(mpsc::UnboundedSender<String>);

impl Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let text = match reason {
            DisconnectReason::ReceivedDisconnect(info) => info.message,
            DisconnectReason::Error(error) => error.to_string(),
        };
        // A test that is over does not listen.
        let _ = self.0.send(text);
        Ok(())
    }
}

impl Client {
    /// Connects to a port of this machine, and does not log in.
    pub async fn connect(port: u16) -> Client {
        let (sender, farewell) = mpsc::unbounded_channel();
        let config = Arc::new(Config { nodelay: true, ..Config::default() });
        let handle = connect(config, ("127.0.0.1", port), Trusting(sender)).await.expect("a connection");
        Client { handle, farewell }
    }

    /// Logs in with the key of one of the site's people; true when the door lets it in.
    pub async fn log_in(&mut self, site: &Site, who: &str, user: &str) -> bool {
        let key = load_secret_key(site.dir.path().join(who), None).expect("a key");
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let answer = self.handle.authenticate_publickey(user, key).await.expect("an answer");
        matches!(answer, AuthResult::Success)
    }

    /// The same in one.
    pub async fn of(site: &Site, who: &str) -> Client {
        Client::at(site.port(), site, who).await
    }

    /// The same at another port.
    pub async fn at(port: u16, site: &Site, who: &str) -> Client {
        let mut client = Client::connect(port).await;
        assert!(client.log_in(site, who, "rollcall").await);
        client
    }

    /// A channel, if the door has one more.
    pub async fn channel(&self) -> Result<Channel<client::Msg>, russh::Error> {
        self.handle.channel_open_session().await
    }
}

/// Gives a command on a channel; its exit status and what it wrote, both outputs together.
pub async fn ask(mut channel: Channel<client::Msg>, line: &str) -> (u32, String) {
    channel.exec(true, line).await.expect("the connection stands");
    let (mut status, mut text) = (u32::MAX, Vec::new());
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => {
                text.extend_from_slice(&data)
            }
            ChannelMsg::ExitStatus { exit_status } => status = exit_status,
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    (status, String::from_utf8_lossy(&text).into_owned())
}
