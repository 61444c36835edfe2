//! The one place where values become part of a shell command. POSIX `sh` is all that is assumed.

/// One word that `sh` reads back as exactly these bytes.
///
/// NUL cannot be passed to any command; [`crate::domain::template`] refuses it before it gets here.
pub fn quote(word: &str) -> String {
    if is_plain(word) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// True when no shell gives any character of `word` a meaning, wherever it stands.
pub fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    !word.is_empty() && word.chars().all(plain)
}

/// Words joined into one command line.
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Puts words together again that [`for_login`] has sent: where `$0` stands in one, it is the end of a line.
pub const TOGETHER: &str = r#"for w do shift; case $w in *"$0"*) w=$(printf %s "$w" | tr "$0" "\\012") ;; esac; set -- "$@" "$w"; done; exec "$@""#;

/// A command for a login's shell, whatever that is: `sh`, `csh` and `fish` read it alike. None of them agree on
/// how the end of a line is quoted, so another character stands for it on the way.
pub fn for_login<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    if !words.iter().any(|word| word.contains('\n')) {
        return format!("exec {}", login_words(words));
    }
    // Control characters are rare, and all of them at once are no text. Tabs and the like are left alone.
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

/// Marks in a rendered script the place where a value goes; [`fill`] replaces them.
/// The two characters are from Unicode's private use area, and values that hold them are refused.
pub const MARK_OPEN: char = '\u{e0f0}';
/// Ends what [`MARK_OPEN`] begins.
pub const MARK_CLOSE: char = '\u{e0f1}';

/// Where in a script a character stands, as far as quoting goes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Bare,
    Single,
    Double,
    /// `$( ... )`: reads like bare text again, until its parenthesis closes.
    Substitution,
    /// `( ... )` within a substitution or bare text.
    Parenthesis,
    /// `${...}`, `$((...))` and backticks: values in them cannot be quoted for sure.
    Unquotable(char),
}

/// Replaces each mark in `script` by the value it names, quoted for the place where it stands:
/// in bare text as one word, inside quotes escaped for these quotes.
///
/// An error when a value that needs quoting stands where no quoting is safe: in backticks, `${...}`,
/// `$((...))`, a comment, or after a here-document began.
pub fn fill(script: &str, values: &[String]) -> Result<String, String> {
    let mut filler = Filler {
        out: String::with_capacity(script.len()),
        places: vec![Place::Bare],
        comment: false,
        doubtful: false,
        word: String::new(),
    };
    let mut chars = script.chars().peekable();
    let mut previous = '\n';
    while let Some(c) = chars.next() {
        if c == MARK_OPEN {
            let index: String = chars.by_ref().take_while(|c| *c != MARK_CLOSE).collect();
            let value = index
                .parse()
                .ok()
                .and_then(|at: usize| values.get(at))
                .ok_or("a template left a broken mark")?;
            filler.value(value)?;
            previous = 'v';
            continue;
        }
        let escaped = filler.character(c, previous, chars.peek().copied());
        if escaped && let Some(next) = chars.next() {
            filler.out.push(next);
            previous = 'e';
            continue;
        }
        previous = c;
    }
    Ok(filler.out)
}

struct Filler {
    out: String,
    places: Vec<Place>,
    comment: bool,
    /// From here on nothing is sure: a here-document, `case`, a joined line, or quotes in `${...}` came.
    doubtful: bool,
    /// The word of bare text that is being read.
    word: String,
}

impl Filler {
    fn place(&self) -> Place {
        self.places.last().copied().unwrap_or(Place::Bare)
    }

    fn value(&mut self, value: &str) -> Result<(), String> {
        if is_plain(value) {
            self.out.push_str(value);
            return Ok(());
        }
        let unsafe_place = self.doubtful || self.comment;
        match self.place() {
            Place::Unquotable(_) => return Err(no_quoting(value)),
            _ if unsafe_place => return Err(no_quoting(value)),
            Place::Single => self.out.push_str(&value.replace('\'', r"'\''")),
            Place::Double => {
                for c in value.chars() {
                    if matches!(c, '\\' | '"' | '$' | '`') {
                        self.out.push('\\');
                    }
                    self.out.push(c);
                }
            }
            Place::Bare | Place::Substitution | Place::Parenthesis => self.out.push_str(&quote(value)),
        }
        Ok(())
    }

    /// Follows one character of the script; true when it escapes the next one.
    fn character(&mut self, c: char, previous: char, next: Option<char>) -> bool {
        self.out.push(c);
        if self.comment {
            self.comment = c != '\n';
            return false;
        }
        match self.place() {
            Place::Single => {
                if c == '\'' {
                    self.places.pop();
                }
                false
            }
            Place::Double => self.in_double(c, previous, next),
            Place::Unquotable(end) => self.in_unquotable(c, end),
            Place::Bare | Place::Substitution | Place::Parenthesis => self.in_bare(c, previous, next),
        }
    }

    fn in_double(&mut self, c: char, previous: char, next: Option<char>) -> bool {
        match c {
            '\\' => return true,
            '"' => _ = self.places.pop(),
            _ => self.expansion(c, previous, next),
        }
        false
    }

    fn in_unquotable(&mut self, c: char, end: char) -> bool {
        match c {
            '\\' => return true,
            '\'' | '"' => self.doubtful = true,
            c if c == end => _ = self.places.pop(),
            '{' if end == '}' => self.places.push(Place::Unquotable('}')),
            '(' if end == ')' => self.places.push(Place::Unquotable(')')),
            _ => {}
        }
        false
    }

    fn in_bare(&mut self, c: char, previous: char, next: Option<char>) -> bool {
        self.follow_word(c);
        match c {
            '\\' => {
                // A joined line: what follows stands in the middle of a word, or does not.
                self.doubtful |= next == Some('\n');
                return true;
            }
            '\'' => self.places.push(Place::Single),
            '"' => self.places.push(Place::Double),
            '#' if previous.is_whitespace() || matches!(previous, ';' | '&' | '|' | '(' | ')') => {
                self.comment = true
            }
            '<' if previous == '<' => self.doubtful = true,
            '(' if previous != '$' => self.places.push(Place::Parenthesis),
            ')' if self.places.len() > 1 => _ = self.places.pop(),
            _ => self.expansion(c, previous, next),
        }
        false
    }

    /// The patterns of `case` hold parentheses that close nothing.
    fn follow_word(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || c == '_' {
            self.word.push(c);
            return;
        }
        self.doubtful |= self.word == "case";
        self.word.clear();
    }

    /// `` ` ``, `${` and `$((` open places where nothing can be quoted; `$(` opens bare text.
    fn expansion(&mut self, c: char, previous: char, next: Option<char>) {
        match c {
            '`' => self.places.push(Place::Unquotable('`')),
            '{' if previous == '$' => self.places.push(Place::Unquotable('}')),
            '(' if previous == '$' && next == Some('(') => self.places.push(Place::Unquotable(')')),
            '(' if previous == '$' => self.places.push(Place::Substitution),
            _ => {}
        }
    }
}

fn no_quoting(value: &str) -> String {
    format!(
        "the value {value:?} holds characters that the shell would read, in a place where it cannot be quoted \
         (a comment, a here-document, backticks, ${{...}} or $((...))); try: put it into `env` and use \"$NAME\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(script: &str, value: &str) -> Result<String, String> {
        fill(&script.replace('@', &format!("{MARK_OPEN}0{MARK_CLOSE}")), &[value.to_string()])
    }

    #[test]
    fn values_are_quoted_for_the_place_where_they_stand() {
        let table = [
            ("echo @", "1.2.3", "echo 1.2.3"),
            ("echo @", "a b", "echo 'a b'"),
            ("echo @.tar.gz", "it's", r"echo 'it'\''s'.tar.gz"),
            ("echo \"v @\"", "$(id) \"`x`\\", r#"echo "v \$(id) \"\`x\`\\""#),
            ("echo '@'", "it's", r"echo 'it'\''s'"),
            ("echo \"$(cat @)\"", "a b", "echo \"$(cat 'a b')\""),
            ("(cd @)", ";id", "(cd ';id')"),
            ("echo \\' @", ";", "echo \\' ';'"),
            ("echo a#b @", ";", "echo a#b ';'"),
            ("echo ${x} @", "a b", "echo ${x} 'a b'"),
            ("echo $(( 1 + (2) )) @", "a b", "echo $(( 1 + (2) )) 'a b'"),
            ("echo @", "", "echo ''"),
            ("# note\necho @", ";", "# note\necho ';'"),
        ];
        for (script, value, wanted) in table {
            assert_eq!(filled(script, value), Ok(wanted.to_string()), "{script}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_quoted_for_sure_is_an_error() {
        for script in
            ["echo `@`", "echo ${x:-@}", "echo $((@))", "cat <<E\n@\nE", "true # @", "echo \"${x:-@}\""]
        {
            assert!(filled(script, "a b").is_err(), "{script}");
            assert!(filled(script, "1.2.3").is_ok(), "{script}");
        }
    }

    #[test]
    fn nobody_steps_out_of_the_quoting() {
        let scripts = [
            "true \\\n# it's\necho @ # '",
            "(true)# it's\necho @ # '",
            "echo \"$(case b in b) echo @ ;; esac)\"",
            "echo ${x:-\"}\"} @",
            "case a in a) echo @;; esac",
        ];
        for script in scripts {
            let Ok(line) = filled(script, "; echo INJECTED #") else { continue };
            let answer = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
            let said = String::from_utf8_lossy(&answer.stdout);
            assert!(!said.lines().any(|line| line == "INJECTED"), "{line}");
        }
    }

    /// The injection table: whatever a value holds, `sh` prints the same bytes back.
    #[test]
    fn sh_reads_back_the_same_bytes() {
        let values = [
            "; id",
            "$(id)",
            "`id`",
            "a\nb",
            "-n",
            "it's",
            "\"",
            "\\",
            "*",
            "~",
            "\u{202e}x",
            "é",
            "#",
            "!x",
            "a\tb",
            "\\n'",
        ];
        let scripts = [
            "printf '%s' @",
            "printf '%s' \"@\"",
            "printf '%s' '@'",
            "x=@; printf '%s' \"$x\"",
            "printf '%s' \"$(printf '%s' @)\"",
            "true; (printf '%s' @)",
        ];
        for script in scripts {
            for value in values {
                let line = filled(script, value).unwrap();
                let answer = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&answer.stdout), value, "{line}");
            }
        }
    }

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
