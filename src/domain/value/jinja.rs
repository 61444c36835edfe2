//! Splits the source of a template into its parts, and bounds the input of the template engine. The engine
//! parses and walks chains of operators by recursion: a long chain would overflow the stack, which ends the process.

/// Longest source of a template, in bytes.
pub const SOURCE_LIMIT_BYTES: usize = 1024 * 1024;

/// Longest expression or tag, in bytes: lists are written in them.
pub const EXPRESSION_LIMIT_BYTES: usize = 64 * 1024;

/// Operators, filters and brackets of one expression: the engine may recurse once for each.
pub const OPERATOR_LIMIT: usize = 200;

/// Blocks within blocks, each `elif` counted as one: the engine recurses for each.
pub const BLOCK_DEPTH_LIMIT: usize = 50;

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part<'a> {
    Text(&'a str),
    /// `{{ ... }}`, without its braces.
    Expression(&'a str),
    /// `{% ... %}`, without its braces.
    Tag(&'a str),
}

/// Splits a template into its parts, as the engine does: without the white space around `{{-` and `-}}`.
/// The error says what is not closed, or which bound is exceeded.
pub fn parts(source: &str) -> Result<Vec<Part<'_>>, String> {
    if source.len() > SOURCE_LIMIT_BYTES {
        return Err(format!("a template has at most {SOURCE_LIMIT_BYTES} bytes"));
    }
    let mut parts = Vec::new();
    let (mut rest, mut trims) = (source, false);
    while let Some(at) = opening(rest) {
        let (text, tail) = rest.split_at(at);
        let (kind, inside) = tail.split_at(2);
        push_text(&mut parts, text, (trims, inside.starts_with('-')));
        let inside = inside.strip_prefix(['-', '+']).unwrap_or(inside);
        let (part, after) = cut(kind, inside)?;
        trims = part.ends_with('-');
        let part = part.strip_suffix(['-', '+']).unwrap_or(part).trim();
        rest = after;
        match kind {
            "{{" => parts.push(Part::Expression(part)),
            "{%" if part == "raw" => {
                let (text, after, ends_trimming) = raw(rest)?;
                push_text(&mut parts, text, (trims, false));
                (rest, trims) = (after, ends_trimming);
            }
            "{%" => parts.push(Part::Tag(part)),
            _ => {}
        }
    }
    push_text(&mut parts, rest, (trims, false));
    check_bounds(&parts)?;
    Ok(parts)
}

/// Checks a single expression, as in `when`.
pub fn check_expression(expression: &str) -> Result<(), String> {
    check_bounds(&[Part::Expression(expression)])
}

fn opening(text: &str) -> Option<usize> {
    text.match_indices('{')
        .map(|(at, _)| at)
        .find(|at| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')))
}

fn push_text<'a>(parts: &mut Vec<Part<'a>>, text: &'a str, (start, end): (bool, bool)) {
    let text = if start { text.trim_start() } else { text };
    let text = if end { text.trim_end() } else { text };
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
}

/// The text up to the closing braces, and the text behind them. Braces within quotes close nothing.
fn cut<'a>(kind: &str, inside: &'a str) -> Result<(&'a str, &'a str), String> {
    let close = match kind {
        "{{" => "}}",
        "{%" => "%}",
        _ => "#}",
    };
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if inside[at..].starts_with(close) => return Ok((&inside[..at], &inside[at + 2..])),
            None if kind != "{#" && matches!(c, '"' | '\'') => quote = Some(c),
            None => {}
        }
    }
    Err(format!("`{kind}` is not closed by `{close}`"))
}

/// The text up to `{% endraw %}`, the text behind it, and whether white space behind it is removed.
fn raw(text: &str) -> Result<(&str, &str, bool), String> {
    for (at, _) in text.match_indices("{%") {
        if let Some((length, before, behind)) = endraw(&text[at..]) {
            let raw = if before { text[..at].trim_end() } else { &text[..at] };
            return Ok((raw, &text[at + length..], behind));
        }
    }
    Err("`{% raw %}` is not closed by `{% endraw %}`".into())
}

/// The length of the tag at the start, and on which sides it removes white space.
fn endraw(text: &str) -> Option<(usize, bool, bool)> {
    let inside = text.strip_prefix("{%")?;
    let bare =
        inside.strip_prefix(['-', '+']).unwrap_or(inside).trim_start().strip_prefix("endraw")?.trim_start();
    let behind = bare.strip_prefix(['-', '+']).unwrap_or(bare).strip_prefix("%}")?;
    Some((text.len() - behind.len(), inside.starts_with('-'), bare.starts_with('-')))
}

fn check_bounds(parts: &[Part<'_>]) -> Result<(), String> {
    // For each open block: what it and its `elif` add to the depth.
    let mut blocks: Vec<usize> = Vec::new();
    for part in parts {
        match part {
            Part::Text(_) => continue,
            Part::Expression(text) | Part::Tag(text) => check_operators(text)?,
        }
        let Part::Tag(tag) = part else { continue };
        match first_word(tag) {
            word if word.starts_with("end") => _ = blocks.pop(),
            "elif" => blocks.last_mut().into_iter().for_each(|depth| *depth += 1),
            word if opens(word, tag) => blocks.push(1),
            _ => {}
        }
        if blocks.iter().sum::<usize>() > BLOCK_DEPTH_LIMIT {
            return Err(format!(
                "a template has at most {BLOCK_DEPTH_LIMIT} blocks within each other (`elif` counts)"
            ));
        }
    }
    Ok(())
}

/// The first word of a tag.
pub fn first_word(tag: &str) -> &str {
    tag.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// True for tags that need an `end...`.
pub fn opens(word: &str, tag: &str) -> bool {
    let is_block = ["if", "for", "with", "filter", "autoescape", "macro", "call", "block"].contains(&word);
    is_block || (word == "set" && !tag.contains('='))
}

fn check_operators(expression: &str) -> Result<(), String> {
    if expression.len() > EXPRESSION_LIMIT_BYTES {
        return Err(format!("an expression has at most {EXPRESSION_LIMIT_BYTES} bytes"));
    }
    if operators(expression) > OPERATOR_LIMIT {
        return Err(format!("an expression has at most {OPERATOR_LIMIT} operators, filters and brackets"));
    }
    Ok(())
}

fn operators(expression: &str) -> usize {
    let (mut count, mut quote, mut escaped, mut last) = (0, None, false, ' ');
    let mut word = String::new();
    for c in expression.chars().chain([' ']) {
        if let Some(open) = quote {
            (escaped, quote) = (!escaped && c == '\\', if !escaped && c == open { None } else { quote });
            continue;
        }
        if c.is_alphanumeric() || c == '_' {
            // Longer words are not operators.
            if word.len() < 8 {
                word.push(c);
            }
        } else {
            count += usize::from(["not", "and", "or", "if", "else", "in", "is"].contains(&word.as_str()));
            word.clear();
            count += usize::from("+-*/%~|[({<>=!".contains(c) || (c == '.' && !last.is_ascii_digit()));
            quote = Some(c).filter(|c| matches!(c, '"' | '\''));
        }
        last = c;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_cut_as_the_engine_cuts_it() {
        use Part::{Expression, Tag, Text};
        let table: [(&str, &[Part]); 9] = [
            ("a {{ b }} c", &[Text("a "), Expression("b"), Text(" c")]),
            ("a {{- b -}} c", &[Text("a"), Expression("b"), Text("c")]),
            ("{{ '}}' }}", &[Expression("'}}'")]),
            (r#"{{ "\"}}" }}"#, &[Expression(r#""\"}}""#)]),
            ("{# '{{ x #}y", &[Text("y")]),
            ("{% raw %}{{ x }}{% {%- endraw -%} y", &[Text("{{ x }}{%"), Text("y")]),
            ("{% if a %}b{% endif %}", &[Tag("if a"), Text("b"), Tag("endif")]),
            ("{{-5 }}", &[Expression("5")]),
            ("a { b } %}", &[Text("a { b } %}")]),
        ];
        for (source, wanted) in table {
            assert_eq!(parts(source).as_deref(), Ok(wanted), "{source}");
        }
        for source in ["{{ a", "{% if", "{# a", "{% raw %} x", "{{ '}}"] {
            assert!(parts(source).is_err(), "{source}");
        }
    }

    #[test]
    fn no_source_makes_the_engine_recurse_without_bound() {
        let too_deep = [
            format!("{{{{ 1{} }}}}", " + 1".repeat(30_000)),
            format!("{{{{ {} true }}}}", "not ".repeat(10_000)),
            format!("{{{{ {}1 }}}}", "-".repeat(10_000)),
            format!("{{{{ x{} }}}}", " | upper".repeat(5_000)),
            format!("{{{{ x{} }}}}", ".a".repeat(5_000)),
            format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000)),
            format!("{{{{ {}1 }}}}", "1 if x else ".repeat(5_000)),
            "{% if a %}".repeat(1_000),
            format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}".repeat(1_000)),
            "{% for a in b %}".repeat(1_000),
            "{% set x %}".repeat(1_000),
        ];
        for source in too_deep {
            assert!(parts(&source).unwrap_err().contains(" has at most "), "{source:.60}");
        }
        let list = (0..2_000).map(|n| format!("'host{n}.example.com'")).collect::<Vec<_>>().join(", ");
        assert_eq!(check_expression(&format!("[{list}]")), Ok(()), "lists are long and flat");
        assert_eq!(parts(&"{% if a %}b{% endif %}".repeat(5_000)).map(|parts| parts.len()), Ok(15_000));
    }
}
