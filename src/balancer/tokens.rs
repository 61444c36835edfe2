//! The tokens of an nginx configuration, by nginx's own rules, with their places. On bytes: a configuration is in
//! whatever encoding its author had. Pure and total: what nginx would refuse ends where the text ends.

use std::ops::Range;

/// The kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A word, perhaps in quotes.
    Word,
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
    /// From `#` to the end of the line, without the line end.
    Comment,
    /// The Lua program of a block such as `content_by_lua_block`.
    Program,
}

/// A token and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub at: Range<usize>,
}

/// The ending of directives whose block is a Lua program.
const LUA: &[u8] = b"_by_lua_block";

/// The tokens of a text, in order.
pub fn tokens(text: &[u8]) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let (mut at, mut first_word) = (0, None);
    while at < text.len() {
        let start = at;
        let kind = match text[at] {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b';' => TokenKind::End,
            b'{' => TokenKind::Open,
            b'}' => TokenKind::Close,
            b'#' => TokenKind::Comment,
            _ => TokenKind::Word,
        };
        at = match kind {
            TokenKind::Comment => line_end(text, at),
            TokenKind::Word => word_end(text, at),
            _ => at + 1,
        };
        tokens.push(Token { kind, at: start..at });
        match kind {
            TokenKind::Word => first_word = first_word.or(Some(start..at)),
            TokenKind::Open if first_word.clone().is_some_and(|word| text[word].ends_with(LUA)) => {
                let end = lua_end(text, at);
                tokens.push(Token { kind: TokenKind::Program, at: at..end });
                (at, first_word) = (end, None);
            }
            TokenKind::End | TokenKind::Open | TokenKind::Close => first_word = None,
            TokenKind::Comment | TokenKind::Program => {}
        }
    }
    tokens
}

/// The meaning of a word: without its quotes and escapes.
pub fn value(word: &[u8]) -> Vec<u8> {
    let inside = match word {
        [b'"', inside @ .., b'"'] | [b'\'', inside @ .., b'\''] => inside,
        _ => word,
    };
    let mut value = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [quote @ (b'"' | b'\'' | b'\\'), after @ ..]) => (*quote, after),
            _ => (*first, after),
        };
        value.push(byte);
        rest = after;
    }
    value
}

/// The end of the line, without `\r\n` or `\n`.
pub fn line_end(text: &[u8], from: usize) -> usize {
    let line = text[from..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_whole = from + line.len() < text.len();
    from + line.len() - usize::from(is_whole && line.ends_with(b"\r"))
}

fn word_end(text: &[u8], start: usize) -> usize {
    let quote = Some(text[start]).filter(|byte| matches!(byte, b'"' | b'\''));
    let mut at = start + usize::from(quote.is_some());
    while let Some(byte) = text.get(at) {
        match (byte, quote) {
            // The next byte is part of the word, whatever it is.
            (b'\\', _) => at += 1,
            (byte, Some(quote)) if *byte == quote => return at + 1,
            (b' ' | b'\t' | b'\r' | b'\n' | b';', None) => return at,
            // `${name}` is a variable.
            (b'{', None) if text[at - 1] != b'$' => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The place of the brace that closes a Lua block whose text starts at `from`.
fn lua_end(text: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < text.len() {
        let rest = &text[at..];
        at = match rest[0] {
            b'{' => {
                depth += 1;
                at + 1
            }
            b'}' if depth == 0 => return at,
            b'}' => {
                depth -= 1;
                at + 1
            }
            b'-' if rest.starts_with(b"--") => match long_bracket(text, at + 2) {
                Some(end) => end,
                None => line_end(text, at),
            },
            b'[' => long_bracket(text, at).unwrap_or(at + 1),
            quote @ (b'"' | b'\'') => lua_string_end(text, at + 1, quote),
            _ => at + 1,
        };
    }
    text.len()
}

fn lua_string_end(text: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' => return at,
            byte if *byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The end of `[[text]]` or `[==[text]==]` that starts here.
fn long_bracket(text: &[u8], at: usize) -> Option<usize> {
    let inside = text.get(at..)?.strip_prefix(b"[")?;
    let level = inside.iter().take_while(|byte| **byte == b'=').count();
    let inside = inside[level..].strip_prefix(b"[")?;
    let close: Vec<u8> = [&b"]"[..], &vec![b'='; level], b"]"].concat();
    let length = inside.windows(close.len()).position(|window| window == close);
    Some(length.map_or(text.len(), |length| text.len() - inside.len() + length + close.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens as text, with `|` between them.
    fn cut(text: &str) -> String {
        let part = |token: Token| String::from_utf8_lossy(&text.as_bytes()[token.at]).into_owned();
        tokens(text.as_bytes()).into_iter().map(part).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_text_is_cut_as_nginx_cuts_it() {
        let table = [
            ("upstream app\n{\n\tserver\ta:1;}", "upstream|app|{|server|a:1|;|}"),
            ("server a:1;# c ; }\r\nserver b;", "server|a:1|;|# c ; }|server|b|;"),
            ("a \"b;{}#\\\"\" 'c d';", "a|\"b;{}#\\\"\"|'c d'|;"),
            ("a b#c;", "a|b#c|;"),
            ("a b}c;", "a|b}c|;"),
            ("a ${b}c d\\;e \\ f;", "a|${b}c|d\\;e|\\ f|;"),
            ("if ($a = \"}\") { b; }", "if|($a|=|\"}\"|)|{|b|;|}"),
            ("a 'b", "a|'b"),
            ("a b\\", "a|b\\"),
            (
                "content_by_lua_block { -- }\n f('}', \"\\\"}\", [[}]], [=[ ]] } ]=], {}) --[[ } ]] } a;",
                "content_by_lua_block|{| -- }\n f('}', \"\\\"}\", [[}]], [=[ ]] } ]=], {}) --[[ } ]] |}|a|;",
            ),
            ("x { server a; } y_by_lua_block", "x|{|server|a|;|}|y_by_lua_block"),
            ("", ""),
        ];
        for (text, wanted) in table {
            assert_eq!(cut(text), wanted, "{text}");
        }
        assert_eq!(line_end(b"a\r\nb", 0), 1);
        assert_eq!(line_end(b"a\r", 0), 2, "without a line feed it is no line end");
    }

    #[test]
    fn a_word_means_what_nginx_takes_it_for() {
        let table = [
            ("a:1", "a:1"),
            ("\"a b\"", "a b"),
            ("'a\\'b'", "a'b"),
            ("a\\\"b\\\\c\\d", "a\"b\\c\\d"),
            ("\"a\\tb\"", "a\tb"),
            ("\"", "\""),
        ];
        for (word, wanted) in table {
            assert_eq!(value(word.as_bytes()), wanted.as_bytes(), "{word}");
        }
    }

    proptest::proptest! {
        #[test]
        fn tokens_hold_every_byte_that_is_no_space(text in proptest::collection::vec(
            proptest::sample::select(b"ab_ \t\r\n;{}#\"'\\$-[]=\xe9".to_vec()), 0..200,
        )) {
            let mut end = 0;
            for token in tokens(&text) {
                let is_space = |byte: &u8| byte.is_ascii_whitespace();
                proptest::prop_assert!(token.at.start >= end && text[end..token.at.start].iter().all(is_space));
                end = token.at.end;
                value(&text[token.at]);
            }
            proptest::prop_assert!(end <= text.len() && text[end..].iter().all(u8::is_ascii_whitespace));
        }
    }
}
