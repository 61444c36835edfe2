//! The upstream blocks of an nginx configuration, in one file or in pieces, and the places of their servers. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::ops::Range;

use super::tokens::{Token, TokenKind, line_end, tokens, value};

/// Starts the comment that names the host for which rollcall changed a line.
pub const MARK: &str = "# rollcall:";

/// nginx's default port.
const PORT: &str = "80";

/// Includes within includes; nginx has no limit, and a file may include itself.
const DEPTH: usize = 8;

/// One file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NginxFile {
    pub path: String,
    pub text: Vec<u8>,
}

/// The configured file first, and the files that its upstream blocks include.
#[derive(Clone, Debug, Default)]
pub struct NginxFiles {
    pub files: Vec<NginxFile>,
    /// The files of each `include`, by its pattern.
    pub included: BTreeMap<String, Vec<usize>>,
}

/// What the files say.
#[derive(Debug, Default)]
pub struct Sections {
    pub upstreams: Vec<Upstream>,
    /// Patterns of includes in upstream blocks whose files are not known yet.
    pub missing: BTreeSet<String>,
}

/// One upstream block.
#[derive(Debug)]
pub struct Upstream {
    pub name: String,
    pub servers: Vec<ServerStatement>,
}

/// One `server` statement of an upstream block, perhaps commented out.
#[derive(Debug)]
pub struct ServerStatement {
    pub file: usize,
    /// In the form of [`endpoint`].
    pub address: String,
    /// The word `server`, or the `#` in front of it.
    pub start: usize,
    /// The end of its last word.
    pub end: usize,
    /// The word `down`, if it is there.
    pub down: Option<Range<usize>>,
    pub backup: bool,
    pub commented: bool,
    /// Nothing but a comment shares its line.
    pub alone: bool,
    /// The end of its line, where a mark goes.
    pub mark_at: usize,
    /// The marks on its line.
    pub marks: Vec<CommentMark>,
    /// Other servers end on the same line, so that a mark may be theirs.
    pub shared: bool,
}

/// A comment of rollcall's.
#[derive(Clone, Debug, PartialEq)]
pub struct CommentMark {
    pub host: String,
    /// With the space in front of it.
    pub at: Range<usize>,
    /// The comment begins with it.
    pub first: bool,
}

impl ServerStatement {
    /// Out of use, by whomever.
    pub fn is_down(&self) -> bool {
        self.commented || self.down.is_some()
    }

    /// A server of the block, in use or not; a comment without our mark is only a comment.
    pub fn is_one(&self) -> bool {
        !self.commented || !self.marks.is_empty()
    }

    /// The mark for this server. The host may have had another name when it was written.
    pub fn mark(&self, host: &str) -> Option<&CommentMark> {
        match self.shared {
            true => self.marks.iter().find(|mark| mark.host == host),
            false => self.marks.first(),
        }
    }
}

/// An address in one form: nginx takes the port 80 when there is none, and names in any case.
pub fn endpoint(written: &str) -> String {
    let lower = written.to_ascii_lowercase();
    if lower.starts_with("unix:") {
        return format!("unix:{}", &written["unix:".len()..]);
    }
    let (host, port) = match lower.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (lower.as_str(), PORT),
    };
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inside.and_then(|host| host.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]:{port}"),
        None => format!("{host}:{port}"),
    }
}

/// The upstream blocks of all files.
pub fn sections(sources: &NginxFiles) -> Sections {
    let mut walk = Walk { sources, found: Sections::default(), open: Vec::new() };
    walk.file(0, BlockContext::Outside);
    let mut found = walk.found;
    let mut on_line: BTreeMap<(usize, usize), BTreeSet<usize>> = BTreeMap::new();
    for server in found.upstreams.iter().flat_map(|upstream| &upstream.servers) {
        on_line.entry((server.file, server.mark_at)).or_default().insert(server.start);
    }
    for server in found.upstreams.iter_mut().flat_map(|upstream| &mut upstream.servers) {
        server.shared = on_line.get(&(server.file, server.mark_at)).is_some_and(|starts| starts.len() > 1);
    }
    found
}

/// True for a main configuration: nginx demands an `events` block, and only there.
pub fn is_main(text: &[u8]) -> bool {
    let tokens = tokens(text);
    let words = |kinds: &[Token]| matches!(kinds, [word, open] if open.kind == TokenKind::Open && &text[word.at.clone()] == b"events");
    tokens.windows(2).any(words)
}

#[derive(Clone, Copy, PartialEq)]
enum BlockContext {
    /// The top of a file, `http` or `stream`.
    Outside,
    /// By its number.
    Upstream(usize),
    Other,
}

struct Walk<'a> {
    sources: &'a NginxFiles,
    found: Sections,
    /// The files that include the present one, and itself.
    open: Vec<usize>,
}

/// One file, cut into tokens.
struct File<'a> {
    number: usize,
    text: &'a [u8],
    tokens: Vec<Token>,
}

impl Walk<'_> {
    fn file(&mut self, number: usize, place: BlockContext) {
        let Some(source) = self.sources.files.get(number) else { return };
        if self.open.contains(&number) || self.open.len() >= DEPTH {
            return;
        }
        self.open.push(number);
        let file = File { number, text: &source.text, tokens: tokens(&source.text) };
        let mut places = vec![place];
        let mut words: Vec<Range<usize>> = Vec::new();
        for token in &file.tokens {
            let place = (places.last().copied().unwrap_or(BlockContext::Other), places.len() == 1);
            match token.kind {
                TokenKind::Word => words.push(token.at.clone()),
                TokenKind::Comment if words.is_empty() => self.comment(&file, place, &token.at),
                TokenKind::Comment | TokenKind::Program => {}
                TokenKind::End => {
                    self.statement(&file, place, &words, token.at.start);
                    words.clear();
                }
                TokenKind::Open => {
                    places.push(self.block(&file, place.0, &words));
                    words.clear();
                }
                TokenKind::Close => {
                    places.pop();
                    words.clear();
                }
            }
        }
        self.open.pop();
    }

    fn block(&mut self, file: &File<'_>, place: BlockContext, words: &[Range<usize>]) -> BlockContext {
        let name = words.first().map(|word| file.word(word));
        match (place, name.as_deref()) {
            (BlockContext::Outside, Some("http" | "stream")) => BlockContext::Outside,
            (BlockContext::Outside, Some("upstream")) => {
                self.upstream(words.get(1).map_or_else(String::new, |word| file.word(word)))
            }
            _ => BlockContext::Other,
        }
    }

    fn upstream(&mut self, name: String) -> BlockContext {
        self.found.upstreams.push(Upstream { name, servers: Vec::new() });
        BlockContext::Upstream(self.found.upstreams.len() - 1)
    }

    fn statement(
        &mut self,
        file: &File<'_>,
        (place, is_top): (BlockContext, bool),
        words: &[Range<usize>],
        end: usize,
    ) {
        let texts: Vec<String> = words.iter().take(2).map(|word| file.word(word)).collect();
        match (&texts.iter().map(String::as_str).collect::<Vec<_>>()[..], place) {
            (["server", _], BlockContext::Upstream(upstream)) => self.server(file, upstream, words, end),
            // Such a statement is at the top of a file only if an upstream block includes the file.
            (["server", _], BlockContext::Outside) if is_top => {
                let upstream = self.piece(file);
                self.server(file, upstream, words, end);
            }
            (["include", pattern], BlockContext::Upstream(_)) => match self.sources.included.get(*pattern) {
                Some(files) => files.iter().for_each(|number| self.file(*number, place)),
                None => _ = self.found.missing.insert(pattern.to_string()),
            },
            _ => {}
        }
    }

    fn server(&mut self, file: &File<'_>, upstream: usize, words: &[Range<usize>], end: usize) {
        let server = file.server(words, end);
        if let (Some(server), Some(upstream)) = (server, self.found.upstreams.get_mut(upstream)) {
            upstream.servers.push(server);
        }
    }

    /// The servers of a file that an upstream block includes, under the name of the file.
    fn piece(&mut self, file: &File<'_>) -> usize {
        let path = &self.sources.files[file.number].path;
        if let Some(known) = self.found.upstreams.iter().position(|upstream| upstream.name == *path) {
            return known;
        }
        self.found.upstreams.push(Upstream { name: path.clone(), servers: Vec::new() });
        self.found.upstreams.len() - 1
    }

    /// A comment that may be a server: alone on its line, and nothing else in it.
    fn comment(&mut self, file: &File<'_>, (place, is_top): (BlockContext, bool), at: &Range<usize>) {
        let is_alone = file.is_first_on_line(at.start);
        let Some(server) = is_alone.then(|| file.commented(at)).flatten() else { return };
        let is_ours = !server.marks.is_empty() && file.text[at.start + 1..].starts_with(b"server");
        let upstream = match place {
            BlockContext::Upstream(upstream) => upstream,
            BlockContext::Outside if is_top && is_ours => self.piece(file),
            _ => return,
        };
        if let Some(upstream) = self.found.upstreams.get_mut(upstream) {
            upstream.servers.push(server);
        }
    }
}

impl File<'_> {
    fn word(&self, at: &Range<usize>) -> String {
        String::from_utf8_lossy(&value(&self.text[at.clone()])).into_owned()
    }

    fn is_first_on_line(&self, at: usize) -> bool {
        let before = &self.text[..at];
        let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        line.iter().all(u8::is_ascii_whitespace)
    }

    /// The statement with these words whose `;` is at `end`.
    fn server(&self, words: &[Range<usize>], end: usize) -> Option<ServerStatement> {
        let (first, last) = (words.first()?, words.last()?);
        let mark_at = self.end_of_line(end);
        let comment = self.last_before(mark_at).filter(|token| token.kind == TokenKind::Comment);
        let comment = comment.filter(|token| token.at.start > end).map(|token| token.at.clone());
        let after = end + 1..comment.as_ref().map_or(mark_at, |comment| comment.start);
        let is_one_line = !self.text[first.start..end].contains(&b'\n');
        let is_space = self.text[after].iter().all(u8::is_ascii_whitespace);
        Some(ServerStatement {
            alone: is_one_line && is_space && self.is_first_on_line(first.start),
            mark_at,
            marks: comment.map_or_else(Vec::new, |comment| marks(self.text, comment)),
            ..self.parameters(words, first.start, last.end)?
        })
    }

    fn commented(&self, at: &Range<usize>) -> Option<ServerStatement> {
        let inside = at.start + 1;
        let place = |token: &Token| token.at.start + inside..token.at.end + inside;
        let parts = tokens(&self.text[inside..at.end]);
        let words: Vec<Range<usize>> =
            parts.iter().take_while(|token| token.kind == TokenKind::Word).map(place).collect();
        let rest: Vec<TokenKind> = parts.iter().skip(words.len()).map(|token| token.kind).collect();
        if !matches!(rest[..], [TokenKind::End] | [TokenKind::End, TokenKind::Comment])
            || self.word(words.first()?) != "server"
        {
            return None;
        }
        let comment = parts.last().filter(|token| token.kind == TokenKind::Comment);
        Some(ServerStatement {
            commented: true,
            alone: true,
            mark_at: at.end,
            marks: comment.map_or_else(Vec::new, |token| marks(self.text, place(token))),
            ..self.parameters(&words, at.start, words.last()?.end)?
        })
    }

    fn parameters(&self, words: &[Range<usize>], start: usize, end: usize) -> Option<ServerStatement> {
        let is = |word: &&Range<usize>, text: &str| self.word(word) == text;
        Some(ServerStatement {
            file: self.number,
            address: endpoint(&self.word(words.get(1)?)),
            start,
            end,
            down: words.iter().skip(2).rfind(|word| is(word, "down")).cloned(),
            backup: words.iter().skip(2).any(|word| is(&word, "backup")),
            commented: false,
            alone: false,
            mark_at: end,
            marks: Vec::new(),
            shared: false,
        })
    }

    /// The last token that starts before this place.
    fn last_before(&self, at: usize) -> Option<&Token> {
        let next = self.tokens.partition_point(|token| token.at.start < at);
        self.tokens.get(next.checked_sub(1)?)
    }

    /// The end of the line that has this place, where a comment can be added: not within a word or a program.
    fn end_of_line(&self, from: usize) -> usize {
        let mut at = line_end(self.text, from);
        loop {
            match self.last_before(at) {
                Some(token) if token.at.end > at => at = line_end(self.text, token.at.end),
                _ => return at,
            }
        }
    }
}

/// The marks in a comment.
fn marks(text: &[u8], comment: Range<usize>) -> Vec<CommentMark> {
    let mut marks = Vec::new();
    let mut at = comment.start;
    while let Some(found) = text[at..comment.end].windows(MARK.len()).position(|part| part == MARK.as_bytes())
    {
        let start = at + found;
        let host =
            text[start + MARK.len()..comment.end].split(u8::is_ascii_whitespace).next().unwrap_or_default();
        at = start + MARK.len() + host.len();
        let space = start > 0 && text[start - 1] == b' ';
        let host = String::from_utf8_lossy(host).into_owned();
        marks.push(CommentMark { host, at: start - usize::from(space)..at, first: start == comment.start });
    }
    marks
}
