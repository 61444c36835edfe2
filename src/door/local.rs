//! The local door: the same commands without a daemon, for scripts: `rollcall --local deploy prod`.

use std::io::{IsTerminal, Write};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Gone, Terminal};
use crate::domain::base::output::printable;

/// Standard output and standard error of this process.
pub struct Stdio;

fn write(mut stream: impl Write, text: &str) -> Result<(), Gone> {
    stream.write_all(printable(text).as_bytes()).and_then(|()| stream.flush()).map_err(|_| Gone)
}

#[async_trait]
impl Terminal for Stdio {
    async fn out(&mut self, text: &str) -> Result<(), Gone> {
        write(std::io::stdout(), text)
    }

    async fn err(&mut self, text: &str) -> Result<(), Gone> {
        write(std::io::stderr(), text)
    }

    async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let mut out = std::io::stdout();
        out.write_all(&bytes).and_then(|()| out.flush()).map_err(|_| Gone)
    }

    fn is_interactive(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    fn gone(&self) -> CancellationToken {
        // A closed pipe shows when something is written; the run continues in any case.
        CancellationToken::new()
    }
}
