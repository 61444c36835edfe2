//! Editing nginx upstream blocks: a pure function from files to files. Servers are found by their address, the rest of
//! each file stays byte for byte, and every changed server gets a mark with its host, so that only our own changes are
//! ever undone, and undoing them gives back the bytes that were there before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::sections::{MARK, NginxFiles, Sections, ServerStatement, Upstream, endpoint, sections};
use crate::domain::base::name::{HostName, nearest};
use crate::domain::inventory::inventory::NginxStyle;
use crate::domain::inventory::rotation::{self, BalancerView, Floor, Rotation};
use crate::port::Member;

/// The direction of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Out,
    In,
}

/// The change to make for the members.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub style: NginxStyle,
    pub direction: Direction,
    /// How many servers must stay in every upstream from which one is taken.
    pub floor: Floor,
    /// The upstreams that are changed, all or none; empty: every one that has the server.
    pub upstreams: &'a [String],
}

/// The result of an edit.
#[derive(Debug, PartialEq)]
pub struct Edited {
    /// The files that hold servers of the members, by their number, and their new texts.
    pub files: BTreeMap<usize, Vec<u8>>,
    /// Hosts that others took out: their lines are left unchanged. On the way in, a host without
    /// a line is one of them.
    pub foreign: Vec<HostName>,
    /// Hosts that an earlier run had taken out, and that are still out.
    pub already: Vec<HostName>,
}

/// The observed servers of one member: it may have several, in several upstreams, and old ones
/// in comments.
#[derive(Clone, Default)]
struct ObservedServers {
    live: bool,
    ours: bool,
    down_by_others: bool,
}

/// Bytes of one file, and what is put in their place.
type Patch = (Range<usize>, Vec<u8>);

/// The files with the members taken out or put back.
///
/// An error when a member that has to go out has no server in an upstream block, or when taking
/// the members out would leave too few servers in an upstream.
pub fn edit(sources: &NginxFiles, order: Order<'_>, members: &[Member]) -> Result<Edited, String> {
    let found = sections(sources);
    if order.direction == Direction::Out {
        refuse_missing(sources, &found, order.upstreams, members)?;
    }
    let mut seen = vec![ObservedServers::default(); members.len()];
    let mut changes: BTreeMap<usize, Vec<Patch>> = BTreeMap::new();
    let mut changed = BTreeSet::new();
    for upstream in found.upstreams.iter().filter(|upstream| is_wanted(upstream, order.upstreams)) {
        let mut count = ServerCount::default();
        for server in &upstream.servers {
            let Some((at, member)) = member_of(server, members) else {
                count.add(server, server.is_down());
                continue;
            };
            seen[at].note(server, &member.host);
            let of_file = changes.entry(server.file).or_default();
            let change = change(&sources.files[server.file].text, server, order, &member.host);
            count.touched |= change.is_some();
            let will_be_down =
                change.as_ref().map_or(server.is_down(), |_| order.direction == Direction::Out);
            count.add(server, will_be_down);
            // Two blocks may include the same file.
            if changed.insert((server.file, server.start)) {
                of_file.extend(change.into_iter().flatten());
            }
        }
        count.refuse(&upstream.name, order)?;
    }
    let those = |wanted: fn(&ObservedServers, Direction) -> bool| {
        let of = seen.iter().zip(members).filter(|(seen, _)| wanted(seen, order.direction));
        let mut hosts: Vec<HostName> = of.map(|(_, member)| member.host.clone()).collect();
        hosts.sort();
        hosts
    };
    if changes.is_empty() {
        changes.insert(0, Vec::new());
    }
    let text = |(file, changes): (usize, Vec<Patch>)| (file, replaced(&sources.files[file].text, changes));
    Ok(Edited {
        foreign: those(ObservedServers::is_foreign),
        already: those(ObservedServers::was_out_already),
        files: changes.into_iter().map(text).collect(),
    })
}

fn member_of<'a>(server: &ServerStatement, members: &'a [Member]) -> Option<(usize, &'a Member)> {
    members.iter().enumerate().find(|(_, member)| endpoint(&member.seat.server) == server.address)
}

fn is_wanted(upstream: &Upstream, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.contains(&upstream.name)
}

/// The servers of one upstream. Backup servers are no capacity.
#[derive(Default)]
struct ServerCount {
    live: usize,
    servers: usize,
    touched: bool,
}

impl ServerCount {
    fn add(&mut self, server: &ServerStatement, is_down: bool) {
        if !server.backup && server.is_one() {
            self.live += usize::from(!is_down);
            self.servers += 1;
        }
    }

    fn refuse(&self, name: &str, order: Order<'_>) -> Result<(), String> {
        let ServerCount { live, servers, touched } = *self;
        let floor = order.floor.of(servers);
        match order.direction == Direction::Out && touched && live < floor {
            true => Err(format!(
                "this would leave {live} of {servers} servers of the upstream `{name}` in service, and {floor} have to \
                 stay; try: smaller batches (serial)"
            )),
            false => Ok(()),
        }
    }
}

impl ObservedServers {
    fn note(&mut self, server: &ServerStatement, host: &HostName) {
        match (server.is_down(), server.mark(host.as_str())) {
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
}

/// What has to change for one server; `None` when it stays.
fn change(text: &[u8], server: &ServerStatement, order: Order<'_>, host: &HostName) -> Option<Vec<Patch>> {
    match (order.direction, server.is_down(), server.mark(host.as_str())) {
        (Direction::Out, false, mark) => {
            let mut changes = vec![match order.style {
                NginxStyle::Comment if server.alone => (server.start..server.start, b"#".to_vec()),
                _ => (server.end..server.end, b" down".to_vec()),
            }];
            // Put back by hand, and the mark was left.
            if mark.is_none() {
                changes.push((server.mark_at..server.mark_at, format!(" {MARK}{host}").into_bytes()));
            }
            Some(changes)
        }
        (Direction::In, _, Some(mark)) => {
            let comment = server.commented.then_some(server.start..server.start + 1);
            let down =
                server.down.clone().filter(|_| !server.commented).map(|down| match text[down.start - 1] {
                    b' ' => down.start - 1..down.end,
                    _ => down,
                });
            // Text that was added behind the mark stays a comment.
            let behind = text[mark.at.end..server.mark_at].trim_ascii();
            let is_bare = mark.first && !behind.is_empty() && !behind.starts_with(b"#");
            let left = if is_bare { b" #".to_vec() } else { Vec::new() };
            let gone = comment.into_iter().chain(down).map(|at| (at, Vec::new()));
            Some(gone.chain([(mark.at.clone(), left)]).collect())
        }
        (Direction::Out, true, _) | (Direction::In, _, None) => None,
    }
}

fn replaced(text: &[u8], mut changes: Vec<Patch>) -> Vec<u8> {
    changes.sort_by(|(a, one), (b, other)| (a.start, a.end, one).cmp(&(b.start, b.end, other)));
    // Two servers of one host on a line share their mark.
    changes.dedup();
    let (mut new, mut done) = (Vec::with_capacity(text.len() + 64), 0);
    for (at, with) in changes {
        new.extend_from_slice(&text[done..at.start]);
        new.extend_from_slice(&with);
        done = at.end;
    }
    new.extend_from_slice(&text[done..]);
    new
}

/// A member without a server, or an upstream that is not there.
fn refuse_missing(
    sources: &NginxFiles,
    found: &Sections,
    wanted: &[String],
    members: &[Member],
) -> Result<(), String> {
    let has = |upstream: &Upstream, member: &Member| {
        let of_member = |server: &ServerStatement| server.address == endpoint(&member.seat.server);
        upstream.servers.iter().any(of_member)
    };
    for name in wanted {
        let same: Vec<&Upstream> = found.upstreams.iter().filter(|upstream| upstream.name == *name).collect();
        if same.is_empty() {
            let names = || found.upstreams.iter().map(|upstream| upstream.name.as_str());
            let near =
                nearest(name, names()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(format!("no upstream block is called `{name}`{near}"));
        }
        let lacks = |member: &&Member| !same.iter().any(|upstream| has(upstream, member));
        if let Some(Member { host, seat, .. }) = members.iter().find(lacks) {
            return Err(format!("the upstream `{name}` has no line `server {}` for {host}", seat.server));
        }
    }
    let lacks = |member: &&Member| !found.upstreams.iter().any(|upstream| has(upstream, member));
    match members.iter().find(lacks) {
        Some(Member { host, seat, .. }) => Err(format!(
            "no upstream block has a line `server {}` for {host}{}",
            seat.server,
            hint(sources, found)
        )),
        None => Ok(()),
    }
}

/// Why there may be no upstream block.
fn hint(sources: &NginxFiles, found: &Sections) -> &'static str {
    let text = sources.files.first().map_or(&[][..], |file| &file.text);
    match found.upstreams.is_empty() {
        true if text.starts_with(b"\xef\xbb\xbf") => {
            "; the file begins with a byte order mark, which nginx does not read; try: save it without one"
        }
        true if text.windows(8).any(|part| part == b"include ") => {
            "; it has no upstream block; try: as `config` the file that has it"
        }
        _ => "",
    }
}

/// The members by the files. If several upstreams have members, the one that can spare the fewest
/// servers counts.
pub fn view(sources: &NginxFiles, order: Order<'_>, members: &[Member]) -> BalancerView {
    let mut seen = vec![ObservedServers::default(); members.len()];
    let mut counts = Vec::new();
    let found = sections(sources);
    for upstream in found.upstreams.iter().filter(|upstream| is_wanted(upstream, order.upstreams)) {
        let mut count = ServerCount::default();
        for server in &upstream.servers {
            count.add(server, server.is_down());
            if let Some((at, member)) = member_of(server, members) {
                seen[at].note(server, &member.host);
                count.touched = true;
            }
        }
        counts.extend(count.touched.then_some((count.live, count.servers)));
    }
    let spare =
        |(live, servers): &(usize, usize)| (live.saturating_sub(order.floor.of(*servers)), *live, *servers);
    let (serving, total) = counts.into_iter().min_by_key(spare).unwrap_or_default();
    let hosts = members.iter().zip(&seen);
    let missing = members.iter().filter_map(|member| {
        let why = refuse_missing(sources, &found, order.upstreams, std::slice::from_ref(member)).err()?;
        Some((member.host.clone(), why))
    });
    BalancerView {
        missing: missing.collect(),
        hosts: hosts.map(|(member, seen)| (member.host.clone(), seen.rotation(member))).collect(),
        serving,
        total,
    }
}

impl ObservedServers {
    /// Open-source nginx does not report which servers it uses: the file is the only source.
    fn rotation(&self, member: &Member) -> rotation::HostRotation {
        let (rotation, note) = match (self.live, self.ours, self.down_by_others) {
            (true, false, false) => (Rotation::In, "as the file says".to_string()),
            (true, ..) => (Rotation::In, "as the file says; another line of it is out".to_string()),
            (false, true, _) => (Rotation::Out, "taken out by rollcall, as the file says".to_string()),
            (false, false, true) => (Rotation::Out, "taken out by hand, as the file says".to_string()),
            (false, false, false) => {
                (Rotation::Unknown, format!("no upstream block has a line `server {}`", member.seat.server))
            }
        };
        rotation::HostRotation { rotation, note }
    }
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
