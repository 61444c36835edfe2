//! Notices in words: the subject and the text of a message, and the words for templates.

use std::fmt::Write;

use super::report::one_line;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::output::printable;
use crate::domain::check::id::CheckId;
use crate::domain::notify::notice::{About, EndedIncident, Notice, NoticeContent, NoticeKind};
use crate::domain::value::template::Vars;
use crate::domain::watch::subject::Subject;

/// Most characters of the node set in a subject.
const HOSTS_CHARS: usize = 80;

/// `[rollcall] CRITICAL http web[03,07] (2/20) prod`
pub fn subject(notice: &Notice) -> String {
    let rest = match &notice.what {
        NoticeContent::Incident(about) => {
            let hosts = one_line(&about.hosts, HOSTS_CHARS);
            format!("{} {hosts}{} {}", headline(about), share(about), about.group)
        }
        NoticeContent::Digest { open, past, left_out } => {
            format!("digest: {} open, {} over", open.len(), past.len() + left_out)
        }
        NoticeContent::GaveUp { channel, count, .. } => {
            format!("the channel {channel} could not deliver {}", messages(*count))
        }
        NoticeContent::WatchingFailed => "watching failed inside rollcall".into(),
        NoticeContent::Test { .. } => "test message".into(),
    };
    one_line(&printable(&format!("[rollcall] {rest}")), 250)
}

/// `CRITICAL set/http`, and `UNREACHABLE:` for the hosts themselves.
fn headline(about: &About) -> String {
    let check = &about.check;
    match about.kind {
        NoticeKind::Recovered => format!("RECOVERED {check}"),
        NoticeKind::Acknowledged => format!("ACKNOWLEDGED {check}"),
        NoticeKind::Silenced => format!("SILENCED {check}"),
        NoticeKind::Opened | NoticeKind::Update | NoticeKind::Reminder => match check {
            Subject::Contact => "UNREACHABLE:".into(),
            Subject::Check(_) => format!("{} {check}", about.verdict.word().to_uppercase()),
        },
    }
}

fn share(about: &About) -> String {
    if about.of == 0 { String::new() } else { format!(" ({}/{})", about.count, about.of) }
}

fn messages(count: usize) -> String {
    if count == 1 { "a message".into() } else { format!("{count} messages") }
}

/// The text of a message, below its subject. Output of hosts in it cannot steer the reader's terminal.
pub fn text(notice: &Notice) -> String {
    printable(&written(notice))
}

fn written(notice: &Notice) -> String {
    match &notice.what {
        NoticeContent::Incident(about) => incident(notice, about),
        NoticeContent::Digest { open, past, left_out } => digest(open, past, *left_out),
        NoticeContent::GaveUp { channel, count, why } => format!(
            "rollcall tried to deliver {} by the channel {channel} for its `give_up` time.\nLast error: {why}\n\
             Waiting messages: ssh rollcall notify list\nTest it: ssh rollcall notify test {channel}\n",
            messages(*count)
        ),
        NoticeContent::WatchingFailed => {
            "Watching failed inside rollcall. It starts again from the stored state; checks may be late.\n\
             Current state: ssh rollcall status\n\
             Please report it with the daemon's log.\n"
                .into()
        }
        NoticeContent::Test { by } => {
            format!("{by} asked rollcall to send this. Messages of this channel arrive.\n")
        }
    }
}

fn incident(notice: &Notice, about: &About) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "since {}{}\n", time(about.since), lasted(notice, about));
    for seen in &about.seen {
        let flapping = if seen.flapping { " (flapping)" } else { "" };
        let _ = writeln!(text, "{}: {}{flapping}: {}", seen.hosts, seen.verdict.word(), seen.text.trim());
    }
    if about.not_shown > 0 {
        let _ = writeln!(text, "and {} more hosts with texts of their own", about.not_shown);
    }
    for known in &about.acknowledged {
        let _ = writeln!(text, "acknowledged by {}, for {}: {}", known.by, known.hosts, known.why);
    }
    let new = if about.first { "" } else { &about.new };
    let changes = [
        ("new since the last message", new),
        ("recovered", &about.recovered),
        ("silent from here on (a downtime, or not watched any more)", &about.dropped),
    ];
    for (what, hosts) in changes.into_iter().filter(|(_, hosts)| !hosts.is_empty()) {
        let _ = writeln!(text, "{what}: {hosts}");
    }
    let _ = writeln!(text, "\nDetails: ssh rollcall why {}", about.example);
    text
}

fn lasted(notice: &Notice, about: &About) -> String {
    match about.kind {
        NoticeKind::Recovered | NoticeKind::Silenced => {
            format!(" until {}, {}", time(notice.at), super::table::age(about.since, notice.at))
        }
        _ => String::new(),
    }
}

fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn digest(open: &[EndedIncident], past: &[EndedIncident], left_out: usize) -> String {
    let mut text = String::new();
    let line = |ended: &EndedIncident| {
        let until =
            ended.until.map(|at| format!(", for {}", super::table::age(ended.since, at))).unwrap_or_default();
        let word = ended.verdict.word();
        format!(
            "  {word}  {} on {} of {}, since {}{until}\n",
            ended.check,
            ended.hosts,
            ended.group,
            time(ended.since)
        )
    };
    for (title, lines) in [("Open", open), ("Over", past)] {
        let lines: String = lines.iter().map(line).collect();
        let _ = writeln!(text, "{title}:\n{}", if lines.is_empty() { "  nothing\n".into() } else { lines });
    }
    if left_out > 0 {
        let _ = writeln!(text, "and {left_out} more that are over");
    }
    text
}

/// The fields for the body of a webhook, and for the environment of a command.
pub fn words(notice: &Notice, channel: &str) -> Vars {
    let mut all: Vec<(&str, String)> = vec![
        ("channel", channel.into()),
        ("key", notice.key.clone()),
        ("subject", subject(notice)),
        ("text", text(notice)),
        ("at", notice.at.to_string()),
    ];
    let kind = match &notice.what {
        NoticeContent::Incident(about) => kind(about.kind),
        NoticeContent::Digest { .. } => "digest",
        NoticeContent::GaveUp { .. } => "gave-up",
        NoticeContent::WatchingFailed => "watching-failed",
        NoticeContent::Test { .. } => "test",
    };
    let none = About::nothing(notice.at);
    let about = if let NoticeContent::Incident(about) = &notice.what { &**about } else { &none };
    all.extend([
        ("kind", kind.into()),
        ("thread", about.thread.clone()),
        ("verdict", about.verdict.word().into()),
        ("set", about.check.row().0.into()),
        ("check", about.check.row().1.into()),
        ("group", about.group.clone()),
        ("hosts", about.hosts.clone()),
        ("count", about.count.to_string()),
        ("since", about.since.to_string()),
    ]);
    all.into_iter().map(|(name, text)| (name.to_string(), printable(&text).into())).collect()
}

fn kind(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Opened => "opened",
        NoticeKind::Update => "update",
        NoticeKind::Reminder => "reminder",
        NoticeKind::Acknowledged => "acknowledged",
        NoticeKind::Recovered => "recovered",
        NoticeKind::Silenced => "silenced",
    }
}

impl About {
    /// About no incident.
    fn nothing(at: jiff::Timestamp) -> About {
        About {
            kind: NoticeKind::Opened,
            thread: String::new(),
            first: true,
            check: CheckId::default().into(),
            group: String::new(),
            since: at,
            verdict: Verdict::Ok,
            hosts: String::new(),
            count: 0,
            of: 0,
            example: String::new(),
            seen: Vec::new(),
            not_shown: 0,
            new: String::new(),
            recovered: String::new(),
            dropped: String::new(),
            acknowledged: Vec::new(),
        }
    }
}
