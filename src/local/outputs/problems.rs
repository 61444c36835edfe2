//! Which lines of an output look like problems. A guess, for jumping to them; no outcome depends on it.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

/// Words of problems.
const WORDS: &str = r"\b(error|errors|err!|fatal|failed|failure|panic|panicked|exception|traceback|critical|emerg|abort|aborted|segfault|segmentation fault|core dumped|out of memory|oom-killer|no space left|disk quota exceeded|permission denied|access denied|operation not permitted|not found|no such file|cannot|can't open|could not|unable to|refused|timed out|unreachable|undefined reference|broken pipe|killed)\b";

/// Words that say that there is none.
const FINE: &str = r"\b(0|no|without|zero) (error|errors|failed|failure|failures|fatal)\b|\b(error|errors|failed|failures)[:= ]+0\b|\bfailed=0\b";

/// A line longer than this is judged by its start.
const LINE_BYTES: usize = 4096;

fn pattern(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).case_insensitive(true).unicode(false).build().ok()
}

static PROBLEM: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(WORDS));
static IS_FINE: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(FINE));

/// True for a line that looks like a problem. Control sequences were removed.
pub fn is_problem(line: &[u8]) -> bool {
    let line = &line[..line.len().min(LINE_BYTES)];
    let has = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(line));
    has(&PROBLEM) && !has(&IS_FINE)
}

/// Where the first word of a problem is in a text of many lines.
pub fn first_word(text: &[u8]) -> Option<usize> {
    PROBLEM.as_ref()?.find(text).map(|found| found.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_look_like_problems() {
        let problems = [
            "ERROR: x",
            "app.service: Failed with result 'exit-code'",
            "thread 'main' panicked at src/main.rs",
            "Traceback (most recent call last):",
            "bash: foo: command not found",
            "cat: /x: No such file or directory",
            "rm: cannot remove 'x': Permission denied",
            "Killed",
            "java.lang.Exception",
        ];
        let fine = [
            "ok",
            "0 errors",
            "no errors found",
            "ok=3 changed=1 unreachable=0 failed=0",
            "Errors: 0",
            "terror",
            "mirroring failover",
            "",
        ];
        assert!(PROBLEM.is_some() && IS_FINE.is_some());
        problems.iter().for_each(|line| assert!(is_problem(line.as_bytes()), "{line}"));
        let wrong: Vec<_> = fine.iter().filter(|line| is_problem(line.as_bytes())).collect();
        assert_eq!(wrong, [&"ok=3 changed=1 unreachable=0 failed=0"; 0]);
    }
}
