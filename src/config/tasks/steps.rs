//! The steps of a task: `[[steps]]`, `[[handlers]]`, `[[rollback]]` and `undo`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::bodies::{self, StepKinds};
use super::fields::{required, text};
use super::keys::{Condition, PasswordKeys, StepKeys, StepList, TaskKeys};
use crate::config::text::diagnostic::Doc;
use crate::config::text::keys::Key;
use crate::config::text::reader::{self, Reader};
use crate::config::text::templates::{self, Known};
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::task::result::RESULT;
use crate::domain::task::task::{DeadMan, Each, Step, StepBody, Sudo, Written};
use crate::domain::value::template;

/// Keys that decide how a run executes a step; for a call of another task its own steps have them.
const NOT_OF_CALLS: [&str; 18] = [
    StepKeys::CHANGED_WHEN.name,
    StepKeys::CREATES.name,
    StepKeys::DEAD_MAN.name,
    StepKeys::DELAY.name,
    StepKeys::ENV.name,
    StepKeys::FAILED_WHEN.name,
    StepKeys::DIR.name,
    StepKeys::REGISTER.name,
    StepKeys::REMOVES.name,
    StepKeys::REPEATABLE.name,
    StepKeys::RETRIES.name,
    StepKeys::RUN_ONCE.name,
    StepKeys::SUDO.name,
    StepKeys::THROTTLE.name,
    StepKeys::TIMEOUT.name,
    StepKeys::UNDO.name,
    StepKeys::UNLESS.name,
    StepKeys::UNTIL.name,
];

/// Keys that handlers do not have.
const NOT_OF_HANDLERS: [&str; 6] = [
    StepKeys::TAGS.name,
    StepKeys::LOOP.name,
    StepKeys::UNDO.name,
    StepKeys::NOTIFY.name,
    StepKeys::RUN_ONCE.name,
    StepKinds::CONFIRM.name,
];

/// A list of steps, with the spans of names that other places refer to.
pub struct Steps {
    pub steps: Vec<Written>,
    /// The names of the steps.
    pub names: Vec<Spanned<String>>,
    pub named: ReferencedNames,
}

/// Names in steps that are defined elsewhere, with their spans.
#[derive(Default)]
pub struct ReferencedNames {
    pub handlers: Vec<Spanned<String>>,
    pub tasks: Vec<Spanned<String>>,
    pub checks: Vec<Spanned<String>>,
    /// Spans of keys that run a step on the daemon's machine.
    pub local: Vec<Range<usize>>,
}

impl ReferencedNames {
    pub fn extend(&mut self, other: ReferencedNames) {
        self.handlers.extend(other.handlers);
        self.tasks.extend(other.tasks);
        self.checks.extend(other.checks);
        self.local.extend(other.local);
    }
}

/// Reads a list of steps whose templates may use the names `known`. Names that a step registers are added to these.
pub fn read(file: &mut Reader<'_>, key: Key<StepList>, known: &mut Known) -> Steps {
    let [steps, handlers, rollback] =
        [TaskKeys::STEPS, TaskKeys::HANDLERS, TaskKeys::ROLLBACK].map(|list| list.name == key.name);
    let what = match (rollback, handlers) {
        (true, _) => "a rollback step",
        (_, true) => "a handler",
        _ => "a step",
    };
    let mut seen = BTreeSet::new();
    let mut all = Steps { steps: Vec::new(), names: Vec::new(), named: ReferencedNames::default() };
    let tables = match steps {
        true => file.required_list(key, what),
        false => file.list(key, what),
    };
    for table in tables {
        let doc = table.doc;
        if !steps {
            refuse_calls(&table);
        }
        if rollback {
            refuse_questions(&table);
        }
        if handlers {
            refuse_on_handlers(&table);
        }
        let (name, named, written) = read_written(table, known);
        if let Some(name) = &name {
            if !seen.insert(name.get_ref().clone()) {
                doc.wrong(name.span(), format!("two steps are called `{}`", name.get_ref()));
            }
            all.names.push(name.clone());
        }
        all.named.extend(named);
        if let Some(register) = written.as_ref().and_then(|written| written.step.register.clone()) {
            known.names.insert(register);
        }
        all.steps.extend(written);
    }
    all
}

type StepHead = (Option<Spanned<String>>, ReferencedNames, Option<Written>);

/// Returns the name and the step separately: the name is known even if the step is wrong.
fn read_written(mut table: Reader<'_>, known: &Known) -> StepHead {
    let on = text(&mut table, StepKeys::ON, known);
    let here = if on.as_deref() == Some(Endpoint::HERE) { table.key_span(StepKeys::ON.name) } else { None };
    let local = table.key_span(StepKinds::LOCAL.name).or(here).into_iter().collect();
    let each = read_loop(&mut table, known);
    let tags = table.get(StepKeys::TAGS).unwrap_or_default();
    let tags = tags.into_iter().map(Spanned::into_inner).collect();
    let handlers = table.get(StepKeys::NOTIFY).unwrap_or_default();
    let tasks = table.get(StepKinds::TASK).into_iter().collect();
    let checks = table.get(StepKinds::CHECK).into_iter().collect();
    let mut known = known.clone();
    if each.is_some() {
        known.names.insert("item".into());
    }
    let in_same_place = matches!(table.value(StepKeys::UNDO).map(Spanned::get_ref), Some(DeValue::String(_)));
    refuse_once_with_undo(&table);
    let undo = read_undo(&mut table, &known);
    let (name, step) = read_step(table, &known);
    let name_of = |name: &Spanned<String>| name.get_ref().clone();
    let written = step.map(|step| {
        let local = on.is_none() && step.at.as_ref().is_some_and(|at| at.here);
        let on = if local { Some(Endpoint::HERE.to_string()) } else { on };
        let notify = handlers.iter().map(name_of).collect();
        let place = |undo: Step| match in_same_place {
            true => Step { dir: step.dir.clone(), env: step.env.clone(), sudo: step.sudo.clone(), ..undo },
            false => undo,
        };
        let undo = undo.into_iter().map(place).collect();
        Written { step: Step { at: None, ..step }, on, each, tags, notify, undo }
    });
    (name, ReferencedNames { handlers, tasks, checks, local }, written)
}

/// `loop`: a list, or an expression that results in one.
fn read_loop(table: &mut Reader<'_>, known: &Known) -> Option<Each> {
    let doc = table.doc;
    let value = table.value(StepKeys::LOOP)?;
    match value.get_ref() {
        DeValue::String(text) => {
            let text = Spanned::new(value.span(), text.to_string());
            templates::expression(doc, StepKeys::LOOP.name, &text, known);
            Some(Each::Expression(text.into_inner()))
        }
        DeValue::Array(items) => {
            Some(Each::Items(items.iter().map(|item| reader::json(doc, item)).collect()))
        }
        _ => {
            let hint = "such as [\"a\", \"b\"], or the name of a var that holds one".to_string();
            doc.report(value.span(), "`loop` is a list, or an expression that is one", hint);
            None
        }
    }
}

/// `undo`: a script, or steps. With `dead_man` the host runs it by itself.
fn read_undo(table: &mut Reader<'_>, known: &Known) -> Vec<Step> {
    if table.key_span(StepKeys::DEAD_MAN.name).is_some() {
        return Vec::new();
    }
    match table.value(StepKeys::UNDO).map(Spanned::get_ref) {
        Some(DeValue::Array(_)) => {
            let tables = table.list(StepKeys::UNDO.second(), "a step back");
            tables.iter().for_each(refuse_calls);
            tables.iter().for_each(refuse_questions);
            for (doc, span) in
                tables.iter().filter_map(|table| Some((table.doc, table.key_span(StepKinds::LOCAL.name)?)))
            {
                doc.wrong(span, "a step back is done where its step was: `local` does not go with `undo`");
            }
            tables.into_iter().filter_map(|table| read_step(table, known).1).collect()
        }
        Some(_) => {
            let script = text(table, StepKeys::UNDO.first(), known);
            script.map(|script| Step::new("undo", StepBody::Run { script })).into_iter().collect()
        }
        None => Vec::new(),
    }
}

fn read_step(mut table: Reader<'_>, known: &Known) -> (Option<Spanned<String>>, Option<Step>) {
    let name = table.required(StepKeys::NAME);
    if let Some(name) = &name {
        templates::names(table.doc, StepKeys::NAME.name, name, known);
    }
    let body = bodies::read(&mut table, known);
    if matches!(body, Some(StepBody::Task { .. })) {
        refuse_on_calls(&table);
    }
    let is_local = table.key_span(StepKinds::LOCAL.name).is_some();
    let mut after = known.clone();
    after.names.insert(RESULT.into());
    let usual = Step::default();
    let timeout = table.positive(StepKeys::TIMEOUT, "no step would ever be done");
    let step = Step {
        when: condition(&mut table, StepKeys::WHEN, known),
        creates: text(&mut table, StepKeys::CREATES, known),
        removes: text(&mut table, StepKeys::REMOVES, known),
        unless: text(&mut table, StepKeys::UNLESS, known),
        dir: text(&mut table, StepKeys::DIR, known),
        env: read_env(&mut table, known),
        timeout: timeout.unwrap_or(StepKeys::TIMEOUT.default),
        retries: table.or_default(StepKeys::RETRIES),
        delay: table.or_default(StepKeys::DELAY),
        until: condition(&mut table, StepKeys::UNTIL, &after),
        changed_when: condition(&mut table, StepKeys::CHANGED_WHEN, &after),
        failed_when: condition(&mut table, StepKeys::FAILED_WHEN, &after),
        warn_only: table.or_default(StepKeys::WARN_ONLY),
        sudo: read_sudo(&mut table, known),
        repeatable: table.or_default(StepKeys::REPEATABLE),
        dead_man: read_dead_man(&mut table, known),
        register: read_register(&mut table, known),
        run_once: table.or_default(StepKeys::RUN_ONCE),
        throttle: table.get(StepKeys::THROTTLE),
        at: is_local.then(Endpoint::here),
        ..usual
    };
    needs_retries(&table, &step);
    keep_env_unseen(&table, body.as_ref(), &step, known);
    table.finish();
    let step = name.clone().zip(body).map(|(name, body)| Step { name: name.into_inner(), body, ..step });
    (name, step)
}

/// A handler is a single step, which runs for the steps that notify it.
fn refuse_on_handlers(table: &Reader<'_>) {
    for key in NOT_OF_HANDLERS {
        if let Some(span) = table.key_span(key) {
            table.doc.wrong(span, format!("`{key}` does not go with a handler"));
        }
    }
}

/// A rollback asks no operator: its host is out of rotation.
fn refuse_questions(table: &Reader<'_>) {
    if let Some(span) = table.key_span(StepKinds::CONFIRM.name) {
        table.doc.wrong(span, "a rollback cannot wait for an approval: `confirm` is for [[steps]]");
    }
}

/// Other hosts rely on the result of a `run_once` step, so its undo would break them.
fn refuse_once_with_undo(table: &Reader<'_>) {
    if let Some(span) =
        table.key_span(StepKeys::UNDO.name).filter(|_| table.key_span(StepKeys::RUN_ONCE.name).is_some())
    {
        table.doc.wrong(span, "`undo` does not go with `run_once`: other hosts go by what it did");
    }
}

/// Handlers and rollback steps are found by index: a called task would be several steps.
fn refuse_calls(table: &Reader<'_>) {
    if let Some(span) = table.key_span(StepKinds::TASK.name) {
        table.doc.report(span, "only [[steps]] can call a task", "write what it does as a step".to_string());
    }
}

fn refuse_on_calls(table: &Reader<'_>) {
    for key in NOT_OF_CALLS {
        if let Some(span) = table.key_span(key) {
            let hint = "write it to the steps of the task that is called".to_string();
            table.doc.report(span, format!("`{key}` does not go with `task`"), hint);
        }
    }
}

/// `until` without retries would be evaluated only once.
fn needs_retries(table: &Reader<'_>, step: &Step) {
    if step.until.is_some() && step.retries == 0 {
        let hint = "how many further attempts there may be; `delay` is the time between them".to_string();
        table.doc.report(table.key_span(StepKeys::UNTIL.name), "`until` needs `retries`", hint);
    }
}

/// Only the command of a step gets secrets in its environment: the programs of other steps, and guards, do not need them.
fn keep_env_unseen(table: &Reader<'_>, body: Option<&StepBody>, step: &Step, known: &Known) {
    let is_command = matches!(body, None | Some(StepBody::Run { .. } | StepBody::Script { .. }));
    if is_command && step.unless.is_none() {
        return;
    }
    let names = step.env.values().flat_map(|value| template::names_used(value));
    if let Some(name) = names.into_iter().find(|name| known.secrets.contains(name)) {
        let message =
            format!("`env` cannot read the secret `{name}` here: only the command of a step gets secrets");
        let hint = "secrets can stand in `env` of a `run` or `script` without `unless`".to_string();
        table.doc.report(table.key_span(StepKeys::ENV.name), message, hint);
    }
}

fn condition(table: &mut Reader<'_>, key: Key<Condition>, known: &Known) -> Option<String> {
    let doc = table.doc;
    let value = table.value(key)?;
    if let DeValue::Boolean(yes) = value.get_ref() {
        return Some(yes.to_string());
    }
    let text = table.get(key.second())?;
    templates::expression(doc, key.name, &text, known);
    Some(text.into_inner())
}

fn read_register(table: &mut Reader<'_>, known: &Known) -> Option<String> {
    let name = table.get(StepKeys::REGISTER)?;
    let doc = table.doc;
    if !crate::domain::base::name::is_identifier(name.get_ref()) {
        let message = format!("`{}` cannot name a result: no template could read it", name.get_ref());
        doc.report(name.span(), message, "use letters, digits and _".to_string());
    } else if known.names.contains(name.get_ref()) || name.get_ref() == RESULT {
        doc.wrong(name.span(), format!("`{}` is the name of something else already", name.get_ref()));
    }
    Some(name.into_inner())
}

fn read_env(table: &mut Reader<'_>, known: &Known) -> BTreeMap<String, String> {
    let doc = table.doc;
    let env = table.entries(StepKeys::ENV).into_iter().filter_map(|(name, value)| {
        let value = env_value(doc, &name, value, known)?;
        Some((name.into_inner(), value))
    });
    env.collect()
}

/// A variable of a step's environment: a string, or a number as written.
fn env_value(
    doc: Doc<'_>,
    name: &Spanned<String>,
    value: &Spanned<DeValue<'_>>,
    known: &Known,
) -> Option<String> {
    if !crate::domain::base::name::is_identifier(name.get_ref()) {
        doc.wrong(name.span(), format!("`{}` cannot name an environment variable", name.get_ref()));
    }
    match value.get_ref() {
        DeValue::String(text) => {
            let text = Spanned::new(value.span(), text.to_string());
            templates::environment(doc, name.get_ref(), &text, known);
            Some(text.into_inner())
        }
        DeValue::Integer(number) => Some(number.to_string()),
        _ => {
            doc.wrong(value.span(), format!("`{}` is a string or a whole number", name.get_ref()));
            None
        }
    }
}

/// `true`, the name of a user, or `{ user = "app", password = "{{ a_secret }}" }`.
fn read_sudo(table: &mut Reader<'_>, known: &Known) -> Sudo {
    if let Some(DeValue::Table(_)) = table.value(StepKeys::SUDO).map(Spanned::get_ref) {
        let Some(mut sudo) = table.get(StepKeys::SUDO.second().second()) else { return Sudo::No };
        let user = sudo.or_default(PasswordKeys::USER);
        let password = required(&mut sudo, PasswordKeys::PASSWORD, known);
        sudo.finish();
        return password.map_or(Sudo::No, |password| Sudo::Password { user, password });
    }
    match table.value(StepKeys::SUDO).map(Spanned::get_ref) {
        None | Some(DeValue::Boolean(false)) => Sudo::No,
        Some(DeValue::Boolean(true)) => Sudo::Root,
        Some(DeValue::String(_)) => {
            table.get(StepKeys::SUDO.second().first()).map(Sudo::User).unwrap_or_default()
        }
        Some(_) => {
            let span = table.value(StepKeys::SUDO).map(Spanned::span);
            table.doc.wrong(
                span,
                "`sudo` is true, false, the name of a user, or a table of `user` and `password`",
            );
            Sudo::No
        }
    }
}

/// `dead_man` and `undo` go together, and only with `run`: an upload or a link cannot cut the host off.
fn read_dead_man(table: &mut Reader<'_>, known: &Known) -> Option<DeadMan> {
    let span = table.key_span(StepKeys::DEAD_MAN.name);
    let within = table.positive(StepKeys::DEAD_MAN, "no confirmation could arrive in time");
    let doc = table.doc;
    span.as_ref()?;
    let undo = text(table, StepKeys::UNDO.first(), known);
    match (span, table.key_span(StepKeys::UNDO.name)) {
        (Some(span), None) => {
            let hint =
                "write undo = \"...\": what the host runs when rollcall does not connect again".to_string();
            doc.report(span, "`dead_man` needs `undo`", hint);
        }
        (Some(span), Some(_)) if table.key_span(StepKinds::RUN.name).is_none() => {
            doc.wrong(span, "`dead_man` goes with `run` only");
        }
        _ => {}
    }
    Some(DeadMan { within: within?, undo: undo? })
}
