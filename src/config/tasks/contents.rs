//! Steps for files of a host: their keys, and how they are read.

use toml::Spanned;

use super::fields::{FileOrUrl, pattern, required, source_or_template, text, text_or_default};
use crate::config::text::keys::{Choice, Flag, Mode, Text, table, words};
use crate::config::text::reader::Reader;
use crate::config::text::templates::Known;
use crate::domain::task::task::{Block, Line, LineState, StepBody, Upload};

table! {
    /// A file, template or tree of `files/`. Content is compared first; a file becomes visible only whole.
    pub UploadKeys "Upload" [ReplaceKeys] {
        /// Below `files/`; with a `/` at its end, a directory with all that is below it. Or a file at an address.
        FROM "from": FileOrUrl; needed,
        TO "to": Text; needed,
        /// The file is a template.
        TEMPLATE "template": Flag = false,
        MODE "mode": Mode = 0o644,
        /// `user` or `user:group`.
        OWNER "owner": Text,
    }

    /// One line of a file on the host.
    pub LineKeys "Line" [InsertKeys, ReplaceKeys] {
        PATH "path": Text; needed,
        /// The line.
        LINE "line": Text,
        /// A regular expression that selects the lines. Default: lines equal to `line`.
        MATCHES "matches": Text,
        STATE "state": Choice<LineStateWords> = LineState::Present,
    }

    /// Several lines of a file on the host, between two markers.
    pub BlockKeys "Block" [InsertKeys, ReplaceKeys] {
        PATH "path": Text; needed,
        /// The lines. Not needed with `state = "absent"`.
        TEXT "text": Text,
        /// The word in the lines around the block.
        MARKER "marker": Text = "rollcall",
        STATE "state": Choice<PresentWords> = true,
    }

    /// Keys of steps that may insert something into a file.
    pub InsertKeys "Insert" {
        /// What is new is inserted behind the last line that matches this. Default: at the end.
        AFTER "after": Text,
        /// What comments begin with.
        COMMENT "comment": Text = "#",
        /// Creates the file if it does not exist.
        CREATE "create": Flag = false,
    }

    /// Keys of steps that replace a file.
    pub ReplaceKeys "Replace" {
        /// Keeps a copy of the replaced file beside it.
        BACKUP "backup": Flag = false,
        /// A script that gets the new file as `$1` before it replaces the old one; if it fails, nothing changes.
        VALIDATE "validate": Text,
    }

    /// A symbolic link, replaced atomically.
    pub LinkKeys "Link" {
        /// What it points to.
        FROM "from": Text; needed,
        /// The link.
        AT "at": Text; needed,
    }

    /// A directory with its parents.
    pub DirectoryKeys "Directory" {
        PATH "path": Text; needed,
        MODE "mode": Mode,
        /// `user` or `user:group`.
        OWNER "owner": Text,
    }
}

words! {
    /// What happens to a line.
    pub LineStateWords: LineState {
        "present" = LineState::Present,
        "absent" = LineState::Absent,
        "commented" = LineState::Commented,
        "uncommented" = LineState::Uncommented,
    }

    /// Whether something must be there.
    pub PresentWords: bool {
        "present" = true,
        "absent" = false,
    }
}

pub fn read_link(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let (from, at) = (required(&mut table, LinkKeys::FROM, known), required(&mut table, LinkKeys::AT, known));
    table.finish();
    Some(StepBody::Link { from: from?, at: at? })
}

pub fn read_upload(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let source = source_or_template(&mut table, (UploadKeys::FROM, UploadKeys::TEMPLATE), known);
    let to = required(&mut table, UploadKeys::TO, known);
    let mode = table.or_default(UploadKeys::MODE);
    let owner = text(&mut table, UploadKeys::OWNER, known);
    let (backup, validate) = read_replace(&mut table, known);
    table.finish();
    Some(StepBody::Upload(Upload { owner, backup, validate, ..Upload::new(source?, to?, mode) }))
}

pub fn read_line(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let path = required(&mut table, LineKeys::PATH, known);
    let line = text(&mut table, LineKeys::LINE, known);
    let matches = pattern(&mut table, LineKeys::MATCHES, known);
    let state = table.or_default(LineKeys::STATE);
    let after = pattern(&mut table, InsertKeys::AFTER, known);
    let doc = table.doc;
    match (&line, &matches, state) {
        (None, _, LineState::Present) => table.missing(LineKeys::LINE.name),
        (None, None, _) => {
            let hint = "which lines are meant".to_string();
            doc.report(table.span.clone(), "`line` needs `line` or `matches`", hint);
        }
        _ => {}
    }
    let (backup, validate) = read_replace(&mut table, known);
    let line = Line {
        path: path.unwrap_or_default(),
        line,
        matches,
        state,
        after,
        comment: read_comment(&mut table),
        create: table.or_default(InsertKeys::CREATE),
        backup,
        validate,
    };
    table.finish();
    (!line.path.is_empty()).then_some(StepBody::Line(line))
}

/// `backup` and `validate`.
fn read_replace(table: &mut Reader<'_>, known: &Known) -> (bool, Option<String>) {
    (table.or_default(ReplaceKeys::BACKUP), text(table, ReplaceKeys::VALIDATE, known))
}

/// It may be empty, and is no template.
fn read_comment(table: &mut Reader<'_>) -> String {
    table.get(InsertKeys::COMMENT).map_or_else(|| InsertKeys::COMMENT.default.into(), Spanned::into_inner)
}

pub fn read_block(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let path = required(&mut table, BlockKeys::PATH, known);
    let present = table.or_default(BlockKeys::STATE);
    let text_of_it = match present {
        true => required(&mut table, BlockKeys::TEXT, known),
        false => Some(text(&mut table, BlockKeys::TEXT, known).unwrap_or_default()),
    };
    let marker = text_or_default(&mut table, BlockKeys::MARKER, known);
    let after = pattern(&mut table, InsertKeys::AFTER, known);
    let comment = read_comment(&mut table);
    let create = table.or_default(InsertKeys::CREATE);
    let (backup, validate) = read_replace(&mut table, known);
    table.finish();
    let text = text_of_it?;
    Some(StepBody::Block(Block {
        path: path?,
        text,
        marker,
        present,
        after,
        comment,
        create,
        backup,
        validate,
    }))
}

pub fn read_directory(mut table: Reader<'_>, known: &Known) -> Option<StepBody> {
    let path = required(&mut table, DirectoryKeys::PATH, known);
    let mode = table.get(DirectoryKeys::MODE);
    let owner = text(&mut table, DirectoryKeys::OWNER, known);
    table.finish();
    Some(StepBody::Directory { path: path?, mode, owner })
}
