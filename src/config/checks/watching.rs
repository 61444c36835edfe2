//! The schedule of checks: `every` or `cron`, and the keys that go with them, of one check or of a whole set; and
//! `[schedule]` in `rollcall.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::text::diagnostic::Doc;
use crate::config::text::hints::{did_you_mean, known_names};
use crate::config::text::keys::{Flag, In, KeptTime, Text, Texts, Time, Whole, table};
use crate::config::text::reader::{Reader, strings};
use crate::domain::base::schedule::{MAX_ATTEMPTS, Rhythm, Watching};
use crate::domain::check::id::CheckId;
use crate::domain::watch::subject::REACHABLE;
use crate::domain::watch::watched::Flapping;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

table! {
    /// When a check is probed by itself.
    pub RhythmKeys "Rhythm" {
        /// The time between two probes. Without it and `cron`, only runs and operators probe the check.
        EVERY "every": Time,
        /// The same as a line of cron: five fields, or `@hourly` and its like, in the time zone of `[schedule]`.
        CRON "cron": Text,
        /// Failed probes in a row before the check alerts.
        MAX_ATTEMPTS "max_attempts": Whole<1, 100> = MAX_ATTEMPTS,
        /// Between those probes. Default: `every`, and at most `"1m"`.
        RETRY_INTERVAL "retry_interval": Time,
        /// Checks of the same host: while one of them is not ok, this one does not alert.
        DEPENDS_ON "depends_on": Texts,
    }

    /// How checks with `every` or `cron` are probed.
    pub ScheduleKeys "Schedule" {
        ENABLED "enabled": Flag = true,
        /// Probes at the same time.
        PARALLEL "parallel": Whole<1, 4096> = 64,
        /// Probes of one host at the same time.
        PER_HOST "per_host": Whole<1, 64> = 2,
        /// Of cron lines and digests: `"Europe/Berlin"`.
        TIME_ZONE "time_zone": Text = "UTC",
        FLAPPING "flapping": In<FlappingKeys>,
        KEEP "keep": In<KeepKeys>,
    }

    /// When a check changes too often for an alert each time: the percentage of changes among its last 21 probes, newer ones
    /// weighted more.
    pub FlappingKeys "Flapping" {
        /// Flapping starts above this.
        HIGH "high": Whole<1, 100> = Flapping::DEFAULT.high,
        /// Flapping ends below this.
        LOW "low": Whole<0, 100> = Flapping::DEFAULT.low,
    }

    /// How long history is kept; days are written `2d`.
    pub KeepKeys "Keep" {
        /// Single probes.
        SAMPLES "samples": KeptTime = DAY.saturating_mul(2),
        /// Changes of verdicts, with their texts.
        CHANGES "changes": KeptTime = DAY.saturating_mul(90),
    }
}

/// Settings of the schedule: `[schedule]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub enabled: bool,
    /// Most probes at the same time, and on one host.
    pub parallel: usize,
    pub per_host: usize,
    /// The time zone of cron lines.
    pub time_zone: TimeZone,
    pub flapping: Flapping,
    /// How long probes are kept, and changes.
    pub keep_samples: Duration,
    pub keep_changes: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            enabled: ScheduleKeys::ENABLED.default,
            parallel: size(ScheduleKeys::PARALLEL.default),
            per_host: size(ScheduleKeys::PER_HOST.default),
            time_zone: TimeZone::UTC,
            flapping: Flapping::default(),
            keep_samples: KeepKeys::SAMPLES.default,
            keep_changes: KeepKeys::CHANGES.default,
        }
    }
}

/// The schedule keys of a set or of a check.
#[derive(Default)]
pub struct RhythmSettings {
    rhythm: Option<Rhythm>,
    /// `every` or `cron` is present, right or wrong.
    named: bool,
    max_attempts: Option<u32>,
    retry_interval: Option<Duration>,
    depends_on: Option<Vec<String>>,
}

/// The keys of a set, for all of its checks.
pub fn read_set(file: &mut Reader<'_>) -> RhythmSettings {
    read_words(file)
}

/// The schedule of a check: its own keys, and those of its set for missing ones.
pub fn read(table: &mut Reader<'_>, set: &RhythmSettings) -> Option<Arc<Watching>> {
    let own = read_words(table);
    let Some(rhythm) = own.rhythm.or_else(|| set.rhythm.clone()) else {
        let given =
            [RhythmKeys::MAX_ATTEMPTS.name, RhythmKeys::RETRY_INTERVAL.name, RhythmKeys::DEPENDS_ON.name]
                .into_iter()
                .find_map(|key| table.key_span(key));
        if let Some(span) = given.filter(|_| !own.named && !set.named) {
            let message = "this is for checks with a schedule, and this check has none";
            table.doc.report(
                span,
                message.to_string(),
                "write every = \"5m\", or cron = \"7 3 * * *\"".to_string(),
            );
        }
        return None;
    };
    let of_rhythm = rhythm.retry_interval();
    Some(Arc::new(Watching {
        max_attempts: own.max_attempts.or(set.max_attempts).unwrap_or(RhythmKeys::MAX_ATTEMPTS.default),
        retry_interval: own.retry_interval.or(set.retry_interval).unwrap_or(of_rhythm),
        depends_on: own.depends_on.or_else(|| set.depends_on.clone()).unwrap_or_default(),
        rhythm,
    }))
}

fn read_words(table: &mut Reader<'_>) -> RhythmSettings {
    let every = table.positive(RhythmKeys::EVERY, "it would be probed without a pause").map(Rhythm::Every);
    let cron = table.get(RhythmKeys::CRON).and_then(|line| {
        let wrong = |why: String| {
            let hint = "five fields, such as \"7 3 * * *\" for 3:07 each day, or @hourly".to_string();
            table.doc.report(line.span(), format!("`cron`: {why}"), hint);
        };
        Rhythm::cron(line.get_ref()).map_err(wrong).ok()
    });
    let (has_every, cron_span) =
        (table.key_span(RhythmKeys::EVERY.name).is_some(), table.key_span(RhythmKeys::CRON.name));
    let named = has_every || cron_span.is_some();
    if has_every && cron_span.is_some() {
        table.doc.wrong(cron_span, "a check cannot have both `every` and `cron`");
    }
    let depends_on = table.get(RhythmKeys::DEPENDS_ON);
    RhythmSettings {
        rhythm: every.or(cron),
        named,
        max_attempts: table.get(RhythmKeys::MAX_ATTEMPTS),
        retry_interval: table
            .positive(RhythmKeys::RETRY_INTERVAL, "a problem would be probed without a pause"),
        depends_on: depends_on.map(|names| names.into_iter().map(Spanned::into_inner).collect()),
    }
}

/// Reads `[schedule]`.
pub fn read_schedule(mut table: Reader<'_>) -> Schedule {
    let default = Schedule::default();
    let flapping = table.get(ScheduleKeys::FLAPPING).map(read_flapping).unwrap_or_default();
    let (keep_samples, keep_changes) =
        table.get(ScheduleKeys::KEEP).map(read_keep).unwrap_or((default.keep_samples, default.keep_changes));
    let schedule = Schedule {
        enabled: table.or_default(ScheduleKeys::ENABLED),
        parallel: size(table.or_default(ScheduleKeys::PARALLEL)),
        per_host: size(table.or_default(ScheduleKeys::PER_HOST)),
        time_zone: table
            .get(ScheduleKeys::TIME_ZONE)
            .and_then(|name| time_zone(table.doc, &name))
            .unwrap_or(default.time_zone),
        flapping,
        keep_samples,
        keep_changes,
    };
    table.finish();
    schedule
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The zone of that name.
pub fn time_zone(doc: Doc<'_>, name: &Spanned<String>) -> Option<TimeZone> {
    let found = TimeZone::get(name.get_ref()).ok();
    if found.is_none() {
        let message = format!("`{}` is no time zone that this machine knows", name.get_ref());
        doc.report(name.span(), message, "such as \"UTC\" or \"Europe/Berlin\"".to_string());
    }
    found
}

fn read_flapping(mut table: Reader<'_>) -> Flapping {
    let high = table.or_default(FlappingKeys::HIGH);
    let low = table.get(FlappingKeys::LOW).unwrap_or(FlappingKeys::LOW.default.min(high));
    if low > high {
        let span = table.key_span(FlappingKeys::LOW.name);
        table.doc.wrong(span, "`low` is above `high`: flapping would never end");
    }
    table.finish();
    Flapping { high, low }
}

fn read_keep(mut table: Reader<'_>) -> (Duration, Duration) {
    let kept = (table.or_default(KeepKeys::SAMPLES), table.or_default(KeepKeys::CHANGES));
    table.finish();
    kept
}

/// A name in `depends_on` must exist, must be one check on each host, and must not form a cycle: two checks that
/// wait for each other would never alert. Files that cannot be read are reported elsewhere. `together` are the
/// check sets of each host.
pub fn check_dependencies(sets: &[(&str, Doc<'_>)], together: &BTreeSet<&[String]>) {
    let parsed: Vec<(&str, Doc<'_>, DeTable<'_>)> = sets
        .iter()
        .filter_map(|(set, doc)| {
            let (table, errors) = DeTable::parse_recoverable(doc.text);
            errors.is_empty().then(|| (*set, *doc, table.into_inner()))
        })
        .collect();
    let all_read = parsed.len() == sets.len();
    let checks: Vec<DependentCheck> =
        parsed.iter().flat_map(|(set, doc, table)| named(set, *doc, table)).collect();
    let known: BTreeSet<&str> = checks.iter().map(|check| &*check.id.name).chain([REACHABLE]).collect();
    let mut graph: BTreeMap<&CheckId, BTreeSet<&CheckId>> = BTreeMap::new();
    for check in &checks {
        for on in &check.depends_on {
            let word = on.get_ref().as_str();
            let found = meant(&check.id, word, &checks);
            if found.is_empty() && word != REACHABLE && all_read {
                let guess = did_you_mean(word, known.iter().copied());
                let message = format!("`depends_on`: no check is called `{word}`{guess}");
                check.doc.report(on.span(), message, known_names(known.iter().copied().collect()));
            }
            if let Some(sets) = together.iter().find(|sets| several_on(sets, &check.id, &found)) {
                let here: Vec<String> =
                    found.iter().filter(|id| has(sets, id)).map(|id| id.to_string()).collect();
                let message = format!("`depends_on`: `{word}` is ambiguous: {}", here.join(", "));
                check.doc.report(on.span(), message, "write one of them".to_string());
            }
            graph.entry(&check.id).or_default().extend(found);
        }
    }
    for check in &checks {
        for on in &check.depends_on {
            let next = meant(&check.id, on.get_ref(), &checks);
            if next.iter().any(|id| leads_to(&graph, id, &check.id)) {
                let message = format!("`{}` and `{}` wait for each other", check.id.name, on.get_ref());
                let hint = "if both fail, neither would alert: remove one of the two".to_string();
                check.doc.report(on.span(), message, hint);
            }
        }
    }
}

/// The checks that a word of `depends_on` names: by its full name; the one in the same set; or all of that name, of
/// which a host may have one.
fn meant<'c>(of: &CheckId, word: &str, checks: &'c [DependentCheck<'_>]) -> BTreeSet<&'c CheckId> {
    let all = |is_it: &dyn Fn(&CheckId) -> bool| -> BTreeSet<&'c CheckId> {
        checks.iter().map(|check| &check.id).filter(|id| is_it(id)).collect()
    };
    let whole = |id: &CheckId| id.is_written(word);
    let beside = |id: &CheckId| id.set == of.set && &*id.name == word;
    let bare = |id: &CheckId| &*id.name == word;
    let ways: [&dyn Fn(&CheckId) -> bool; 3] = [&whole, &beside, &bare];
    ways.into_iter().map(all).find(|found| !found.is_empty()).unwrap_or_default()
}

fn several_on(sets: &[String], of: &CheckId, found: &BTreeSet<&CheckId>) -> bool {
    has(sets, of) && found.iter().filter(|id| has(sets, id)).count() > 1
}

fn has(sets: &[String], id: &CheckId) -> bool {
    sets.iter().any(|set| **set == *id.set)
}

/// A check with its `depends_on`, if present.
struct DependentCheck<'t> {
    doc: Doc<'t>,
    id: CheckId,
    depends_on: Vec<Spanned<String>>,
}

fn named<'t>(set: &str, doc: Doc<'t>, table: &DeTable<'t>) -> Vec<DependentCheck<'t>> {
    // A wrong type is reported where the key is read.
    let quiet = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::String(_) => strings(doc, RhythmKeys::DEPENDS_ON.name, value),
        DeValue::Array(items) if items.iter().all(|item| item.get_ref().is_str()) => {
            strings(doc, RhythmKeys::DEPENDS_ON.name, value)
        }
        _ => Vec::new(),
    };
    let of_set = table.get(RhythmKeys::DEPENDS_ON.name).map(quiet).unwrap_or_default();
    let checks = table.get("check").and_then(|checks| checks.get_ref().as_array());
    let tables =
        checks.into_iter().flat_map(|checks| checks.iter().filter_map(|check| check.get_ref().as_table()));
    let named = tables.filter_map(|check| {
        let id = CheckId::new(set, check.get("name")?.get_ref().as_str()?);
        let own = check.get(RhythmKeys::DEPENDS_ON.name).map(quiet);
        Some(DependentCheck { doc, id, depends_on: own.unwrap_or_else(|| of_set.clone()) })
    });
    named.collect()
}

fn leads_to(graph: &BTreeMap<&CheckId, BTreeSet<&CheckId>>, from: &CheckId, to: &CheckId) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(id) = next.pop() {
        if id == to {
            return true;
        }
        if seen.insert(id) {
            next.extend(graph.get(id).into_iter().flatten());
        }
    }
    false
}
