//! `checks/NAME.toml`: one check set. `probes` reads the probe of each check.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::fields::{LimitKeys, limits, nothing_asserted};
use super::probes::{self, MetricKeys, ProbeKeys, RunKeys};
use super::watching::{self, RhythmKeys};
use crate::config::checks::fields::{Common, required_text};
use crate::config::text::diagnostic::Doc;
use crate::config::text::hints::did_you_mean;
use crate::config::text::keys::{Choice, In, Key, ListOf, Or, Text, Threshold, Time, Whole, table, words};
use crate::config::text::reader::{self, Reader};
use crate::domain::base::range::Limits;
use crate::domain::check::across::{self, Across, AcrossRule, Scope};
use crate::domain::check::check::{Check, From, Retry, UnknownIs};
use crate::domain::check::id::CheckId;
use crate::domain::check::probe::Probe;
use crate::domain::value::template;

table! {
    /// A set of checks, named after the file: groups name it in `checks`. The keys of a schedule are for all checks of the set
    /// without a schedule of their own.
    pub SetKeys "Checks" [RhythmKeys] {
        CHECK "check": ListOf<In<CheckKeys>>; needed,
    }

    /// A condition on a host, or across hosts: one kind of probe, and the expected result. A range is in Nagios'
    /// syntax: `10`, `10:`, `~:10`, `10:20`, `@10:20`.
    pub CheckKeys "Check" [RhythmKeys, ProbeKeys, RunKeys, MetricKeys, LimitKeys] {
        /// Its name in results and messages; unique in the set.
        NAME "name": Text; needed,
        /// For one probe.
        TIMEOUT "timeout": Time = Duration::from_secs(10),
        /// Repeats the probe until it succeeds or its time is over. Default: one probe.
        RETRY "retry": In<RetryKeys>,
        /// Where the probe runs: `host`, `daemon` (the machine of rollcall), or `group:NAME`, each host of a group.
        FROM "from": Text = "host",
        /// How a probe without a result counts.
        UNKNOWN_IS "unknown_is": Choice<UnknownIsWords> = UnknownIs::Unknown,
        /// All hosts must have the same result: those of the `group` of each host, or those of a selector.
        SAME_ACROSS "same_across": Text,
        /// The largest distance of a host from the median of all: `10%`.
        WITHIN "within": Text,
        /// A range for the sum over all hosts, or a table of `warning` and `critical`.
        SUM "sum": TotalLimits,
        /// The same for the smallest number.
        MIN "min": TotalLimits,
        /// The same for the largest number.
        MAX "max": TotalLimits,
        /// The same for how many hosts are ok.
        COUNT "count": TotalLimits,
        /// The host with which all others must agree; or a table of `host`, and `warning` and `critical` for how far
        /// they may be behind.
        LEADER "leader": Or<Text, In<LeaderKeys>>,
        /// Which hosts are compared: `group`, the group of each host, or a selector.
        ACROSS "across": Text = "group",
    }

    /// The host with which all others must agree, and how far they may be behind.
    pub LeaderKeys "Leader" [LimitKeys] {
        HOST "host": Text; needed,
    }

    /// Repeats a probe.
    pub RetryKeys "Retry" {
        /// Between two probes.
        INTERVAL "interval": Time = Retry::DEFAULT.interval,
        /// No probe starts after this time; with `"0s"` there is one probe.
        DEADLINE "deadline": Time = Retry::DEFAULT.deadline,
        /// Successful probes in a row that are needed.
        SUCCESSES "successes": Whole<1> = Retry::DEFAULT.successes,
    }
}

words! {
    /// How a probe without a result counts.
    pub UnknownIsWords: UnknownIs {
        "critical" = UnknownIs::Critical,
        "warning" = UnknownIs::Warning,
        "unknown" = UnknownIs::Unknown,
    }
}

/// A range for a number of all hosts, or two.
type TotalLimits = Or<Threshold, In<LimitKeys>>;

/// The rules for a number of all hosts.
const TOTALS: [(Key<TotalLimits>, across::Total); 4] = [
    (CheckKeys::SUM, across::Total::Sum),
    (CheckKeys::MIN, across::Total::Min),
    (CheckKeys::MAX, across::Total::Max),
    (CheckKeys::COUNT, across::Total::Count),
];

/// The keys of which a check has at most one.
const RULES: [&str; 7] = [
    CheckKeys::SAME_ACROSS.name,
    CheckKeys::WITHIN.name,
    CheckKeys::SUM.name,
    CheckKeys::MIN.name,
    CheckKeys::MAX.name,
    CheckKeys::COUNT.name,
    CheckKeys::LEADER.name,
];

/// The names that a check set may use.
pub struct SetScope<'a> {
    /// Names that its templates must not use.
    pub secrets: BTreeSet<String>,
    /// The known groups; `None` if a file could not be read.
    pub groups: Option<&'a BTreeSet<String>>,
}

/// Reads one check set.
pub fn read(doc: Doc<'_>, set: &str, around: &SetScope<'_>) -> Vec<Check> {
    let (doc, table) = reader::parse(doc);
    table.values().for_each(|value| refuse_secrets(doc, value, &around.secrets));
    let mut file = Reader::of::<SetKeys>(doc, "a set of checks", (&table, None));
    let tables = file.required_list(SetKeys::CHECK, "a check");
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
    (around, of_set): (&SetScope<'_>, &watching::RhythmSettings),
) -> (Option<Spanned<String>>, Option<Check>) {
    let name = table.required(CheckKeys::NAME);
    let timeout = table.positive(CheckKeys::TIMEOUT, "no check would ever be done");
    let retry = table.get(CheckKeys::RETRY).map(read_retry).unwrap_or_default();
    let from = read_from(&mut table, around);
    let unknown_is = table.or_default(CheckKeys::UNKNOWN_IS);
    let across = read_across(&mut table);
    let limits = limits(&mut table);
    let common = Common { limits, is_compared: across.is_some(), from_elsewhere: from != From::Host };
    let probe = probes::read(&mut table, common);
    let watching = watching::read(&mut table, of_set);
    table.finish();
    let timeout = timeout.unwrap_or(CheckKeys::TIMEOUT.default);
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

fn read_from(table: &mut Reader<'_>, around: &SetScope<'_>) -> From {
    let Some(text) = table.get(CheckKeys::FROM) else { return From::Host };
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
    let there: Vec<&str> = RULES.into_iter().filter(|key| table.key_span(key).is_some()).collect();
    let same = table.get(CheckKeys::SAME_ACROSS).map(|scope| (AcrossRule::Same, Some(scope)));
    let within = percent(table).map(|percent| (AcrossRule::Within { percent }, None));
    let total = TOTALS
        .into_iter()
        .filter_map(|(key, of)| Some((AcrossRule::Total { of, limits: own_limits(table, key)? }, None)));
    let mut found: Vec<(AcrossRule, Option<Spanned<String>>)> = total.collect();
    found.extend(read_leader(table).map(|rule| (rule, None)));
    let scope = table.get(CheckKeys::ACROSS);
    if let [first, second, ..] = there[..] {
        table.doc.wrong(table.key_span(second), format!("a check cannot have both `{first}` and `{second}`"));
    }
    let rule = same.or(within).or(found.pop());
    if rule.is_none() && there.is_empty() && scope.is_some() {
        let hint = format!("known: {}", RULES.join(", "));
        let message = "`across` says which hosts are compared, and nothing says how".to_string();
        table.doc.report(table.key_span(CheckKeys::ACROSS.name), message, hint);
    }
    let (rule, own_scope) = rule?;
    let default = || CheckKeys::ACROSS.default.to_string();
    let selector = own_scope.or(scope).map_or_else(default, Spanned::into_inner);
    let scope = if selector == CheckKeys::ACROSS.default { Scope::Group } else { Scope::Selected(selector) };
    Some(Across { scope, rule })
}

/// Reads `within = "10%"`.
fn percent(table: &mut Reader<'_>) -> Option<f64> {
    let text = table.get(CheckKeys::WITHIN)?;
    let number = text.get_ref().trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|number| number.is_finite() && *number >= 0.0);
    if number.is_none() {
        let message = format!("`within`: `{}` is no percentage", text.get_ref());
        table.doc.report(text.span(), message, "write it as \"10%\" of the median of all".to_string());
    }
    number
}

/// One range, which is then the critical one, or a table of both.
fn own_limits(table: &mut Reader<'_>, key: Key<TotalLimits>) -> Option<Limits> {
    let value = table.value(key)?;
    let limits = match value.get_ref() {
        DeValue::Table(_) => {
            let mut inner = table.get(key.second())?;
            let limits = limits(&mut inner);
            inner.finish();
            limits
        }
        _ => Limits { warning: None, critical: table.get(key.first()) },
    };
    if limits.assert_nothing() {
        nothing_asserted(table, key.name, "give it a range: critical = \"10:\"");
    }
    Some(limits)
}

/// `leader = "db1"`, or with limits for how far the leader may be ahead.
fn read_leader(table: &mut Reader<'_>) -> Option<AcrossRule> {
    let value = table.value(CheckKeys::LEADER)?;
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        return required_text(table, CheckKeys::LEADER.first())
            .map(|host| AcrossRule::Leader { host, limits: None });
    }
    let mut inner = table.get(CheckKeys::LEADER.second())?;
    let host = required_text(&mut inner, LeaderKeys::HOST);
    let limits = limits(&mut inner);
    inner.finish();
    let limits = (limits != Limits::default()).then_some(limits);
    Some(AcrossRule::Leader { host: host?, limits })
}

fn read_retry(mut table: Reader<'_>) -> Retry {
    let retry = Retry {
        interval: table
            .positive(RetryKeys::INTERVAL, "the host would be asked without a pause")
            .unwrap_or(RetryKeys::INTERVAL.default),
        deadline: table.or_default(RetryKeys::DEADLINE),
        successes: table.or_default(RetryKeys::SUCCESSES),
    };
    table.finish();
    retry
}
