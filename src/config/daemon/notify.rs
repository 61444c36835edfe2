//! `[[notify]]` in `rollcall.toml`: the channels of notification.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use toml::Spanned;

use super::keys::{MailKeys, NotifyKeys, OnlyKeys, RollcallKeys, RunMomentWords, VerdictWords, WebhookKeys};
use super::roles::read_hours;
use crate::config::checks::watching::time_zone;
use crate::config::text::diagnostic::Doc;
use crate::config::text::keys::{Key, Text, WordList};
use crate::config::text::origin::Origin;
use crate::config::text::reader::{self, Reader};
use crate::domain::ask::hours::Hours;
use crate::domain::base::name::check_name;
use crate::domain::check::id::CheckId;
use crate::domain::notify::channel::{
    Channel, Mail, Mailer, Only, Pace, Smtp, SmtpTls, Transport, WORDS, Webhook, fill,
};
use crate::domain::notify::run_news::RunMoment;
use crate::domain::value::secret::Secret;
use crate::domain::value::template::Vars;
use crate::domain::watch::subject::REACHABLE;

/// Default ports of mail servers, without and with TLS from the first byte.
const PORTS: (u16, u16) = (25, 465);

/// Names that `only` may use.
pub struct ChannelNames<'n> {
    pub groups: BTreeSet<&'n str>,
    pub checks: &'n [CheckId],
    pub tasks: BTreeSet<&'n str>,
    /// The zone of `hours` without `time_zone`.
    pub zone: &'n TimeZone,
    /// Every file could be read: other names do not exist.
    pub complete: bool,
}

/// Reads the channels of `rollcall.toml`; the rest of the file is read elsewhere.
pub fn read(doc: Doc<'_>, root: &Path, names: &ChannelNames<'_>) -> Vec<Channel> {
    let (doc, table) = reader::parse(doc);
    let mut file = Reader::of::<RollcallKeys>(doc, doc.path, (&table, None));
    let mut channels: Vec<Channel> = Vec::new();
    for table in file.list(RollcallKeys::NOTIFY, "a channel of `notify`") {
        let Some((span, channel)) = read_channel(table, root, names) else { continue };
        if channels.iter().any(|known| known.name == channel.name) {
            doc.wrong(span, format!("two channels are called `{}`", channel.name));
        }
        channels.push(channel);
    }
    channels
}

fn read_channel(
    mut table: Reader<'_>,
    root: &Path,
    names: &ChannelNames<'_>,
) -> Option<(std::ops::Range<usize>, Channel)> {
    let name = table.required(NotifyKeys::NAME);
    if let Some((name, why)) = name.as_ref().and_then(|name| Some((name, check_name(name.get_ref()).err()?)))
    {
        table.doc.wrong(name.span(), format!("`{}` cannot name a channel: {why}", name.get_ref()));
    }
    let ways = [NotifyKeys::MAIL.name, NotifyKeys::WEBHOOK.name, NotifyKeys::COMMAND.name];
    let way = match ways.iter().filter(|key| table.key_span(key).is_some()).count() {
        1 => read_way(&mut table, root),
        _ => {
            let message = "a channel of `notify` needs one way: `mail`, `webhook` or `command`";
            table.doc.wrong(table.span.clone(), message);
            None
        }
    };
    let only = table.get(NotifyKeys::ONLY).map(|only| read_only(only, names)).unwrap_or_default();
    let runs = read_runs(&mut table);
    let pace = Pace {
        gather: table.or_default(NotifyKeys::GATHER),
        update_every: table
            .positive(NotifyKeys::UPDATE_EVERY, "there would be a message for each host")
            .unwrap_or(NotifyKeys::UPDATE_EVERY.default),
        remind_every: table.positive(NotifyKeys::REMIND_EVERY, "there would be no end of messages"),
        digest: digest(&mut table),
        after: table.positive(NotifyKeys::AFTER, "leave it out for a channel that reports at once"),
        hours: hours(&mut table, names.zone),
    };
    if let Some(span) = table.key_span(NotifyKeys::AFTER.name).filter(|_| runs.contains(&RunMoment::Started))
    {
        let message = "a channel with `after` cannot send `started`: a run that starts waits for no person";
        let hint = "take it out of `runs`, or use a second channel without `after`".to_string();
        table.doc.report(span, message, hint);
    }
    let give_up = table
        .positive(NotifyKeys::GIVE_UP, "nothing would ever be delivered")
        .unwrap_or(NotifyKeys::GIVE_UP.default);
    table.finish();
    let name = name?;
    Some((name.span(), Channel { name: name.into_inner(), only, runs, pace, give_up, way: way? }))
}

fn read_runs(table: &mut Reader<'_>) -> Vec<RunMoment> {
    let doc = table.doc;
    let moment = |text: Spanned<String>| {
        let moment = RunMomentWords::meaning(text.get_ref());
        if moment.is_none() {
            let message = format!("`{}` is no moment of a run", text.get_ref());
            doc.report(text.span(), message, format!("known: {}", RunMomentWords::words().join(", ")));
        }
        moment
    };
    table.get(NotifyKeys::RUNS).unwrap_or_default().into_iter().filter_map(moment).collect()
}

/// `hours`, in their zone.
fn hours(table: &mut Reader<'_>, zone: &TimeZone) -> Option<Hours> {
    let doc = table.doc;
    let named = table.get(NotifyKeys::TIME_ZONE);
    if let Some(named) = named.as_ref().filter(|_| table.key_span(NotifyKeys::HOURS.name).is_none()) {
        let message = "`time_zone` is that of `hours`, and there are none";
        doc.report(named.span(), message, "add `hours`, such as [\"Mon-Fri 08:00-18:00\"]".to_string());
    }
    let zone = named.and_then(|named| time_zone(doc, &named)).unwrap_or_else(|| zone.clone());
    table.get(NotifyKeys::HOURS).map(|spans| read_hours(doc, spans, zone))
}

fn digest(table: &mut Reader<'_>) -> Option<Time> {
    let text = table.get(NotifyKeys::DIGEST)?;
    let parsed = text.get_ref().parse::<Time>().ok().filter(|_| text.get_ref().contains(':'));
    if parsed.is_none() {
        let message = format!("`digest`: `{}` is no time of day", text.get_ref());
        table.doc.report(text.span(), message, "write it as \"08:00\"".to_string());
    }
    parsed
}

fn read_only(mut table: Reader<'_>, names: &ChannelNames<'_>) -> Only {
    let doc = table.doc;
    let known = |kind: &str, text: Spanned<String>, known: &BTreeSet<&str>| {
        if names.complete && !known.contains(text.get_ref().as_str()) {
            doc.unknown(text.span(), kind, text.get_ref(), known.iter().copied());
        }
        text.into_inner()
    };
    let full: Vec<String> = names.checks.iter().map(CheckId::to_string).collect();
    let bare = names.checks.iter().map(|id| &*id.name).chain([REACHABLE]);
    let checks: BTreeSet<&str> = bare.chain(full.iter().map(String::as_str)).collect();
    let groups = table.get(OnlyKeys::GROUPS).unwrap_or_default();
    let groups = groups.into_iter().map(|text| known("group", text, &names.groups));
    let groups = groups.collect();
    let named = table.get(OnlyKeys::CHECKS).unwrap_or_default();
    let named = named.into_iter().map(|text| known("check", text, &checks)).collect();
    let tasks = table.get(OnlyKeys::TASKS).unwrap_or_default();
    let tasks = tasks.into_iter().map(|text| known("task", text, &names.tasks)).collect();
    let verdict = |text: Spanned<String>| {
        let verdict = VerdictWords::meaning(text.get_ref());
        if verdict.is_none() {
            let message = format!("`{}` is no verdict that alerts", text.get_ref());
            doc.report(text.span(), message, format!("known: {}", VerdictWords::words().join(", ")));
        }
        verdict
    };
    let verdicts = table.get(OnlyKeys::VERDICTS).unwrap_or_default();
    let verdicts = verdicts.into_iter().filter_map(verdict).collect();
    table.finish();
    Only { groups, checks: named, tasks, verdicts }
}

fn read_way(table: &mut Reader<'_>, root: &Path) -> Option<Transport> {
    if let Some(mail) = table.get(NotifyKeys::MAIL) {
        return read_mail(mail, root).map(Transport::Mail);
    }
    if let Some(webhook) = table.get(NotifyKeys::WEBHOOK) {
        return read_webhook(webhook, root).map(Transport::Webhook);
    }
    let command = table.required(NotifyKeys::COMMAND)?;
    Some(Transport::Command(command.into_inner()))
}

fn read_mail(mut table: Reader<'_>, root: &Path) -> Option<Mail> {
    let from = table.required(MailKeys::FROM);
    if table.value(MailKeys::TO).is_none() {
        table.missing(MailKeys::TO.name);
    }
    let to = table.get(MailKeys::TO).unwrap_or_default();
    let wrong =
        |text: &&Spanned<String>| !text.get_ref().contains('@') || text.get_ref().contains(['\n', '\r']);
    for address in from.iter().chain(&to).filter(wrong) {
        let message = format!("`{}` is no mail address", address.get_ref());
        table.doc.report(address.span(), message, "such as ops@example.com".to_string());
    }
    let sendmail = table.get(MailKeys::SENDMAIL);
    let smtp = read_smtp(&mut table, root);
    let by = match (sendmail, table.value(MailKeys::SMTP).is_some()) {
        (Some(sendmail), false) => Some(Mailer::Sendmail(sendmail.into_inner())),
        (None, true) => smtp.map(Mailer::Smtp),
        (None, false) => Some(Mailer::Sendmail(MailKeys::SENDMAIL.default.into())),
        (Some(sendmail), true) => {
            table.doc.wrong(sendmail.span(), "mail goes by `smtp` or by `sendmail`, not by both");
            None
        }
    };
    table.finish();
    Some(Mail { from: from?.into_inner(), to: to.into_iter().map(Spanned::into_inner).collect(), by: by? })
}

/// Reads every key, with or without a server.
fn read_smtp(table: &mut Reader<'_>, root: &Path) -> Option<Smtp> {
    let tls = table.get(MailKeys::TLS);
    let user = table.get(MailKeys::USER);
    let password = secret(table, MailKeys::PASSWORD_FILE);
    if user.is_some() != table.value(MailKeys::PASSWORD_FILE).is_some() {
        table.doc.wrong(table.span.clone(), "`user` and `password_file` belong together");
    }
    let ca = table.get(MailKeys::CA).map(|path| root.join(path.into_inner()));
    let Some(server) = table.get(MailKeys::SMTP) else {
        if tls.is_some() || user.is_some() || ca.is_some() {
            let message = "`tls`, `user`, `password_file` and `ca` are for a mail server: they need `smtp`";
            table.doc.wrong(table.span.clone(), message);
        }
        return None;
    };
    let tls = tls.unwrap_or(MailKeys::TLS.default);
    let default = if tls == SmtpTls::Tls { PORTS.1 } else { PORTS.0 };
    let (host, port) = match server.get_ref().rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port > 0)),
        None => (server.get_ref().as_str(), Some(default)),
    };
    let (false, Some(port)) = (host.is_empty(), port) else {
        table.doc.wrong(server.span(), format!("`{}` is no host with a port", server.get_ref()));
        return None;
    };
    Some(Smtp { host: host.into(), port, tls, login: user.map(Spanned::into_inner).zip(password), ca })
}

fn read_webhook(mut table: Reader<'_>, root: &Path) -> Option<Webhook> {
    let doc = table.doc;
    let url = read_url(&mut table);
    let text = |(name, value): reader::Entry<'_>| match value.get_ref().as_str() {
        Some(text) if is_header(name.get_ref(), text) => Some((name.into_inner(), text.to_string())),
        _ => {
            doc.wrong(value.span(), format!("`{}` is no header of HTTP", name.get_ref()));
            None
        }
    };
    let headers = table.entries(WebhookKeys::HEADERS).into_iter().filter_map(text).collect();
    let body = table.value(WebhookKeys::BODY).map(|value| {
        let body = reader::json(doc, value);
        if let Err(why) = fill(&body, &sample()) {
            doc.report(value.span(), format!("`body`: {why}"), format!("known: {}", WORDS.join(", ")));
        }
        body
    });
    let secret = secret(&mut table, WebhookKeys::SECRET_FILE);
    let ca = table.get(WebhookKeys::CA).map(|path| root.join(path.into_inner()));
    table.finish();
    Some(Webhook { url: url?, headers, body, secret, ca })
}

/// The URL itself, or from a file if it contains a key, as those of chats do.
fn read_url(table: &mut Reader<'_>) -> Option<Secret> {
    let written = table.get(WebhookKeys::URL);
    let kept = secret(table, WebhookKeys::URL_FILE);
    if written.is_some() == table.value(WebhookKeys::URL_FILE).is_some() {
        table.doc.wrong(table.span.clone(), "`webhook` needs either `url` or `url_file`");
        return None;
    }
    let span = written.as_ref().map(Spanned::span);
    let url = kept.or_else(|| Secret::new(written?.into_inner()).ok());
    if url.as_ref().is_none_or(|url| !is_url(url.expose())) {
        let hint = "such as https://chat.example.com/hook".to_string();
        table.doc.report(span.or(table.span.clone()), "the URL is no address of HTTP", hint);
    }
    url
}

fn is_url(url: &str) -> bool {
    let uri = url.parse::<hyper::Uri>();
    uri.is_ok_and(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")))
}

fn is_header(name: &str, value: &str) -> bool {
    hyper::header::HeaderName::try_from(name).is_ok() && hyper::header::HeaderValue::from_str(value).is_ok()
}

/// Every field that a body may use.
fn sample() -> Vars {
    WORDS.iter().map(|word| (word.to_string(), "".into())).collect()
}

/// A secret is in a separate file, never in `rollcall.toml`.
fn secret(table: &mut Reader<'_>, key: Key<Text>) -> Option<Secret> {
    let path = table.get(key)?;
    let read = table.doc.sources.read(&Origin::File(path.get_ref().clone()));
    let read = read.and_then(|text| Secret::new(text.as_str()).map_err(Into::into));
    match read {
        Ok(secret) => Some(secret),
        Err(trouble) => {
            table.doc.report(path.span(), format!("`{}`: {}", key.name, trouble.why), trouble.hint);
            None
        }
    }
}
