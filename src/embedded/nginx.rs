//! As much of nginx's configuration as the balancer understands: blocks, directives, and the servers
//! of an `upstream`. Complaints are worded as nginx words them.

use std::net::SocketAddr;

/// Largest configuration that is read, in bytes: an upstream block of some thousand servers.
pub(super) const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Blocks within blocks; nginx needs five, and a file of braces must not grow a stack.
const DEPTH: usize = 16;

/// Where a directive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DirectiveContext {
    Main,
    Http,
    Upstream,
    /// A block whose directives mean nothing to a balancer; they are not checked.
    Other,
}

const MAIN: [&str; 10] = [
    "user",
    "worker_processes",
    "worker_rlimit_nofile",
    "error_log",
    "pid",
    "daemon",
    "load_module",
    "events",
    "http",
    "upstream",
];

const UPSTREAM: [&str; 9] = [
    "server",
    "zone",
    "least_conn",
    "ip_hash",
    "hash",
    "random",
    "keepalive",
    "keepalive_timeout",
    "resolver",
];

const SERVER_FLAGS: [&str; 3] = ["down", "backup", "resolve"];

const SERVER_VALUES: [&str; 5] = ["weight=", "max_fails=", "fail_timeout=", "max_conns=", "slow_start="];

/// A word or a sign, and the line it stands in.
#[derive(Debug)]
enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// The servers of the first `upstream` block that are not `down`.
///
/// An error is nginx's complaint, as after `[emerg]`.
pub(super) fn servers(text: &str, file: &str) -> Result<Vec<SocketAddr>, String> {
    let mut reader =
        Reader { file, places: vec![DirectiveContext::Main], servers: Vec::new(), upstreams: 0, listed: 0 };
    let mut words: Vec<String> = Vec::new();
    let mut line = 1;
    for (at, token) in tokens(text).map_err(|line| format!("unexpected end of file in {file}:{line}"))? {
        line = at;
        match token {
            Token::Word(word) => words.push(word),
            Token::End => reader.directive(&std::mem::take(&mut words), at)?,
            Token::Open => reader.open(&std::mem::take(&mut words), at)?,
            Token::Close if !words.is_empty() => return Err(format!("unexpected \"}}\" in {file}:{at}")),
            Token::Close => reader.close(at)?,
        }
    }
    match (reader.places.len(), words.is_empty()) {
        (1, true) if reader.upstreams == 0 => Err(format!("no \"upstream\" section in {file}:{line}")),
        (1, true) => Ok(reader.servers),
        (1, false) => Err(format!("unexpected end of file, expecting \";\" or \"}}\" in {file}:{line}")),
        _ => Err(format!("unexpected end of file, expecting \"}}\" in {file}:{line}")),
    }
}

struct Reader<'a> {
    file: &'a str,
    places: Vec<DirectiveContext>,
    servers: Vec<SocketAddr>,
    upstreams: usize,
    /// Servers of the present upstream, down or not.
    listed: usize,
}

impl Reader<'_> {
    fn place(&self) -> DirectiveContext {
        self.places.last().copied().unwrap_or(DirectiveContext::Main)
    }

    fn known(&self, word: &str, line: usize) -> Result<(), String> {
        let known = match self.place() {
            DirectiveContext::Main => MAIN.contains(&word),
            DirectiveContext::Upstream => UPSTREAM.contains(&word),
            DirectiveContext::Http | DirectiveContext::Other => true,
        };
        if known { Ok(()) } else { Err(format!("unknown directive \"{word}\" in {}:{line}", self.file)) }
    }

    fn directive(&mut self, words: &[String], line: usize) -> Result<(), String> {
        let Some((name, values)) = words.split_first() else {
            return Err(format!("unexpected \";\" in {}:{line}", self.file));
        };
        self.known(name, line)?;
        match name.as_str() {
            "events" | "http" | "upstream" if self.place() != DirectiveContext::Other => {
                Err(format!("directive \"{name}\" has no opening \"{{\" in {}:{line}", self.file))
            }
            "server" if self.place() == DirectiveContext::Upstream => self.server(values, line),
            _ => Ok(()),
        }
    }

    fn server(&mut self, values: &[String], line: usize) -> Result<(), String> {
        let Some((address, parameters)) = values.split_first() else {
            let file = self.file;
            return Err(format!("invalid number of arguments in \"server\" directive in {file}:{line}"));
        };
        let known = |word: &&String| {
            SERVER_FLAGS.contains(&word.as_str()) || SERVER_VALUES.iter().any(|name| word.starts_with(name))
        };
        if let Some(word) = parameters.iter().find(|word| !known(word)) {
            return Err(format!("invalid parameter \"{word}\" in {}:{line}", self.file));
        }
        let parsed = address
            .parse()
            .map_err(|_| format!("host not found in upstream \"{address}\" in {}:{line}", self.file))?;
        self.listed += 1;
        if self.upstreams == 1 && !parameters.iter().any(|word| word == "down") {
            self.servers.push(parsed);
        }
        Ok(())
    }

    fn open(&mut self, words: &[String], line: usize) -> Result<(), String> {
        let Some(name) = words.first() else {
            return Err(format!("unexpected \"{{\" in {}:{line}", self.file));
        };
        self.known(name, line)?;
        if self.places.len() > DEPTH {
            return Err(format!("too many blocks within blocks in {}:{line}", self.file));
        }
        let next = match (self.place(), name.as_str()) {
            (DirectiveContext::Main, "http") => DirectiveContext::Http,
            (DirectiveContext::Main | DirectiveContext::Http, "upstream") if words.len() == 2 => {
                DirectiveContext::Upstream
            }
            (DirectiveContext::Main | DirectiveContext::Http, "upstream") => {
                let file = self.file;
                return Err(format!(
                    "invalid number of arguments in \"upstream\" directive in {file}:{line}"
                ));
            }
            (DirectiveContext::Main, "events") | (DirectiveContext::Http | DirectiveContext::Other, _) => {
                DirectiveContext::Other
            }
            (DirectiveContext::Main | DirectiveContext::Upstream, _) => {
                return Err(format!(
                    "directive \"{name}\" is not terminated by \";\" in {}:{line}",
                    self.file
                ));
            }
        };
        if next == DirectiveContext::Upstream {
            self.upstreams += 1;
            self.listed = 0;
        }
        self.places.push(next);
        Ok(())
    }

    fn close(&mut self, line: usize) -> Result<(), String> {
        let file = self.file;
        if self.places.len() == 1 {
            return Err(format!("unexpected \"}}\" in {file}:{line}"));
        }
        if self.place() == DirectiveContext::Upstream && self.listed == 0 {
            return Err(format!("no servers are inside upstream in {file}:{line}"));
        }
        self.places.pop();
        Ok(())
    }
}

/// Cuts the text into tokens with their lines; an error is the line of a quote that is never closed.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, usize> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            ';' => tokens.push((line, Token::End)),
            '{' => tokens.push((line, Token::Open)),
            '}' => tokens.push((line, Token::Close)),
            quote @ ('"' | '\'') => {
                let start = line;
                let mut word = String::new();
                loop {
                    match chars.next() {
                        None => return Err(start),
                        Some(c) if c == quote => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            word.push(c);
                        }
                    }
                }
                tokens.push((start, Token::Word(word)));
            }
            first => {
                let mut word = String::from(first);
                let ends = |c: &char| c.is_whitespace() || matches!(c, ';' | '{' | '}');
                while let Some(c) = chars.next_if(|c| !ends(c)) {
                    word.push(c);
                }
                tokens.push((line, Token::Word(word)));
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_are_down_or_commented_out_are_left_out() {
        let text = "worker_processes 1;\nevents { }\nhttp {\n  log_format main '$x; {';\n  upstream app { # the tier\n    \
            server 127.0.0.1:1;\n    server 127.0.0.1:2 down;\n    #server 127.0.0.1:3;\n    \
            server 127.0.0.1:4 weight=2;\n  }\n  server { listen 80; location / { proxy_pass http://app; } }\n}\n";
        let wanted: Vec<SocketAddr> =
            ["127.0.0.1:1", "127.0.0.1:4"].iter().map(|address| address.parse().unwrap()).collect();
        assert_eq!(servers(text, "f"), Ok(wanted));
    }

    #[test]
    fn complaints_are_nginxs() {
        let table = [
            ("upstream a { server 127.0.0.1:1; ", "unexpected end of file, expecting \"}\" in f:1"),
            ("upstream a { server 127.0.0.1:1; }\n}", "unexpected \"}\" in f:2"),
            ("upstream a { server 127.0.0.1:1 }", "unexpected \"}\" in f:1"),
            ("upstream a { server 127.0.0.1:1\nserver 127.0.0.1:2; }", "invalid parameter \"server\" in f:2"),
            ("upstream a { sever 127.0.0.1:1; }", "unknown directive \"sever\" in f:1"),
            ("htp { }", "unknown directive \"htp\" in f:1"),
            ("upstream a { server 127.0.0.1:1 dwon; }", "invalid parameter \"dwon\" in f:1"),
            ("upstream a { #server 127.0.0.1:1;\n}", "no servers are inside upstream in f:2"),
            ("events { }", "no \"upstream\" section in f:1"),
            ("user 'www;\n", "unexpected end of file in f:1"),
            ("user www", "unexpected end of file, expecting \";\" or \"}\" in f:1"),
        ];
        for (text, wanted) in table {
            assert_eq!(servers(text, "f"), Err(wanted.to_string()), "{text}");
        }
        assert!(servers(&"http {".repeat(100), "f").unwrap_err().starts_with("too many blocks"));
    }
}
