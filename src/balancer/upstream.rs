//! Editing an nginx upstream block: a pure function from text to text. Servers are found by their exact
//! address, the rest of the file stays byte for byte, and every changed line gets a
//! mark with its host, so that only our own changes are ever undone.

use std::sync::LazyLock;

use regex::Regex;

use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::NginxStyle;
use crate::domain::inventory::rotation::{self, Floor, Rotation, View};
use crate::port::Member;

/// The direction of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Out,
    In,
}

/// The change to make for the members.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub style: NginxStyle,
    pub direction: Direction,
    /// How many servers must stay in every upstream from which one is taken.
    pub floor: Floor,
}

/// The result of an edit.
#[derive(Debug, PartialEq)]
pub struct Edited {
    pub text: String,
    /// Hosts that others took out: their lines are left unchanged. On the way in, a host without
    /// a line is one of them.
    pub foreign: Vec<HostName>,
    /// Hosts that an earlier run had taken out, and that are still out.
    pub already: Vec<HostName>,
}

/// The observed lines of one member: it may have several, in several upstreams, and old ones
/// in comments.
#[derive(Clone, Default)]
struct Seen {
    live: bool,
    ours: bool,
    down_by_others: bool,
}

/// `server ADDRESS PARAMETERS;TAIL`, perhaps commented out, alone on its line.
static SERVER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?P<indent>\s*)(?P<comment>#\s*)?server\s+(?P<address>[^\s;{}#]+)(?P<params>[^;{}#]*);(?P<tail>.*)$").ok()
});

const MARK: &str = " # rollcall:";

struct Server<'a> {
    indent: &'a str,
    comment: &'a str,
    address: &'a str,
    params: &'a str,
    tail: &'a str,
}

impl<'a> Server<'a> {
    fn parse(line: &'a str) -> Option<Server<'a>> {
        let captures = SERVER.as_ref()?.captures(line)?;
        let part = |name: &str| captures.name(name).map_or("", |part| part.as_str());
        Some(Server {
            indent: part("indent"),
            comment: part("comment"),
            address: part("address"),
            params: part("params"),
            tail: part("tail"),
        })
    }

    fn is_down(&self) -> bool {
        !self.comment.is_empty() || self.params.split_whitespace().any(|word| word == "down")
    }

    /// A line with a server, in use or not; a comment without our mark is not a server.
    fn is_one(&self) -> bool {
        self.comment.is_empty() || self.mark().is_some()
    }

    /// The host of our mark, if the line has one.
    fn mark(&self) -> Option<&'a str> {
        self.tail.rsplit_once(MARK).map(|(_, host)| host.trim())
    }

    fn out(&self, style: NginxStyle, host: &HostName) -> String {
        let Server { indent, address, params, tail, .. } = self;
        match style {
            NginxStyle::Down => format!("{indent}server {address}{params} down;{tail}{MARK}{host}"),
            NginxStyle::Comment => format!("{indent}#server {address}{params};{tail}{MARK}{host}"),
        }
    }

    fn back(&self) -> String {
        let Server { indent, address, params, tail, .. } = self;
        let tail = tail.rsplit_once(MARK).map_or(*tail, |(before, _)| before);
        let params = match self.comment.is_empty() {
            true => params.strip_suffix(" down").unwrap_or(params),
            false => params,
        };
        format!("{indent}server {address}{params};{tail}")
    }
}

/// The text with the members taken out or put back.
///
/// An error when a member that has to go out has no line of its own in an upstream block, or when taking
/// the members out would leave too few servers in an upstream.
pub fn edit(text: &str, order: Order, members: &[Member]) -> Result<Edited, String> {
    let Order { style, direction, floor } = order;
    let mut seen = vec![Seen::default(); members.len()];
    let mut lines = Vec::new();
    let mut context = Context { floor, ..Context::default() };
    for (number, raw) in text.split('\n').enumerate() {
        let line = raw.strip_suffix('\r').unwrap_or(raw);
        let inside = context.enter(line);
        let server = Server::parse(line).filter(|_| inside);
        if server.is_none() {
            refuse_crowded_line(line, number + 1, context.saw_upstream || inside, members)?;
        }
        let member = server
            .as_ref()
            .and_then(|server| members.iter().position(|member| member.seat.server == server.address));
        let (Some(server), Some(at)) = (server.as_ref(), member) else {
            context.count(server.as_ref());
            lines.push(raw.to_string());
            continue;
        };
        seen[at].note(server);
        let new = change(server, style, direction, &members[at].host);
        context.touched |= new.is_some();
        context.count(Server::parse(new.as_deref().unwrap_or(line)).as_ref());
        lines.push(new.unwrap_or_else(|| raw.to_string()));
    }
    refuse(&seen, members, direction, context)?;
    let those = |wanted: fn(&Seen, Direction) -> bool| {
        let mut hosts: Vec<HostName> = seen
            .iter()
            .zip(members)
            .filter(|(seen, _)| wanted(seen, direction))
            .map(|(_, m)| m.host.clone())
            .collect();
        hosts.sort();
        hosts
    };
    Ok(Edited {
        text: lines.join("\n"),
        foreign: those(Seen::is_foreign),
        already: those(Seen::was_out_already),
    })
}

impl Seen {
    fn note(&mut self, server: &Server<'_>) {
        match (server.is_down(), server.mark()) {
            (false, _) => self.live = true,
            (true, Some(_)) => self.ours = true,
            // A comment without our mark is not a server if there is another line.
            (true, None) => self.down_by_others = true,
        }
    }

    fn is_foreign(&self, direction: Direction) -> bool {
        let gone = direction == Direction::In && !self.down_by_others;
        !self.live && !self.ours && (self.down_by_others || gone)
    }

    fn was_out_already(&self, _: Direction) -> bool {
        self.ours && !self.live
    }

    fn is_missing(&self) -> bool {
        !self.live && !self.ours && !self.down_by_others
    }
}

/// The changed line; `None` when it stays.
fn change(server: &Server<'_>, style: NginxStyle, direction: Direction, host: &HostName) -> Option<String> {
    match (direction, server.is_down(), server.mark()) {
        (Direction::Out, false, None) => Some(server.out(style, host)),
        // Marked by us and put back by hand: remove the old mark before the line is marked again.
        (Direction::Out, false, Some(_)) => {
            Server::parse(&server.back()).map(|server| server.out(style, host))
        }
        (Direction::In, _, Some(_)) => Some(server.back()),
        (Direction::Out, true, Some(_)) | (Direction::In, false, None) | (_, true, None) => None,
    }
}

/// Why the edit must not be made.
fn refuse(seen: &[Seen], members: &[Member], direction: Direction, context: Context) -> Result<(), String> {
    if direction == Direction::In {
        return Ok(());
    }
    if let Some((_, member)) = seen.iter().zip(members).find(|(seen, _)| seen.is_missing()) {
        return Err(format!(
            "no upstream block has a line `server {}` for {}",
            member.seat.server, member.host
        ));
    }
    match context.short {
        Some(why) => Err(format!("{why}; try: smaller batches (serial)")),
        None => Ok(()),
    }
}

/// A line with a member's server and other directives cannot be edited by line.
fn refuse_crowded_line(line: &str, number: usize, upstream: bool, members: &[Member]) -> Result<(), String> {
    let code = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = code
        .split(|c: char| c.is_whitespace() || c == ';' || c == '{')
        .filter(|word| !word.is_empty())
        .collect();
    let named = words.windows(2).find_map(|pair| match pair {
        ["server", address] => members.iter().find(|member| member.seat.server == *address),
        _ => None,
    });
    match named.filter(|_| upstream) {
        Some(member) => Err(format!(
            "line {number}: `server {}` shares its line; try: one server a line",
            member.seat.server
        )),
        None => Ok(()),
    }
}

/// The position of a line in the file.
#[derive(Default)]
struct Context {
    depth: usize,
    upstream: Option<Upstream>,
    saw_upstream: bool,
    /// The present block was changed.
    touched: bool,
    floor: Floor,
    /// The upstream that this edit would leave with too few servers.
    short: Option<String>,
}

/// The upstream block of the present line.
struct Upstream {
    name: String,
    depth: usize,
    live: usize,
    servers: usize,
}

impl Context {
    /// Reads a line; true if it is inside an upstream block.
    fn enter(&mut self, line: &str) -> bool {
        let inside = self.upstream.is_some();
        let code = line.split('#').next().unwrap_or_default();
        let mut words = code.split(|c: char| c.is_whitespace() || c == '{').filter(|word| !word.is_empty());
        self.saw_upstream = !inside && words.next() == Some("upstream");
        let name = words.next().unwrap_or_default().to_string();
        for c in code.chars() {
            match c {
                '{' => {
                    self.depth += 1;
                    if self.saw_upstream && self.upstream.is_none() {
                        self.touched = false;
                        let depth = self.depth;
                        self.upstream = Some(Upstream { name: name.clone(), depth, live: 0, servers: 0 });
                    }
                }
                '}' => self.leave(),
                _ => {}
            }
        }
        inside
    }

    fn leave(&mut self) {
        if let Some(upstream) = self.upstream.take_if(|upstream| upstream.depth == self.depth) {
            let Upstream { name, live, servers, .. } = upstream;
            let floor = self.floor.of(servers);
            if self.touched && live < floor {
                self.short = Some(format!(
                    "this would leave {live} of {servers} servers of the upstream `{name}` in service, \
                     and {floor} have to stay"
                ));
            }
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn count(&mut self, server: Option<&Server<'_>>) {
        if let (Some(upstream), Some(server)) = (&mut self.upstream, server) {
            upstream.live += usize::from(!server.is_down());
            upstream.servers += usize::from(server.is_one());
        }
    }
}

/// The members by the file. If several upstreams have members, the one with the fewest
/// servers left counts.
pub fn view(text: &str, members: &[Member]) -> View {
    let mut seen = vec![Seen::default(); members.len()];
    let mut context = Context::default();
    // Live servers, all servers, and whether a member is among them, by upstream; the last one is the present one.
    let mut upstreams: Vec<(usize, usize, bool)> = Vec::new();
    for line in text.lines() {
        let inside = context.enter(line);
        if context.saw_upstream {
            upstreams.push((0, 0, false));
        }
        let Some(server) = Server::parse(line).filter(|_| inside) else { continue };
        let member = members.iter().position(|member| member.seat.server == server.address);
        if let Some(at) = member {
            seen[at].note(&server);
        }
        if let Some((live, servers, ours)) = upstreams.last_mut() {
            *live += usize::from(!server.is_down());
            *servers += usize::from(server.is_one());
            *ours |= member.is_some();
        }
    }
    let fewest = upstreams.iter().filter(|(.., ours)| *ours).min();
    let (serving, total) = fewest.map_or((0, 0), |(live, servers, _)| (*live, *servers));
    let hosts = members.iter().zip(&seen);
    View {
        hosts: hosts.map(|(member, seen)| (member.host.clone(), seen.told(member))).collect(),
        serving,
        total,
    }
}

impl Seen {
    /// Open-source nginx does not report which servers it uses: the file is the only source.
    fn told(&self, member: &Member) -> rotation::Seen {
        let (rotation, note) = match (self.live, self.ours, self.down_by_others) {
            (true, false, false) => (Rotation::In, "as the file says".to_string()),
            (true, ..) => (Rotation::In, "as the file says; another line of it is out".to_string()),
            (false, true, _) => (Rotation::Out, "taken out by rollcall, as the file says".to_string()),
            (false, false, true) => (Rotation::Out, "taken out by hand, as the file says".to_string()),
            (false, false, false) => {
                (Rotation::Unknown, format!("no upstream block has a line `server {}`", member.seat.server))
            }
        };
        rotation::Seen { rotation, note }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::plan::Seat;

    const CONFIG: &str = "\
events {}
http {
  upstream app {
    zone app 64k;
    server 10.0.0.1:8080 weight=2;   # first
    server 10.0.0.11:8080;
    # server 10.0.0.3:8080;
    server 10.0.0.2:8080 down;
  }
  server { listen 80; location / { proxy_pass http://app; } }
}
";

    fn member(host: &str, server: &str) -> Member {
        let seat = Seat { balancer: "prod.web".into(), server: server.into() };
        Member { host: host.into(), seat, ours: false }
    }

    /// [`super::edit`] with the default floor, without `min_in_service`.
    fn edit(
        text: &str,
        style: NginxStyle,
        direction: Direction,
        members: &[Member],
    ) -> Result<Edited, String> {
        super::edit(text, Order { style, direction, floor: Floor::default() }, members)
    }

    fn out(style: NginxStyle, members: &[Member]) -> Result<Edited, String> {
        edit(CONFIG, style, Direction::Out, members)
    }

    #[test]
    fn exactly_the_addressed_line_changes() {
        let edited = out(NginxStyle::Down, &[member("web1", "10.0.0.1:8080")]).unwrap();
        let wanted = CONFIG.replace(
            "10.0.0.1:8080 weight=2;   # first",
            "10.0.0.1:8080 weight=2 down;   # first # rollcall:web1",
        );
        assert_eq!(edited, Edited { text: wanted, foreign: vec![], already: vec![] });
        let edited = out(NginxStyle::Comment, &[member("web11", "10.0.0.11:8080")]).unwrap();
        assert_eq!(
            edited.text,
            CONFIG.replace("server 10.0.0.11:8080;", "#server 10.0.0.11:8080; # rollcall:web11")
        );
    }

    #[test]
    fn taking_out_and_putting_back_gives_the_same_bytes() {
        for style in [NginxStyle::Down, NginxStyle::Comment] {
            for config in [CONFIG.to_string(), CONFIG.replace('\n', "\r\n")] {
                let members = [member("web1", "10.0.0.1:8080")];
                let once = edit(&config, style, Direction::Out, &members).unwrap().text;
                let twice = edit(&once, style, Direction::Out, &members).unwrap().text;
                assert_eq!(once, twice);
                let back = edit(&once, style, Direction::In, &members).unwrap().text;
                assert_eq!(back.replace('\r', ""), config.replace('\r', ""));
                assert_eq!(edit(&back, style, Direction::In, &members).unwrap().text, back);
            }
        }
    }

    #[test]
    fn what_somebody_else_took_out_is_left_so() {
        let members = [member("web2", "10.0.0.2:8080"), member("web3", "10.0.0.3:8080")];
        let edited = out(NginxStyle::Down, &members).unwrap();
        assert_eq!(edited.text, CONFIG);
        assert_eq!(edited.foreign, [HostName::from("web2"), HostName::from("web3")]);
        let gone = [member("web2", "10.0.0.2:8080"), member("web9", "10.0.0.9:8080")];
        let back = edit(CONFIG, NginxStyle::Down, Direction::In, &gone).unwrap();
        assert_eq!(back.text, CONFIG);
        assert_eq!(back.foreign, [HostName::from("web2"), HostName::from("web9")]);
    }

    #[test]
    fn what_cannot_be_done_safely_is_refused() {
        let error = out(NginxStyle::Down, &[member("web9", "10.0.0.9:8080")]).unwrap_err();
        assert_eq!(error, "no upstream block has a line `server 10.0.0.9:8080` for web9");
        let both = [member("web1", "10.0.0.1:8080"), member("web11", "10.0.0.11:8080")];
        let error = out(NginxStyle::Down, &both).unwrap_err();
        assert_eq!(
            error,
            "this would leave 0 of 3 servers of the upstream `app` in service, and 1 have to stay; \
             try: smaller batches (serial)"
        );
        let crowded = "upstream a { server x:1; server y:1; }";
        let error = edit(crowded, NginxStyle::Down, Direction::Out, &[member("x", "x:1")]).unwrap_err();
        assert_eq!(error, "line 1: `server x:1` shares its line; try: one server a line");
        // A `server` outside of upstream blocks is a different directive.
        let error =
            edit("server x:1;\n", NginxStyle::Down, Direction::Out, &[member("x", "x:1")]).unwrap_err();
        assert_eq!(error, "no upstream block has a line `server x:1` for x");
    }

    #[test]
    fn an_old_line_kept_as_a_comment_is_only_a_comment() {
        let twin = "upstream a {\n # server x:1 weight=5;\n server x:1;\n server y:1;\n}\nupstream b {\n server x:1 down;\n server y:1;\n}";
        let out = edit(twin, NginxStyle::Down, Direction::Out, &[member("x", "x:1")]).unwrap();
        assert_eq!(out.text, twin.replace(" server x:1;", " server x:1 down; # rollcall:x"));
        assert_eq!((out.foreign, out.already), (vec![], vec![]));
        let back = edit(&out.text, NginxStyle::Down, Direction::In, &[member("x", "x:1")]).unwrap();
        assert_eq!((back.text.as_str(), back.foreign), (twin, vec![]));
    }

    #[test]
    fn what_an_earlier_run_took_out_is_known_as_such() {
        let once = out(NginxStyle::Down, &[member("web1", "10.0.0.1:8080")]).unwrap();
        assert_eq!(once.already, Vec::<HostName>::new());
        let again =
            edit(&once.text, NginxStyle::Down, Direction::Out, &[member("web1", "10.0.0.1:8080")]).unwrap();
        assert_eq!((again.already, again.foreign), (vec![HostName::from("web1")], vec![]));
    }

    #[test]
    fn an_upstream_that_is_down_as_a_whole_is_not_our_business() {
        let text = format!("{CONFIG}upstream other {{\n server z:1 down;\n}}\n");
        assert!(edit(&text, NginxStyle::Down, Direction::Out, &[member("web1", "10.0.0.1:8080")]).is_ok());
    }

    #[test]
    fn a_line_put_back_by_hand_is_taken_out_again_with_one_mark() {
        let by_hand = "upstream a {\n server x:1; # rollcall:x\n server y:1;\n}";
        let edited = edit(by_hand, NginxStyle::Down, Direction::Out, &[member("x", "x:1")]).unwrap();
        assert_eq!(edited.text, "upstream a {\n server x:1 down; # rollcall:x\n server y:1;\n}");
    }

    #[test]
    fn the_floor_holds_in_each_upstream() {
        let text = "upstream a {\n server w:1;\n server x:1;\n server y:1;\n}\nupstream b {\n server x:1;\n server z:1 down;\n}";
        let take = |server: &str, floor: Floor| {
            let order = Order { style: NginxStyle::Down, direction: Direction::Out, floor };
            super::edit(text, order, &[member("h", server)])
        };
        assert!(take("w:1", Floor::Percent(66)).is_ok());
        assert!(take("w:1", Floor::Percent(67)).unwrap_err().contains("2 of 3 servers of the upstream `a`"));
        assert!(take("x:1", Floor::default()).unwrap_err().contains("0 of 2 servers of the upstream `b`"));
        assert!(take("x:1", Floor::Servers(0)).is_ok());
    }

    #[test]
    fn a_look_tells_what_the_file_says() {
        let once = out(NginxStyle::Comment, &[member("web1", "10.0.0.1:8080")]).unwrap().text;
        let members = [
            member("web1", "10.0.0.1:8080"),
            member("web11", "10.0.0.11:8080"),
            member("web2", "10.0.0.2:8080"),
            member("web9", "10.0.0.9:8080"),
        ];
        let view = view(&once, &members);
        let rotation = |host: &str| view.rotation(&host.into());
        assert_eq!(
            ["web1", "web11", "web2", "web9"].map(rotation),
            [Rotation::Out, Rotation::In, Rotation::Out, Rotation::Unknown]
        );
        // A comment without a mark is not a server.
        assert_eq!((view.serving, view.total), (1, 3));
        let note = |host: &str| view.hosts[host].note.as_str();
        assert_eq!(note("web1"), "taken out by rollcall, as the file says");
        assert_eq!(note("web2"), "taken out by hand, as the file says");
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives(text in "[a-z0-9 {};#\n:.]{0,200}") {
            let _ = edit(&text, NginxStyle::Down, Direction::Out, &[member("x", "x:1")]);
        }
    }
}
