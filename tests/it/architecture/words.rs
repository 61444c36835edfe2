//! Words that a reader has to decode, and the plain ones that stand for them in messages, docs and comments.

use std::collections::BTreeMap;

use regex::Regex;

/// The words, and what to write.
const INSTEAD: [(&str, &str); 9] = [
    (r"\b(is|are|was|were|be) told\b|\btells (of|nothing|no)\b", "reports, prints, notifies, says which"),
    (
        r"\b[Ww]hoever\b|\b[Ss]omebody\b|\b[Nn]obody\b",
        "the operator, another process, a colleague; or name it",
    ),
    (r"\b[Mm]eanwhile\b", "in the meantime, during the run"),
    (r"\bfor good[.,;:)]|\bfor good$", "permanently, until the end"),
    (r"\bbut for\b", "except, apart from"),
    (r"\bon the strength of\b|\bas it stands\b", "because of, unchanged"),
    (r"\b(has|have|had) in (its|their) hands?\b|\bin other hands\b", "is working on, is in use"),
    (r"\bgiven up\b", "abandoned, stopped"),
    (r"\bthe look\b|\ba look at\b", "the probe, the dry run"),
];

/// `file: the line` for each line of the texts that has one of the words.
pub fn riddles(texts: &BTreeMap<String, String>) -> Vec<String> {
    let rules: Vec<(Regex, &str)> =
        INSTEAD.iter().map(|(words, plain)| (Regex::new(words).expect("a pattern"), *plain)).collect();
    let mut found = Vec::new();
    for (file, text) in texts {
        for (at, line) in text.lines().enumerate() {
            let rule = rules.iter().find(|(words, _)| words.is_match(line));
            found.extend(rule.map(|(_, plain)| format!("{file}:{}: write {plain}: {}", at + 1, line.trim())));
        }
    }
    found
}
