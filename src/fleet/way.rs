//! The way to a host: its addresses in turn, from this machine or through the connection to its jump host.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use russh::ChannelOpenFailure;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::client::foreign;
use super::dial::no_answer;
use super::first::first_of;
use super::link::{Link, phase};
use super::shared::FleetState;
use crate::domain::inventory::inventory::Endpoint;
use crate::port::{OpenError, Stream};

/// Opens a stream to the SSH server of a host.
pub(super) async fn way_to(
    shared: &FleetState,
    host: &Endpoint,
    jump: Option<&Arc<Link>>,
) -> Result<Box<dyn Stream>, String> {
    let limit = shared.settings.connect_timeout;
    let addresses: Vec<&str> = host.addresses().collect();
    let open = |place: usize| {
        let address = addresses[place];
        async move {
            let Some(jump) = jump else { return shared.dial.dial_within(address, host.port, limit).await };
            match timeout(limit, open_through(jump, &Target::Tcp(address, host.port))).await {
                Ok(opened) => opened.map_err(OpenError::why),
                Err(_) => Err(no_answer(limit)),
            }
        }
    };
    // Which machine has tried: behind a jump host, an address is one of its network.
    let from = host.via.as_ref().map(|via| format!("from {}: ", via.name)).unwrap_or_default();
    let opened = first_of(&addresses, open).await;
    opened.map_err(|why| phase(host, "dial", &format!("{from}{why}")))
}

/// The target of a forwarded connection.
pub enum Target<'a> {
    Tcp(&'a str, u16),
    Unix(&'a str),
}

impl Target<'_> {
    fn refused(&self) -> String {
        match self {
            Target::Tcp(address, port) => format!("no process accepts connections on {address}:{port}"),
            Target::Unix(path) => format!(
                "cannot open {path}: no process listens there, the login may not, or its sshd does not forward sockets"
            ),
        }
    }

    fn not_forwarded(&self) -> String {
        let option = match self {
            Target::Tcp(..) => "AllowTcpForwarding",
            Target::Unix(_) => "AllowStreamLocalForwarding",
        };
        format!("its sshd does not forward; try: {option} yes")
    }
}

/// A connection from the host behind `link` to `target`. It keeps the link.
pub async fn open_through(link: &Arc<Link>, target: &Target<'_>) -> Result<Box<dyn Stream>, OpenError> {
    let opened = match target {
        Target::Tcp(address, port) => {
            link.handle.channel_open_direct_tcpip(*address, u32::from(*port), "127.0.0.1", 0).await
        }
        Target::Unix(path) => link.handle.channel_open_direct_streamlocal(*path).await,
    };
    match opened {
        Ok(channel) => Ok(Box::new(Through { inner: channel.into_stream(), _link: link.clone() })),
        Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed)) => {
            Err(OpenError::Refused(target.refused()))
        }
        Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited)) => {
            Err(OpenError::Blind(target.not_forwarded()))
        }
        Err(error) if link.is_closed() => {
            Err(OpenError::NoContact(foreign(&format!("{error}: {}", link.why_lost()))))
        }
        Err(error) => Err(OpenError::Blind(foreign(&error.to_string()))),
    }
}

/// A stream through a host: as long as it is open, the connection to the host is in use.
struct Through<S> {
    inner: S,
    _link: Arc<Link>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Through<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Through<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
