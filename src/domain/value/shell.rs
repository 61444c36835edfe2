//! The one place where values become part of a shell command. It assumes only POSIX `sh`.

/// One word that `sh` reads as exactly these bytes.
///
/// NUL cannot be passed to any command; `domain::template` refuses it before.
pub fn quote(word: &str) -> String {
    if is_plain(word) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// True when no shell gives any character of `word` a meaning, in any position.
pub fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    !word.is_empty() && word.chars().all(plain)
}

/// Words joined into one command line.
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Restores words that [`for_login`] has sent: `$0` in a word is the end of a line.
pub const TOGETHER: &str = r#"for w do shift; case $w in *"$0"*) w=$(printf %s "$w" | tr "$0" "\\012") ;; esac; set -- "$@" "$w"; done; exec "$@""#;

/// A command for any login shell: `sh`, `csh` and `fish` read it alike. They do not agree on
/// how to quote the end of a line, so another character replaces it on the way.
pub fn for_login<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    if !words.iter().any(|word| word.contains('\n')) {
        return format!("exec {}", login_words(words));
    }
    // Control characters are rare, and no text contains all of them. Tabs and the like are not used.
    let mut marks = ('\u{1}'..='\u{8}').chain('\u{e}'..='\u{1f}');
    let mark =
        marks.find(|mark| !words.iter().any(|word| word.contains(*mark))).unwrap_or('\u{1}').to_string();
    let sent: Vec<String> = words.iter().map(|word| word.replace('\n', &mark)).collect();
    let first = ["sh", "-c", TOGETHER, mark.as_str()];
    format!("exec {}", login_words(first.into_iter().chain(sent.iter().map(String::as_str))))
}

fn login_words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(login_word).collect::<Vec<_>>().join(" ")
}

/// One word that each of these shells reads as these characters. Between single quotes `fish` gives the backslash
/// a meaning, and `csh` the exclamation mark.
pub fn login_word(word: &str) -> String {
    if is_plain(word) {
        return word.to_string();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('\'');
    for c in word.chars() {
        match c {
            '\'' | '\\' | '!' => quoted.extend(['\'', '\\', c, '\'']),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// A script with positional parameters: `set -- 'a' 'b'` and then `body`, which reads `$1`, `$2`.
/// This is how rollcall's own scripts receive values, so that their text never changes.
pub fn with_arguments(body: &str, arguments: &[&str]) -> String {
    format!("set -- {}\n{body}", join(arguments.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_login_shell_reads_the_same_words() {
        let words = [
            "it's",
            "a\\b\\",
            "!x !! \\!",
            "two\nlines\n\nmore",
            "*~ $(id) `id` \"",
            "\u{1}\ttab",
            "é\u{202e}",
            "",
        ];
        let wanted: String = words.iter().map(|word| format!("<{word}>")).collect();
        for shell in [vec!["sh"], vec!["bash"], vec!["csh"], vec!["fish"], vec!["busybox", "sh"]] {
            let command = for_login(["printf", "<%s>"].into_iter().chain(words));
            let mut call = std::process::Command::new(shell[0]);
            let answer = call.args(&shell[1..]).args(["-c", &command]).output();
            let answer = answer.unwrap_or_else(|error| panic!("{shell:?}: {error}; tests/run installs it"));
            assert_eq!(String::from_utf8_lossy(&answer.stdout), wanted, "{shell:?}");
        }
        assert_eq!(for_login(["sh", "-c", "make it"]), "exec sh -c 'make it'");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn any_words_come_back_from_sh(words in proptest::collection::vec("[^\\x00]{0,20}", 1..5)) {
            let line = format!("printf '%s\\0' {}", join(words.iter().map(String::as_str)));
            let answer = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
            let wanted: String = words.iter().map(|word| format!("{word}\0")).collect();
            proptest::prop_assert_eq!(answer.stdout, wanted.into_bytes());
        }
    }
}
