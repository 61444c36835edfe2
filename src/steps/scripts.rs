//! rollcall's own scripts for steps, with the parts that they share. Plain POSIX `sh`; values are arguments.

use std::sync::LazyLock;

use crate::domain::base::output::Output;
use crate::domain::task::task::Step;
use crate::domain::value::shell;
use crate::script::{self, bare};

/// Replaces a link.
pub static LINK: LazyLock<String> = LazyLock::new(|| whole(include_str!("sh/link.sh")));

/// Inspects an uploaded file, and sets its mode and owner if its content is right.
pub static PLACE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("sh/place.sh")));

/// Receives a file.
pub static RECEIVE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("sh/receive.sh")));

pub(super) static DIRECTORY: LazyLock<String> =
    LazyLock::new(|| about_files(include_str!("sh/directory.sh")));
pub(super) static DELETE: LazyLock<String> = LazyLock::new(|| whole(include_str!("sh/delete.sh")));
pub(super) static ARCHIVE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("sh/archive.sh")));
pub(super) static ARCHIVE_LIST: LazyLock<String> =
    LazyLock::new(|| unpacking(include_str!("sh/archive_list.sh")));
pub(super) static ARCHIVE_UNPACK: LazyLock<String> =
    LazyLock::new(|| unpacking(include_str!("sh/archive_unpack.sh")));
pub(super) static RELEASE: LazyLock<String> = LazyLock::new(|| whole(include_str!("sh/release.sh")));
pub(super) static DOWNLOAD: LazyLock<String> = LazyLock::new(|| about_files(include_str!("sh/download.sh")));
pub(super) static TREE: LazyLock<String> = LazyLock::new(|| about_files(include_str!("sh/tree.sh")));
pub(super) static TREE_RECEIVE: LazyLock<String> =
    LazyLock::new(|| about_files(include_str!("sh/tree_receive.sh")));
pub(super) static FETCH: LazyLock<String> = LazyLock::new(|| bare(include_str!("sh/fetch.sh")));

/// A script with the common prelude.
pub(super) fn whole(text: &str) -> String {
    bare(include_str!("sh/prelude.sh")) + &bare(text)
}

/// A script with the common prelude, and the functions about files.
pub(super) fn about_files(text: &str) -> String {
    whole(include_str!("sh/files.sh")) + &bare(text)
}

pub(super) fn unpacking(text: &str) -> String {
    about_files(include_str!("sh/unpacking.sh")) + &bare(text)
}

/// One of rollcall's own scripts for hosts. Plain POSIX `sh`; its text never changes, values are arguments.
pub(super) struct OwnScript {
    pub text: &'static str,
    pub arguments: Vec<String>,
    /// It may take long, or do harm when it runs twice: it goes through the wrapper.
    pub apart: bool,
}

impl OwnScript {
    pub fn call(&self, step: &Step, mode: &str) -> String {
        let arguments: Vec<&str> =
            [mode].into_iter().chain(self.arguments.iter().map(String::as_str)).collect();
        call(self.text, &arguments, step)
    }
}

/// The text for a host's `sh`.
pub(super) fn call(text: &str, arguments: &[&str], step: &Step) -> String {
    script::in_place(step, &shell::with_arguments(text, arguments))
}

/// The output of one of rollcall's own scripts, and the word at its end.
pub(super) fn split_word(mut stdout: Output) -> (Output, String) {
    let text = stdout.text.trim_end_matches('\n');
    let last = text.rfind('\n').map_or(0, |at| at + 1);
    let word = text[last..].to_string();
    stdout.text.truncate(last);
    (stdout, word)
}
