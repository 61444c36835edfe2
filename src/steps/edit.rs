//! Edits of host files, made on the daemon's machine: read, changed, and sent back unless the file changed since.

use bytes::Bytes;

use super::diff;
use super::stream::{Fetched, would_change};
use super::upload::{Manner, Sent};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::outcome::Outcome;
use crate::domain::task::edit;
use crate::domain::task::task::{Block, Line, LineState};
use crate::port::Content;
use crate::steps::attempt::{Attempt, Done};

/// Largest file that is edited.
const EDIT_LIMIT_BYTES: usize = 1024 * 1024;

/// Attempts to read a file that another program changes at the same time.
const TRIES: usize = 2;

/// The exit status of receive.sh when the file has changed since it was read.
const CHANGED_MEANWHILE: u32 = 75;

/// The new content of a file from the old one, or why there is none.
type Rewrite<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Sync + 'a;

/// The common parameters of edits.
struct Edit<'a> {
    manner: Manner<'a>,
    create: bool,
    /// The edit only removes: a missing file needs no change.
    takes_out: bool,
    change: &'a Rewrite<'a>,
}

impl Attempt<'_> {
    pub(super) async fn line(&self, line: &Line, act: bool) -> Done {
        let change = |content: &[u8]| edit::line(content, line);
        let edit = Edit {
            manner: manner(&line.path, line.backup, line.validate.as_deref()),
            create: line.create && line.state == LineState::Present,
            takes_out: line.state == LineState::Absent,
            change: &change,
        };
        self.edit(&edit, act).await.unwrap_or_else(|early| early)
    }

    pub(super) async fn block(&self, block: &Block, act: bool) -> Done {
        let change = |content: &[u8]| edit::block(content, block);
        let edit = Edit {
            manner: manner(&block.path, block.backup, block.validate.as_deref()),
            create: block.create,
            takes_out: !block.present,
            change: &change,
        };
        self.edit(&edit, act).await.unwrap_or_else(|early| early)
    }

    async fn edit(&self, edit: &Edit<'_>, act: bool) -> Result<Done, Done> {
        let path = edit.manner.to;
        for _ in 0..TRIES {
            let old = self.old(edit).await?;
            let before = old.as_deref().unwrap_or_default();
            let new = (edit.change)(before).map_err(|why| Done::failed(format!("{path}: {why}")))?;
            if new == before && (old.is_some() || edit.takes_out) {
                return Ok(Done::silent(if act { self.unchanged() } else { Outcome::Unchanged }));
            }
            let digest = old.as_deref().map_or_else(|| "none".into(), sha256_hex);
            if !act {
                return Ok(would_change(&diff::unified(path.into(), old, new).await));
            }
            let sent = Sent { sha256: sha256_hex(&new), content: Content::Bytes(Bytes::from(new)) };
            let manner = Manner { old: digest, ..edit.manner.clone() };
            let done = self.send(&manner, sent).await;
            if !matches!(done.outcome, Outcome::Failed { code: Some(CHANGED_MEANWHILE), .. }) {
                return Ok(done);
            }
        }
        Err(Done::failed(format!(
            "{path} was changed by another process while it was edited, {TRIES} times; nothing was changed here: run it again"
        )))
    }

    /// The content of the file; `None` if a new file may be created.
    async fn old(&self, edit: &Edit<'_>) -> Result<Option<Vec<u8>>, Done> {
        let path = edit.manner.to;
        match self.fetch(path, EDIT_LIMIT_BYTES).await? {
            Fetched::TooLarge => {
                let why = format!("{path} has more than {EDIT_LIMIT_BYTES} bytes; edit it by `run`");
                Err(Done::failed(why))
            }
            Fetched::Whole(None) if !edit.create && !edit.takes_out => Err(Done::failed(format!(
                "{path} is not there; `create = true` makes it, where a line is to be present"
            ))),
            Fetched::Whole(old) => Ok(old),
        }
    }
}

fn manner<'a>(to: &'a str, backup: bool, validate: Option<&'a str>) -> Manner<'a> {
    Manner { to, backup, validate: validate.unwrap_or_default(), ..Manner::default() }
}
