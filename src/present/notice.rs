//! Notices in words: the subject and the text of a message, and the words for templates.

use std::fmt::Write;

use super::report::one_line;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::output::printable;
use crate::domain::check::id::CheckId;
use crate::domain::notify::notice::{About, EndedIncident, Notice, NoticeContent, NoticeKind};
use crate::domain::notify::run_news::{RunMoment, RunNews};
use crate::domain::value::template::Vars;
use crate::domain::watch::subject::Subject;

/// Most characters of the node set in a subject.
const HOSTS_CHARS: usize = 80;

/// Most characters of the title of a run.
const TITLE_CHARS: usize = 160;

/// Most characters of hosts in a text.
const SET_CHARS: usize = 400;

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
        NoticeContent::Run(news) => run_subject(news),
        NoticeContent::Runs { counts, .. } => {
            let count = |(moment, count): &(RunMoment, usize)| format!("{count} {}", moment.word());
            format!("runs: {}", counts.iter().map(count).collect::<Vec<_>>().join(", "))
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
        NoticeContent::Run(news) => run(news),
        NoticeContent::Runs { news, left_out, .. } => runs(news, *left_out),
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

/// `run 41 needs a person: deploy prod version=1.4.2`
fn run_subject(news: &RunNews) -> String {
    let hosts = if news.count == 1 { "1 host".into() } else { format!("{} hosts", news.count) };
    format!("run {} {}: {} ({hosts})", news.run, news.moment.word(), one_line(&news.title, TITLE_CHARS))
}

fn run(news: &RunNews) -> String {
    let mut text = format!("{}\n\n", one_line(&news.title, TITLE_CHARS));
    let age = super::table::age(news.started_at, news.at);
    let after = match (news.moment, news.is_over) {
        (RunMoment::Started, _) => String::new(),
        (_, true) => format!(", took {age}"),
        (_, false) => format!(", {age} ago"),
    };
    let _ = writeln!(text, "by {}, started {}{after}", news.by, time(news.started_at));
    let _ = writeln!(text, "hosts: {} ({}), of {}", one_line(&news.hosts, SET_CHARS), news.count, news.group);
    if !news.why.is_empty() {
        let _ = writeln!(text, "why: {}", news.why.trim());
    }
    for end in &news.ends {
        let _ = writeln!(text, "{}: {} ({})", end.end, one_line(&end.hosts, SET_CHARS), end.count);
    }
    let _ = writeln!(text, "\nNext: ssh rollcall {}", news.next());
    if !matches!(news.moment, RunMoment::Started | RunMoment::Done) {
        let _ = writeln!(text, "Details: ssh rollcall show {}", news.run);
    }
    text
}

fn runs(news: &[RunNews], left_out: usize) -> String {
    let mut text = "Too many runs for a message each:\n\n".to_string();
    for news in news {
        let title = one_line(&news.title, TITLE_CHARS);
        let _ =
            writeln!(text, "run {} {}: {title}; ssh rollcall {}", news.run, news.moment.word(), news.next());
    }
    if left_out > 0 {
        let _ = writeln!(text, "and {left_out} more");
    }
    text + "\nAll of them: ssh rollcall runs\n"
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
    if let Some(waited) = about.waited {
        let _ = writeln!(text, "not acknowledged for {}", super::table::age(waited, notice.at));
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
        NoticeContent::Run(news) => run_kind(news.moment),
        NoticeContent::Runs { .. } => "runs",
        NoticeContent::Digest { .. } => "digest",
        NoticeContent::GaveUp { .. } => "gave-up",
        NoticeContent::WatchingFailed => "watching-failed",
        NoticeContent::Test { .. } => "test",
    };
    if let NoticeContent::Run(news) = &notice.what {
        all.extend([
            ("kind", kind.into()),
            ("run", news.run.to_string()),
            ("thread", news.thread()),
            ("verdict", run_verdict(news.moment).word().into()),
            ("set", String::new()),
            ("check", String::new()),
            ("group", news.group.clone()),
            ("hosts", news.hosts.clone()),
            ("count", news.count.to_string()),
            ("since", news.started_at.to_string()),
        ]);
        return printed(all);
    }
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
        ("run", String::new()),
    ]);
    printed(all)
}

fn printed(all: Vec<(&str, String)>) -> Vars {
    all.into_iter().map(|(name, text)| (name.to_string(), printable(&text).into())).collect()
}

fn run_kind(moment: RunMoment) -> &'static str {
    match moment {
        RunMoment::Started => "run-started",
        RunMoment::WaitingForApproval => "run-waiting",
        RunMoment::NeedsPerson => "run-needs-person",
        RunMoment::Failed => "run-failed",
        RunMoment::Done => "run-done",
    }
}

/// How bad a moment is, for receivers that have one scale.
fn run_verdict(moment: RunMoment) -> Verdict {
    match moment {
        RunMoment::Started | RunMoment::Done => Verdict::Ok,
        RunMoment::WaitingForApproval => Verdict::Warning,
        RunMoment::Failed | RunMoment::NeedsPerson => Verdict::Critical,
    }
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
            waited: None,
        }
    }
}
