//! Rendered lines of output as text and as HTML. Terminals draw the spans themselves.

use crate::domain::base::rendered::{RenderedLine, Span};

/// A line as text, with notes about what is left out.
pub fn text(line: &RenderedLine) -> String {
    match notes(line) {
        notes if notes.is_empty() => line.text(),
        notes => format!("{} {notes}", line.text()),
    }
}

/// A line as HTML: text, and `span` elements with classes. The notes are in an element of their own, so that no output
/// can imitate them.
pub fn html(line: &RenderedLine) -> String {
    let mut html = String::new();
    line.spans.iter().for_each(|span| span_html(span, &mut html));
    let notes = notes(line);
    if !notes.is_empty() {
        html.push_str(&format!(" <span class=\"note\">{notes}</span>"));
    }
    html
}

/// The classes of a span: `c-red b-blue bold underline reverse mark`.
pub fn classes(span: &Span) -> String {
    let style = span.style;
    let color = style.color.map(|color| format!("c-{}", color.name()));
    let background = style.background.map(|color| format!("b-{}", color.name()));
    let words = [
        (style.bold, "bold"),
        (style.underline, "underline"),
        (style.reverse, "reverse"),
        (span.is_mark, "mark"),
    ];
    let words = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_string());
    color.into_iter().chain(background).chain(words).collect::<Vec<_>>().join(" ")
}

/// What of a line is not shown.
pub fn notes(line: &RenderedLine) -> String {
    let more = (line.more > 0).then(|| format!("... {} bytes more", thousands(line.more)));
    let updates = (line.updates > 0).then(|| match line.updates {
        1 => "+1 update".to_string(),
        count => format!("+{} updates", thousands(count.into())),
    });
    [more, updates].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A number as people read it: `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn span_html(span: &Span, html: &mut String) {
    let classes = classes(span);
    if classes.is_empty() {
        return escape(&span.text, html);
    }
    html.push_str("<span class=\"");
    html.push_str(&classes);
    html.push_str("\">");
    escape(&span.text, html);
    html.push_str("</span>");
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '&' => html.push_str("&amp;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::base::rendered::{LineRenderer, SPANS_LIMIT};

    fn line(bytes: &[u8]) -> RenderedLine {
        LineRenderer::default().line(bytes)
    }

    #[test]
    fn a_line_as_text_and_as_html() {
        let long = [vec![b'x'; 4096], vec![b'y'; 8412]].concat();
        let cut = "x".repeat(4096);
        let table: &[(&[u8], &str, &str)] = &[
            (b"a < b & c > d", "a < b & c > d", "a &lt; b &amp; c &gt; d"),
            (
                b"\x1b[1;31mFAILED\x1b[0m: \x00",
                "FAILED: \\x00",
                "<span class=\"c-red bold\">FAILED</span>: <span class=\"mark\">\\x00</span>",
            ),
            (b"10%\r100%", "100% +1 update", "100% <span class=\"note\">+1 update</span>"),
            (b"<scr\x1b[44mipt>", "<script>", "&lt;scr<span class=\"b-blue\">ipt&gt;</span>"),
            (
                &long,
                &format!("{cut} ... 8,412 bytes more"),
                &format!("{cut} <span class=\"note\">... 8,412 bytes more</span>"),
            ),
        ];
        for (bytes, wanted, wanted_html) in table {
            let line = line(bytes);
            assert_eq!((text(&line).as_str(), html(&line).as_str()), (*wanted, *wanted_html));
        }
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    proptest! {
        #[test]
        fn html_has_no_element_but_ours(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'<'), Just(b'"'), Just(27u8), Just(b'&')], 0..300)) {
            let line = line(&bytes);
            let html = html(&line);
            // The longest span of ours, and 5 bytes for a character.
            prop_assert!(html.len() <= 5 * 4 * bytes.len() + 80 * (SPANS_LIMIT + 1));
            let mut rest = html.as_str();
            let mut shown = String::new();
            while let Some(at) = rest.find('<') {
                shown.push_str(&rest[..at]);
                let end = rest[at..].find('>').map(|end| at + end + 1).unwrap();
                let element = &rest[at..end];
                let names = |c: char| c.is_ascii_lowercase() || c == '-' || c == ' ';
                let ours = element == "</span>"
                    || element.strip_prefix("<span class=\"").and_then(|rest| rest.strip_suffix("\">")).is_some_and(|class| class.chars().all(names));
                prop_assert!(ours, "{element}");
                rest = &rest[end..];
            }
            shown.push_str(rest);
            let shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            prop_assert_eq!(shown, text(&line));
        }
    }
}
