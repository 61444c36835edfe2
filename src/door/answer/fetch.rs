//! `fetch`: a file of a host, unchanged.

use std::sync::Arc;

use bytes::Bytes;
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;
use tracing::warn;

use super::asked::{Asked, Ended};
use super::face::FollowView;
use crate::domain::ask::access::Granted;
use crate::domain::ask::adhoc::FetchAsk;
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::Inventory;
use crate::domain::plan::adhoc::FETCHED;
use crate::door::BytesPart;
use crate::port::talk::Talk;
use crate::present::recap;

/// Bytes that are read and sent at once.
const PIECE_BYTES: usize = 64 * 1024;

impl Asked<'_> {
    /// Reads the file by a run of its own, and prints it once all of it is here and its digest is that of the host; no copy stays.
    pub(super) async fn fetch(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        asked: &FetchAsk,
    ) -> Result<u8, Ended> {
        if self.json {
            return Err(Refusal::usage("a file of a host is printed unchanged, and not as JSON").into());
        }
        if self.terminal.is_interactive() {
            let why = "fetch prints bytes of a host, which could do anything to a terminal";
            return Err(Refusal::usage(why).hint(format!("ssh rollcall {} > file", asked.title())).into());
        }
        let plan = self.plan(inventory, granted.command()).await?;
        let host = plan.hosts.keys().next().cloned();
        let host = host.ok_or_else(|| Refusal::internal("the plan has no host"))?;
        let granted = granted.planned_from(&self.config.version.digest);
        let watch = self.desk.engine.start_talking(&granted, plan, Talk::default()).await?;
        let id = watch.live().id;
        self.has_started(id);
        let view = FollowView { quiet: true, ..FollowView::default() };
        let (run, events) = self.see(watch, view).await?;
        let status = run.outcome().map_or(Cause::Internal.exit_status(), |outcome| outcome.exit_status());
        if status != 0 {
            self.terminal.err(&recap::failures(&run, &events)).await?;
            return Ok(status);
        }
        self.print_file(id, host.as_str()).await
    }

    async fn print_file(&mut self, run: RunId, host: &str) -> Result<u8, Ended> {
        let folder = self.ports().hosts.downloads.join(run.to_string());
        let path = folder.join(host).join(FETCHED);
        let unread = |error: std::io::Error| Refusal::internal(format!("{}: {error}", path.display()));
        let mut file = File::open(&path).await.map_err(unread)?;
        let length = file.metadata().await.map_err(unread)?.len();
        // Deleted before it is printed, while it is open: so nothing of it stays when the client leaves in the middle.
        if let Err(error) = fs::remove_dir_all(&folder).await {
            warn!(run = %run, "{}: {error}; it can be deleted", folder.display());
        }
        let name = format!("{run}-{host}");
        self.terminal.part(BytesPart { name, length, range: Some((0, length)) });
        let mut sent = 0;
        while sent < length {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece).await.map_err(unread)?;
            if read == 0 {
                return Err(
                    Refusal::internal(format!("{}: it was cut while it was read", path.display())).into()
                );
            }
            piece.truncate(read);
            sent += read as u64;
            self.terminal.bytes(Bytes::from(piece)).await?;
        }
        Ok(0)
    }
}
