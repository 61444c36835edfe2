//! Edits of files by the line. Bytes in, bytes out: all other lines stay unchanged, in any encoding.

use regex::bytes::Regex;

use super::body::{Block, Line, LineState};

/// One line of a file, and its ending.
struct Row<'a> {
    text: &'a [u8],
    /// Its `\n` or `\r\n`; empty for a last line without one.
    end: &'a [u8],
}

fn rows(content: &[u8]) -> Vec<Row<'_>> {
    let row = |piece: &'_ [u8]| -> usize {
        match piece {
            [.., b'\r', b'\n'] => piece.len() - 2,
            [.., b'\n'] => piece.len() - 1,
            _ => piece.len(),
        }
    };
    let pieces = content.split_inclusive(|byte| *byte == b'\n');
    pieces.map(|piece| piece.split_at(row(piece))).map(|(text, end)| Row { text, end }).collect()
}

/// The line ending of this file: that of its first line.
fn ending(rows: &[Row<'_>]) -> &'static [u8] {
    if rows.first().is_some_and(|row| row.end == b"\r\n") { b"\r\n" } else { b"\n" }
}

/// The new content of a file.
#[derive(Default)]
struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    fn keep(&mut self, row: &Row<'_>) {
        self.bytes.extend_from_slice(row.text);
        self.bytes.extend_from_slice(row.end);
    }

    /// Adds a line. It starts on a line of its own, and gets an ending.
    fn add(&mut self, text: &[u8], end: &[u8]) {
        if self.bytes.last().is_some_and(|byte| *byte != b'\n') {
            self.bytes.extend_from_slice(end);
        }
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(end);
    }
}

fn pattern(key: &str, text: Option<&str>) -> Result<Option<Regex>, String> {
    let regex = text.map(Regex::new).transpose();
    regex.map_err(|_| format!("`{key}` is no pattern: {}", text.unwrap_or_default()))
}

/// The content of a file with the expected line. The error says why that cannot be.
pub fn line(content: &[u8], line: &Line) -> Result<Vec<u8>, String> {
    let text = line.line.as_deref().unwrap_or_default();
    if text.contains(['\n', '\r']) {
        return Err("`line` holds a line break; use `block` for several lines".into());
    }
    let matches = pattern("matches", line.matches.as_deref())?;
    let rows = rows(content);
    match line.state {
        LineState::Present => {
            present(&rows, text, matches.as_ref(), pattern("after", line.after.as_deref())?)
        }
        LineState::Absent => {
            let mut draft = Draft::default();
            let is_meant = |row: &&Row<'_>| !matches_or_is(row.text, matches.as_ref(), text);
            rows.iter().filter(is_meant).for_each(|row| draft.keep(row));
            Ok(draft.bytes)
        }
        LineState::Commented | LineState::Uncommented => comment(&rows, line, matches.as_ref()),
    }
}

fn matches_or_is(row: &[u8], matches: Option<&Regex>, text: &str) -> bool {
    matches.map_or(row == text.as_bytes(), |regex| regex.is_match(row))
}

/// The last line that matches becomes the line. If none matches, the line is added, unless it exists.
fn present(
    rows: &[Row<'_>],
    text: &str,
    matches: Option<&Regex>,
    after: Option<Regex>,
) -> Result<Vec<u8>, String> {
    let last = rows.iter().rposition(|row| matches_or_is(row.text, matches, text));
    let mut draft = Draft::default();
    if let Some(last) = last {
        for (at, row) in rows.iter().enumerate() {
            let text = if at == last { text.as_bytes() } else { row.text };
            draft.keep(&Row { text, end: row.end });
        }
        return Ok(draft.bytes);
    }
    let is_there = rows.iter().any(|row| row.text == text.as_bytes());
    let place = place(rows, after.as_ref());
    for (at, row) in rows.iter().enumerate() {
        if at == place && !is_there {
            draft.add(text.as_bytes(), ending(rows));
        }
        draft.keep(row);
    }
    if place == rows.len() && !is_there {
        draft.add(text.as_bytes(), ending(rows));
    }
    Ok(draft.bytes)
}

/// The row before which a new line is inserted.
fn place(rows: &[Row<'_>], after: Option<&Regex>) -> usize {
    let found = after.and_then(|regex| rows.iter().rposition(|row| regex.is_match(row.text)));
    found.map_or(rows.len(), |at| at + 1)
}

/// Puts a comment sign before the selected lines, or removes it. Lines are selected without their comment sign.
fn comment(rows: &[Row<'_>], line: &Line, matches: Option<&Regex>) -> Result<Vec<u8>, String> {
    let sign = line.comment.as_bytes();
    if sign.trim_ascii().is_empty() {
        return Err("`comment` is empty; write what comments begin with".into());
    }
    let wanted = line.line.as_deref().unwrap_or_default().trim();
    let is_meant =
        |bare: &[u8]| matches.map_or(bare.trim_ascii() == wanted.as_bytes(), |regex| regex.is_match(bare));
    let (mut draft, mut found) = (Draft::default(), false);
    for row in rows {
        let bare = uncommented(row.text, sign.trim_ascii());
        let is_one = is_meant(bare.as_deref().unwrap_or(row.text));
        found |= is_one;
        let text = match (line.state, bare) {
            (LineState::Uncommented, Some(bare)) if is_one => bare,
            (LineState::Commented, None) if is_one => commented(row.text, sign),
            _ => row.text.to_vec(),
        };
        draft.keep(&Row { text: &text, end: row.end });
    }
    let which = line.matches.as_deref().unwrap_or(wanted);
    if found { Ok(draft.bytes) } else { Err(format!("no line of it is meant by `{which}`")) }
}

fn indent(text: &[u8]) -> usize {
    text.len() - text.trim_ascii_start().len()
}

fn commented(text: &[u8], sign: &[u8]) -> Vec<u8> {
    let (space, rest) = text.split_at(indent(text));
    [space, sign, rest].concat()
}

/// The line without comment signs, however many; `None` when it has none. One space behind the sign is removed, too.
fn uncommented(text: &[u8], sign: &[u8]) -> Option<Vec<u8>> {
    let (space, mut rest) = text.split_at(indent(text));
    if !rest.starts_with(sign) {
        return None;
    }
    while let Some(less) = rest.strip_prefix(sign) {
        rest = match less {
            [b' ', next, ..] if !next.is_ascii_whitespace() => &less[1..],
            _ => less,
        };
    }
    Some([space, rest].concat())
}

/// The content of a file with the expected block. The error says why that cannot be.
pub fn block(content: &[u8], block: &Block) -> Result<Vec<u8>, String> {
    let sign = block.comment.trim();
    let [begin, end] =
        ["BEGIN", "END"].map(|word| format!("{sign} {word} {}", block.marker).trim().to_string());
    if block.marker.contains(['\n', '\r'])
        || block.text.lines().any(|line| [&begin, &end].contains(&&line.trim().into()))
    {
        return Err("`text` and `marker` cannot hold the markers of the block".into());
    }
    let rows = rows(content);
    let there = there(&rows, &begin, &end)?;
    let after = pattern("after", block.after.as_deref())?;
    let (from, to) = there.unwrap_or_else(|| {
        let place = place(&rows, after.as_ref());
        (place, place)
    });
    let eol = ending(&rows);
    let mut draft = Draft::default();
    rows[..from].iter().for_each(|row| draft.keep(row));
    if block.present {
        let lines = block.text.trim_end_matches(['\n', '\r']).lines();
        let lines = lines.filter(|_| !block.text.trim_end_matches(['\n', '\r']).is_empty());
        [begin.as_str()]
            .into_iter()
            .chain(lines)
            .chain([end.as_str()])
            .for_each(|line| draft.add(line.as_bytes(), eol));
    }
    rows[to..].iter().for_each(|row| draft.keep(row));
    Ok(draft.bytes)
}

/// The rows of the block with its markers, as a range.
fn there(rows: &[Row<'_>], begin: &str, end: &str) -> Result<Option<(usize, usize)>, String> {
    let all = |marker: &str| -> Vec<usize> {
        let is_marker = |row: &Row<'_>| row.text.trim_ascii() == marker.as_bytes();
        (0..rows.len()).filter(|at| is_marker(&rows[*at])).collect()
    };
    match (&all(begin)[..], &all(end)[..]) {
        ([], []) => Ok(None),
        ([from], [to]) if from < to => Ok(Some((*from, *to + 1))),
        _ => Err(format!(
            "`{begin}` and `{end}` must each be there once, in this order; correct the file by hand"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_line(state: LineState, text: Option<&str>, matches: Option<&str>) -> Line {
        Line {
            path: "f".into(),
            line: text.map(String::from),
            matches: matches.map(String::from),
            state,
            after: None,
            comment: "#".into(),
            create: false,
            backup: false,
            validate: None,
        }
    }

    /// Each content results in the expected one; a second edit changes nothing.
    #[track_caller]
    fn holds(wanted: &Line, table: &[(&[u8], &[u8])]) {
        for (before, after) in table {
            let edited = line(before, wanted).unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(text(&edited), text(after), "{:?}", text(before));
            assert_eq!(line(&edited, wanted).unwrap(), edited, "a second time");
        }
    }

    #[test]
    fn a_line_is_there_once_it_was_wanted() {
        let plain = a_line(LineState::Present, Some("a=1"), None);
        holds(
            &plain,
            &[
                (b"", b"a=1\n"),
                (b"a=1", b"a=1"),
                (b"b\na=1\nc\n", b"b\na=1\nc\n"),
                (b"b", b"b\na=1\n"),
                (b"b\r\nc\r\n", b"b\r\nc\r\na=1\r\n"),
                (b" a=1\n", b" a=1\na=1\n"),
                (b"\xff\xfe\n", b"\xff\xfe\na=1\n"),
            ],
        );
        let by_pattern = a_line(LineState::Present, Some("a=1"), Some("^a="));
        holds(
            &by_pattern,
            &[
                (b"a=0\nb\na=2\nc", b"a=0\nb\na=1\nc"),
                (b"b\n", b"b\na=1\n"),
                (b"a=9", b"a=1"),
                (b"a=9\r\n", b"a=1\r\n"),
            ],
        );
        let there = a_line(LineState::Present, Some("listen 80;"), Some("^listen 8080"));
        holds(&there, &[(b"listen 80;\nx\n", b"listen 80;\nx\n")]);
        let after = Line { after: Some("^\\[a\\]".into()), ..plain };
        holds(
            &after,
            &[
                (b"[a]\nx\n[b]\n", b"[a]\na=1\nx\n[b]\n"),
                (b"[a]", b"[a]\na=1\n"),
                (b"[b]\n", b"[b]\na=1\n"),
                (b"[a]\n[a]\ny\n", b"[a]\n[a]\na=1\ny\n"),
            ],
        );
    }

    #[test]
    fn lines_are_removed() {
        let plain = a_line(LineState::Absent, Some("a"), None);
        holds(&plain, &[(b"a\nb\na\n", b"b\n"), (b"b\na", b"b\n"), (b"", b""), (b"a \r\na\r\n", b"a \r\n")]);
        holds(&a_line(LineState::Absent, None, Some("^#")), &[(b"#a\n b\n#c", b" b\n")]);
    }

    #[test]
    fn servers_of_nginx_are_commented_and_back() {
        let off = a_line(LineState::Commented, None, Some(r"^\s*server web1\b"));
        holds(
            &off,
            &[
                (b"  server web1;\n  server web10;\n", b"  #server web1;\n  server web10;\n"),
                (b"\tserver web1:80;\r\n", b"\t#server web1:80;\r\n"),
                (b"# server web1;", b"# server web1;"),
            ],
        );
        let on = Line { state: LineState::Uncommented, ..off };
        holds(
            &on,
            &[
                (b"  #server web1;\n  #server web2;\n", b"  server web1;\n  #server web2;\n"),
                (b"#    server web1;\n", b"    server web1;\n"),
                (b"## server web1;\xff", b"server web1;\xff"),
                (b"server web1;", b"server web1;"),
            ],
        );
        let why = line(b"server web2;\n", &on).unwrap_err();
        assert_eq!(why, r"no line of it is meant by `^\s*server web1\b`");
        let by_line = a_line(LineState::Commented, Some("server web1;"), None);
        let slashes = Line { comment: "// ".into(), ..by_line };
        holds(&slashes, &[(b"\tserver web1;\n", b"\t// server web1;\n")]);
        holds(
            &Line { state: LineState::Uncommented, ..slashes },
            &[(b"\t// server web1;\n", b"\tserver web1;\n")],
        );
    }

    #[test]
    fn what_is_no_line_is_refused() {
        assert!(
            line(b"", &a_line(LineState::Present, Some("a\nb"), None)).unwrap_err().contains("use `block`")
        );
        assert_eq!(
            line(b"", &a_line(LineState::Absent, None, Some("("))).unwrap_err(),
            "`matches` is no pattern: ("
        );
    }

    #[test]
    fn a_block_stands_between_its_markers() {
        let wanted = Block {
            path: "f".into(),
            text: "x\ny\n".into(),
            marker: "ours".into(),
            present: true,
            after: None,
            comment: "#".into(),
            create: false,
            backup: false,
            validate: None,
        };
        let table: [(&[u8], &[u8]); 5] = [
            (b"", b"# BEGIN ours\nx\ny\n# END ours\n"),
            (b"a", b"a\n# BEGIN ours\nx\ny\n# END ours\n"),
            (b"a\r\n", b"a\r\n# BEGIN ours\r\nx\r\ny\r\n# END ours\r\n"),
            (b"a\n# BEGIN ours\nold\n# END ours\nb", b"a\n# BEGIN ours\nx\ny\n# END ours\nb"),
            (
                b"# BEGIN theirs\n# END theirs\n",
                b"# BEGIN theirs\n# END theirs\n# BEGIN ours\nx\ny\n# END ours\n",
            ),
        ];
        for (before, after) in table {
            let edited = block(before, &wanted).unwrap();
            assert_eq!(String::from_utf8_lossy(&edited), String::from_utf8_lossy(after));
            assert_eq!(block(&edited, &wanted).unwrap(), edited, "a second time");
        }
        let after = Block { after: Some("^a".into()), text: String::new(), ..wanted.clone() };
        assert_eq!(block(b"a\nb\n", &after).unwrap(), b"a\n# BEGIN ours\n# END ours\nb\n");
        let gone = Block { present: false, ..wanted.clone() };
        assert_eq!(block(b"a\n# BEGIN ours\nold\n# END ours\nb", &gone).unwrap(), b"a\nb");
        assert_eq!(block(b"a", &gone).unwrap(), b"a");
        for broken in [
            &b"# BEGIN ours\n"[..],
            b"# END ours\n# BEGIN ours\n",
            b"# BEGIN ours\n# BEGIN ours\n# END ours\n",
        ] {
            assert!(block(broken, &wanted).unwrap_err().ends_with("correct the file by hand"));
        }
        assert!(block(b"", &Block { text: "# END ours".into(), ..wanted }).is_err());
    }
}
