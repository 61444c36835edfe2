//! Lines with hostile output, as all screens show them.

use proptest::prelude::*;

use super::*;
use crate::domain::base::style::Color;

fn render(bytes: &[u8]) -> RenderedLine {
    LineRenderer::default().line(bytes)
}

fn text(bytes: &[u8]) -> String {
    render(bytes).text()
}

#[test]
fn nothing_that_a_host_prints_steers_a_screen() {
    let table: &[(&[u8], &str)] = &[
        (b"plain\ttext", "plain\ttext"),
        (b"", ""),
        (b"<script>alert(1)</script> & \"'", "<script>alert(1)</script> & \"'"),
        (b"<scr\x1b[31mipt>", "<script>"),
        // Titles, the clipboard, links, notifications, and commands of shells.
        (b"a\x1b]0;title\x07b\x1b]2;t\x1b\\c\x1b]7;file://x\x07d", "abcd"),
        (b"a\x1b]52;c;cm0gLXJmIC8K\x07b\x1b]9;hi\x07c\x1b]133;A\x07d\x1b]777;notify;x\x07e", "abcde"),
        (b"\x1b]8;;https://evil.example/\x1b\\link\x1b]8;;\x1b\\!", "link!"),
        (b"a\x1bP1$tx\x1b\\b\x1b_apc\x1b\\c\x1b^pm\x1b\\d\x1bXsos\x1b\\e", "abcde"),
        // Without an end.
        (b"a\x1b]0;never ends", "a"),
        (b"a\x1b[31", "a"),
        (b"a\x1bP1", "a"),
        (b"a\x1b", "a"),
        (b"a\x1b[99999999999999999999mb", "ab"),
        (b"a\x1b[1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1mb", "ab"),
        // The cursor does not move, and nothing is erased.
        (b"danger\x1b[2K\x1b[1A\x1b[100Dok\x1b[2J\x1b[Hx\x1bc", "dangerokx"),
        (b"\x1b[?1049h\x1b[?2004h\x1b[6n\x1b[5i", ""),
        (b"abc\x08\x08x", "abc\\x08\\x08x"),
        (b"nul\0 bell\x07 del\x7f", "nul\\x00 bell\\x07 del\\x7f"),
        // Control characters of eight bits, as characters and as bytes.
        ("\u{9b}31m\u{85}\u{90}".as_bytes(), "<9B>31m<85><90>"),
        (b"\x9b31m", "\\x9b31m"),
        // No UTF-8: too long, half of a pair, beyond the last character, cut off.
        (
            b"\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82",
            "\\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xe2\\x82",
        ),
        (b"\xe2\x1b[31m\x82\xac", "\\xe2\\x82\\xac"),
        (b"\x1b]0;\xff\xfe\x07x", "x"),
        ("caf\u{e9} \u{65e5}\u{672c} \u{1f600}".as_bytes(), "caf\u{e9} \u{65e5}\u{672c} \u{1f600}"),
        // Direction and invisible characters.
        ("a\u{202e}b\u{2066}c\u{200b}\u{feff}".as_bytes(), "a<U+202E>b<U+2066>c<U+200B><U+FEFF>"),
        ("\u{200c}\u{200d}\u{200e}\u{200f}\u{ad}".as_bytes(), "<U+200C><U+200D><U+200E><U+200F><U+00AD>"),
        ("x\u{e0041}\u{2028}".as_bytes(), "x<U+E0041><U+2028>"),
        // A blank text does not hide the one before it.
        (b"10%\r20%\r100%\r\n", "100%"),
        (b"secret\r      \r", "secret"),
        (b"secret\r\x1b[K", "secret"),
        (b"line\r\n", "line"),
        (b"## rollcall: released", "## rollcall: released"),
    ];
    for (bytes, wanted) in table {
        assert_eq!(text(bytes), *wanted, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn an_unfinished_sequence_costs_its_own_line_alone() {
    for unfinished in ["\x1b]0;", "\x1b[31", "\x1bP", "\x1b_", "\x1b"] {
        let mut renderer = LineRenderer::default();
        renderer.line(unfinished.as_bytes());
        assert_eq!(renderer.line(b"next").text(), "next");
    }
}

#[test]
fn updates_of_a_line_are_counted() {
    for (bytes, wanted) in [(&b"1\r2\r3"[..], 2), (b"1\r\r\r2", 1), (b"a\r\n", 0), (b"a\r  \r", 1)] {
        assert_eq!(render(bytes).updates, wanted, "{bytes:?}");
    }
}

#[test]
fn styles_are_kept_and_carried_to_the_next_line() {
    let red = Style { color: Color::new(1), ..Style::default() };
    let mut renderer = LineRenderer::default();
    let first = renderer.line(b"a\x1b[31mb");
    assert_eq!(first.spans.iter().map(|span| span.style).collect::<Vec<_>>(), [Style::default(), red]);
    assert_eq!(renderer.line(b"c").spans[0].style, red);
    assert_eq!(renderer.line(b"d\x1b[0me").spans[1].style, Style::default());
    let style = |sequence: &str| render(format!("{sequence}x").as_bytes()).spans[0].style;
    let table = [
        (
            "\x1b[1;4;7;94m",
            Style { color: Color::new(12), bold: true, underline: true, reverse: true, ..Style::default() },
        ),
        ("\x1b[38;5;9m", Style { color: Color::new(9), ..Style::default() }),
        ("\x1b[31m\x1b[38;2;1;2;3m", Style::default()),
        ("\x1b[48:5:4m", Style { background: Color::new(4), ..Style::default() }),
        ("\x1b[38;5;200;1m", Style { bold: true, ..Style::default() }),
        ("\x1b[1m\x1b[22m\x1b[4m\x1b[24m\x1b[7m\x1b[27m", Style::default()),
        // Text that would not be seen.
        ("\x1b[31;41m", red),
        ("\x1b[8m", Style::default()),
        ("\x1b[>4;1m", Style::default()),
    ];
    for (sequence, wanted) in table {
        assert_eq!(style(sequence), wanted, "{sequence:?}");
    }
}

#[test]
fn one_line_has_bounds() {
    let styled: String = (0..100_000).map(|n| format!("\x1b[{}mx", 31 + n % 2)).collect();
    let line = render(styled.as_bytes());
    assert_eq!(line.spans.len(), SPANS_LIMIT);
    assert_eq!(line.spans[SPANS_LIMIT - 1].style, Style::default());
    assert_eq!((line.text().len(), line.more), (LINE_BYTES, 100_000 - LINE_BYTES as u64));
    let long = render(&vec![b'x'; 1_000_000]);
    assert_eq!((long.text().len(), long.more), (LINE_BYTES, 1_000_000 - LINE_BYTES as u64));
    let marks = format!("a{}b", "\u{301}".repeat(2000));
    assert_eq!(text(marks.as_bytes()).chars().count(), 2 + MARKS_LIMIT);
}

#[test]
fn sequences_are_printed_when_asked_for() {
    let mut renderer = LineRenderer::new(Sequences::Printed);
    let line = renderer.line(b"a\x1b]52;c;x\x07\x1b[31mb\xff\x9b");
    assert_eq!(line.text(), "aESC]52;c;x\\x07ESC[31mb\\xff\\x9b");
    assert!(line.spans.iter().all(|span| span.style == Style::default()));
}

#[test]
fn a_search_reads_the_text_without_sequences() {
    assert_eq!(stripped(b"er\x1b[31mr\x1b]0;x\x07or\xff"), "error\\xff");
}

fn output() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        "[ -~]{0,20}".prop_map(String::into_bytes),
        "\\PC{0,10}".prop_map(String::into_bytes),
        "\x1b(\\[[0-9;:?]{0,12}[@-~]?|\\][0-9];?[a-z]{0,5}(\x07|\x1b\\\\)?|[P_^X].{0,4})"
            .prop_map(String::into_bytes),
        Just(b"\r".to_vec()),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_output_is_bounded_and_nothing_of_it_is_a_control(bytes in output()) {
        for sequences in [Sequences::Dropped, Sequences::Printed] {
            let line = LineRenderer::new(sequences).line(&bytes);
            let text = line.text();
            prop_assert!(text.len() <= 4 * bytes.len() && text.len() <= LINE_BYTES);
            prop_assert!(line.spans.len() <= SPANS_LIMIT);
            prop_assert!(text.chars().all(|c| c == '\t' || (!c.is_control() && !is_hidden(c))), "{text:?}");
        }
    }

    #[test]
    fn text_without_sequences_comes_out_as_it_is(text in "[ -~\u{e9}\u{65e5}]{0,200}") {
        prop_assert_eq!(render(text.as_bytes()).text(), text.clone());
        prop_assert_eq!(stripped(text.as_bytes()), text);
    }

    #[test]
    fn sequences_between_its_characters_change_no_text(text in "[a-z<>&]{0,50}", code in 0u16..120) {
        let styled: String = text.chars().map(|c| format!("\x1b[{code}m{c}\x1b]0;x\x07")).collect();
        prop_assert_eq!(render(styled.as_bytes()).text(), text.clone());
        prop_assert_eq!(stripped(styled.as_bytes()), text);
    }
}
