//! `checks/NAME.toml`: one check set. `probes` reads the probe of each check.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::fields::{limits, nothing_asserted, range};
use super::probes::{self};
use super::watching;
use crate::config::checks::fields::{Common, required_text};
use crate::config::text::diagnostic::Doc;
use crate::config::text::hints::did_you_mean;
use crate::config::text::reader::{self, Reader};
use crate::domain::base::range::Limits;
use crate::domain::check::across::{Across, Rule, Scope, Total};
use crate::domain::check::check::{Check, From, Retry, UnknownIs};
use crate::domain::check::id::CheckId;
use crate::domain::check::probe::Probe;
use crate::domain::value::template;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The names that a check set may use.
pub struct Around<'a> {
    /// Names that its templates must not use.
    pub secrets: BTreeSet<String>,
    /// The known groups; `None` if a file could not be read.
    pub groups: Option<&'a BTreeSet<String>>,
}

/// Reads one check set.
pub fn read(doc: Doc<'_>, set: &str, around: &Around<'_>) -> Vec<Check> {
    let (doc, table) = reader::parse(doc);
    table.values().for_each(|value| refuse_secrets(doc, value, &around.secrets));
    let mut file = Reader::new(doc, "a set of checks", &table, None);
    let tables = file.required_tables("check", "a check");
    let watching = watching::read_set(&mut file);
    file.finish();
    let mut names = BTreeSet::new();
    let mut checks = Vec::new();
    for table in tables {
        let (name, check) = read_check(table, (around, &watching));
        if let Some(name) = name.filter(|name| !names.insert(name.get_ref().clone())) {
            doc.wrong(name.span(), format!("two checks are called `{}`", name.get_ref()));
        }
        checks.extend(check.map(|check| Check { set: set.into(), ..check }));
    }
    checks
}

/// Expectations and observations of checks are printed, so they must not use secrets.
fn refuse_secrets(doc: Doc<'_>, value: &Spanned<DeValue<'_>>, secrets: &BTreeSet<String>) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|value| refuse_secrets(doc, value, secrets)),
        DeValue::Array(items) => items.iter().for_each(|value| refuse_secrets(doc, value, secrets)),
        DeValue::String(text) => {
            for name in template::names_used(text).iter().filter(|name| secrets.contains(*name)) {
                let message =
                    format!("a check cannot read the secret `{name}`: what checks ask and see is shown");
                let hint = "let a script on the host read it from a file of its own".to_string();
                doc.report(value.span(), message, hint);
            }
        }
        _ => {}
    }
}

/// Returns the name and the check separately: the name is known even if the check is wrong.
fn read_check(
    mut table: Reader<'_>,
    (around, of_set): (&Around<'_>, &watching::Words),
) -> (Option<Spanned<String>>, Option<Check>) {
    let name = table.required("name");
    let timeout = table.positive_duration("timeout", "no check would ever be done");
    let retry = table.table("retry", "`retry`").map(read_retry).unwrap_or_default();
    let from = read_from(&mut table, around);
    let unknown_is = unknown_is(&mut table).unwrap_or_default();
    let across = read_across(&mut table);
    let limits = limits(&mut table);
    let common = Common { limits, is_compared: across.is_some(), from_elsewhere: from != From::Host };
    let probe = probes::read(&mut table, common);
    let watching = watching::read(&mut table, of_set);
    table.finish();
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    let check = |name: Spanned<String>, probe: Probe| Check {
        retry,
        from: from.clone(),
        unknown_is,
        across: across.clone(),
        watching: watching.clone(),
        ..Check::new(&CheckId::new("", name.get_ref()), probe, timeout)
    };
    let read = name.clone().zip(probe).map(|(name, probe)| check(name, probe));
    (name, read)
}

/// How an unknown verdict counts.
pub fn unknown_is(table: &mut Reader<'_>) -> Option<UnknownIs> {
    let words =
        [("critical", UnknownIs::Critical), ("warning", UnknownIs::Warning), ("unknown", UnknownIs::Unknown)];
    table.one_of("unknown_is", &words)
}

fn read_from(table: &mut Reader<'_>, around: &Around<'_>) -> From {
    let Some(text) = table.string("from") else { return From::Host };
    match text.get_ref().as_str() {
        "host" => return From::Host,
        "daemon" => return From::Daemon,
        _ => {}
    }
    let Some(group) = text.get_ref().strip_prefix("group:") else {
        let hint = "write \"host\", \"daemon\", or \"group:lb\" with the name of a group".to_string();
        table.doc.report(text.span(), format!("`from` cannot be `{}`", text.get_ref()), hint);
        return From::Host;
    };
    let is_it =
        |known: &String| known == group || known.strip_suffix(group).is_some_and(|rest| rest.ends_with('.'));
    if let Some(groups) = around.groups.filter(|groups| !groups.iter().any(is_it)) {
        let guess = did_you_mean(group, groups.iter().map(String::as_str));
        table.doc.wrong(text.span(), format!("`from`: no group is called `{group}`{guess}"));
    }
    From::Group(group.into())
}

/// At most one rule for a comparison.
fn read_across(table: &mut Reader<'_>) -> Option<Across> {
    let keys = ["same_across", "within", "sum", "min", "max", "count", "leader"];
    let there: Vec<&str> = keys.into_iter().filter(|key| table.key_span(key).is_some()).collect();
    let same = table.string("same_across").map(|scope| (Rule::Same, Some(scope)));
    let within = percent(table).map(|percent| (Rule::Within { percent }, None));
    let totals = [("sum", Total::Sum), ("min", Total::Min), ("max", Total::Max), ("count", Total::Count)];
    let total = totals
        .into_iter()
        .filter_map(|(key, of)| Some((Rule::Total { of, limits: own_limits(table, key)? }, None)));
    let mut found: Vec<(Rule, Option<Spanned<String>>)> = total.collect();
    found.extend(read_leader(table).map(|rule| (rule, None)));
    let scope = table.string("across");
    if let [first, second, ..] = there[..] {
        table.doc.wrong(table.key_span(second), format!("a check cannot have both `{first}` and `{second}`"));
    }
    let rule = same.or(within).or(found.pop());
    if rule.is_none() && there.is_empty() && scope.is_some() {
        let hint = format!("known: {}", keys.join(", "));
        let message = "`across` says which hosts are compared, and nothing says how".to_string();
        table.doc.report(table.key_span("across"), message, hint);
    }
    let (rule, own_scope) = rule?;
    let scope = own_scope.or(scope).map(Spanned::into_inner);
    let scope = match scope.as_deref() {
        None | Some("group") => Scope::Group,
        Some(selector) => Scope::Selected(selector.into()),
    };
    Some(Across { scope, rule })
}

/// Reads `within = "10%"`.
fn percent(table: &mut Reader<'_>) -> Option<f64> {
    let text = table.string("within")?;
    let number = text.get_ref().trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|number| number.is_finite() && *number >= 0.0);
    if number.is_none() {
        let message = format!("`within`: `{}` is no percentage", text.get_ref());
        table.doc.report(text.span(), message, "write it as \"10%\" of the median of all".to_string());
    }
    number
}

/// One range, which is then the critical one, or a table of both.
fn own_limits(table: &mut Reader<'_>, key: &'static str) -> Option<Limits> {
    let value = table.value(key)?;
    let limits = match value.get_ref() {
        DeValue::Table(_) => {
            let mut inner = table.table(key, format!("`{key}`"))?;
            let limits = limits(&mut inner);
            inner.finish();
            limits
        }
        _ => Limits { warning: None, critical: range(table, key) },
    };
    if limits.assert_nothing() {
        nothing_asserted(table, key, "give it a range: critical = \"10:\"");
    }
    Some(limits)
}

/// `leader = "db1"`, or with limits for how far the leader may be ahead.
fn read_leader(table: &mut Reader<'_>) -> Option<Rule> {
    let value = table.value("leader")?;
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        return required_text(table, "leader").map(|host| Rule::Leader { host, limits: None });
    }
    let mut inner = table.table("leader", "`leader`")?;
    let host = required_text(&mut inner, "host");
    let limits = limits(&mut inner);
    inner.finish();
    let limits = (limits != Limits::default()).then_some(limits);
    Some(Rule::Leader { host: host?, limits })
}

fn read_retry(mut table: Reader<'_>) -> Retry {
    let default = Retry::default();
    let retry = Retry {
        interval: table
            .positive_duration("interval", "the host would be asked without a pause")
            .unwrap_or(default.interval),
        deadline: table.duration("deadline").unwrap_or(default.deadline),
        successes: table.number("successes", 1, u32::MAX).unwrap_or(default.successes),
    };
    table.finish();
    retry
}
