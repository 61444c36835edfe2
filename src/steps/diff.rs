//! Differences of files, for people.

use std::time::Duration;

use similar::TextDiff;

use crate::domain::base::output::{Capture, Output};

/// Largest file that is compared line by line.
pub(super) const DIFF_LIMIT_BYTES: usize = 1024 * 1024;

/// The time limit of the search for the shortest difference; then the best one so far is printed.
const SEARCH_TIME: Duration = Duration::from_secs(1);

/// Context lines around each difference.
const CONTEXT_LINES: usize = 3;

/// A unified diff; one line if the content is not text. `None` means that there is no file.
pub(super) async fn unified(name: String, old: Option<Vec<u8>>, new: Vec<u8>) -> String {
    let failed = format!("{name}: differs\n");
    tokio::task::spawn_blocking(move || compare(&name, old.as_deref(), &new)).await.unwrap_or(failed)
}

fn compare(name: &str, old: Option<&[u8]>, new: &[u8]) -> String {
    let is_text = |bytes: &[u8]| bytes.len() <= DIFF_LIMIT_BYTES && !bytes.contains(&0);
    let texts = [old.unwrap_or_default(), new]
        .map(|bytes| std::str::from_utf8(bytes).ok().filter(|_| is_text(bytes)));
    let [Some(before), Some(after)] = texts else {
        return format!("binary files differ: {name}\n");
    };
    let from = if old.is_some() { format!("a{name}") } else { "/dev/null".into() };
    let diff = TextDiff::configure().timeout(SEARCH_TIME).diff_lines(before, after);
    let text =
        diff.unified_diff().context_radius(CONTEXT_LINES).header(&from, &format!("b{name}")).to_string();
    // An empty file has no lines that could differ from a missing one.
    if text.is_empty() { format!("--- {from}\n+++ b{name}\n") } else { text }
}

/// The part of a text that fits into an event.
pub(super) fn bounded(text: &str) -> Output {
    let mut capture = Capture::default();
    capture.push(text.as_bytes());
    capture.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_would_change() {
        let old = b"a\nserver web1;\nb\n";
        let diff = compare("/etc/x", Some(old), b"a\n#server web1;\nb\n");
        let expected = "--- a/etc/x\n+++ b/etc/x\n@@ -1,3 +1,3 @@\n a\n-server web1;\n+#server web1;\n b\n";
        assert_eq!(diff, expected);
        assert_eq!(compare("/x", None, b"a\n"), "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(compare("/x", None, b""), "--- /dev/null\n+++ b/x\n");
        assert_eq!(compare("/x", Some(b"a\0b"), b"a"), "binary files differ: /x\n");
        assert_eq!(compare("/x", Some(b"a"), &[0xff]), "binary files differ: /x\n");
        let large = vec![b'a'; DIFF_LIMIT_BYTES + 1];
        assert_eq!(compare("/x", Some(b"a"), &large), "binary files differ: /x\n");
    }
}
