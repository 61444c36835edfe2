//! A relay in front of a host, which can stop to carry anything, as when a cable is pulled: nothing is closed.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// See the module.
pub struct Relay {
    pub address: SocketAddr,
    pulled: CancellationToken,
    stop: CancellationToken,
}

impl Relay {
    /// Listens on this address, on a port given by the system.
    pub async fn start(on: &str, to: SocketAddr) -> Relay {
        let listener = TcpListener::bind((on, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (pulled, stop) = (CancellationToken::new(), CancellationToken::new());
        let (cable, stopping) = (pulled.clone(), stop.clone());
        tokio::spawn(async move {
            while let Some(Ok((near, _))) = stopping.run_until_cancelled(listener.accept()).await {
                let (cable, stopping) = (cable.clone(), stopping.clone());
                tokio::spawn(async move { stopping.run_until_cancelled(carry(near, to, cable)).await });
            }
        });
        Relay { address, pulled, stop }
    }

    /// From now on nothing arrives, and new connections get no answer.
    pub fn pull(&self) {
        self.pulled.cancel();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn carry(near: TcpStream, to: SocketAddr, cable: CancellationToken) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
    tokio::join!(one_way(&mut from_near, &mut to_far, &cable), one_way(&mut from_far, &mut to_near, &cable));
}

async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    cable: &CancellationToken,
) {
    let mut piece = [0; 16 * 1024];
    loop {
        match cable.run_until_cancelled(from.read(&mut piece)).await {
            None => std::future::pending().await,
            Some(Ok(read)) if read > 0 && to.write_all(&piece[..read]).await.is_ok() => {}
            Some(_) => {
                // The other side hears of the end.
                let _ = to.shutdown().await;
                return;
            }
        }
    }
}
