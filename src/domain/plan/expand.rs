//! Expands the steps of a task into those of one host: loops, calls of other tasks, steps on other hosts,
//! tags, conditions that are already decided, handlers at the end, and undo steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::given::check_params;
use super::plan::{Tags, World, with_previous};
use crate::domain::base::refusal::Refusal;
use crate::domain::check::check::Check;
use crate::domain::check::id::{CheckId, Misnamed, one_named};
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::inventory::selector::select;
use crate::domain::task::body::StepBody;
use crate::domain::task::facts;
use crate::domain::task::step::{Each, Step, Written};
use crate::domain::task::task::Task;
use crate::domain::value::template::{self, Vars};

/// The name under which templates find the facts of their host.
pub const FACTS: &str = "facts";

/// Most steps of a task on one host: loops and calls multiply.
const STEPS_LIMIT: usize = 2_000;

/// Deepest nesting of task calls; the configuration refuses cycles before.
const DEPTH_LIMIT: usize = 8;

/// The steps of one host.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    pub steps: Vec<Step>,
    pub rollback: Vec<Step>,
}

/// Options of an expansion: the selected tags, and the names that are known only when a step is due.
pub(super) struct Knowing<'a> {
    pub tags: &'a Tags,
    pub later: BTreeSet<String>,
}

/// Values that are the same for all steps of a task on a host.
struct Expansion<'a> {
    world: &'a World<'a>,
    tags: &'a Tags,
    /// Names that are known only when a step is due.
    late: BTreeSet<String>,
    found: Expanded,
    /// The steps that notify each handler, by index.
    notified: BTreeMap<String, Vec<usize>>,
    handlers: Vec<(InheritedSettings, Written)>,
    undo: Vec<Step>,
}

/// The part of a task that a step is in.
#[derive(Clone, Copy, PartialEq)]
enum TaskPart {
    Step,
    Handler,
    Back,
}

/// Settings that a step inherits from its place in the task.
#[derive(Clone, Default)]
struct InheritedSettings {
    /// A prefix of the names of a called task's steps: the name of the calling step.
    prefix: String,
    vars: Vars,
    /// Names that a late step has to carry with it.
    own: Vars,
    when: Option<String>,
    tags: BTreeSet<String>,
    notify: Vec<String>,
    at: Option<Endpoint>,
    depth: usize,
}

/// The steps of `task` on a host whose variables are `vars`.
pub(super) fn expand(
    world: &World<'_>,
    task: &Task,
    vars: &Vars,
    knowing: Knowing<'_>,
) -> Result<Expanded, Refusal> {
    let Knowing { tags, later: mut late } = knowing;
    late.insert(FACTS.into());
    late_names(world, task, 0, &mut late);
    let mut expansion = Expansion {
        world,
        tags,
        late,
        found: Expanded::default(),
        notified: BTreeMap::new(),
        handlers: Vec::new(),
        undo: Vec::new(),
    };
    let scope = InheritedSettings { vars: vars.clone(), ..InheritedSettings::default() };
    expansion.task(task, &scope)?;
    expansion.append_handlers()?;
    expansion.rollback(task, &scope)?;
    let mut found = expansion.found;
    if found.steps.iter().chain(&found.rollback).any(speaks_of_facts) {
        found.look_first(facts::step(world.facts).render(vars, world.files).map_err(Refusal::usage)?);
    }
    Ok(found)
}

fn speaks_of_facts(step: &Step) -> bool {
    let in_expressions = step
        .expressions()
        .iter()
        .any(|(_, text)| template::names_in_expression(text).iter().any(|name| name == FACTS));
    in_expressions || (step.late && step.speaks_of(&BTreeSet::from([FACTS.to_string()])))
}

impl Expanded {
    /// Inserts a step before all others; indexes of steps move by one.
    fn look_first(&mut self, look: Step) {
        self.steps.insert(0, Step { register: Some(FACTS.into()), ..look });
        for step in self.steps.iter_mut().chain(&mut self.rollback) {
            step.notified_by.iter_mut().flatten().for_each(|at| *at += 1);
            step.undoes.iter_mut().for_each(|at| *at += 1);
        }
    }
}

/// The names that the steps of a task, and of the tasks that it calls, register.
fn late_names(world: &World<'_>, task: &Task, depth: usize, names: &mut BTreeSet<String>) {
    for written in task.steps.iter().chain(&task.handlers) {
        names.extend(written.step.register.clone());
        if let StepBody::Task { name, .. } = &written.step.body
            && let Some(called) = world.tasks.get(name).filter(|_| depth < DEPTH_LIMIT)
        {
            late_names(world, called, depth + 1, names);
        }
    }
}

impl Expansion<'_> {
    fn task(&mut self, task: &Task, scope: &InheritedSettings) -> Result<(), Refusal> {
        self.handlers.extend(task.handlers.iter().map(|handler| (scope.clone(), handler.clone())));
        for written in &task.steps {
            self.written(written, scope)
                .map_err(|refusal| refusal.about(format!("step `{}{}`", scope.prefix, written.step.name)))?;
        }
        Ok(())
    }

    fn written(&mut self, written: &Written, scope: &InheritedSettings) -> Result<(), Refusal> {
        for item in self.items(written, scope)? {
            for at in self.places(written, scope)? {
                let scope = self.inner(written, scope, item.as_ref(), at);
                match &written.step.body {
                    StepBody::Task { name, with } => {
                        let scope = InheritedSettings {
                            prefix: format!("{}{}: ", scope.prefix, self.name(written, &scope)),
                            ..scope
                        };
                        self.call(name, with, &scope)?;
                    }
                    _ => self.step(written, &scope)?,
                }
            }
        }
        Ok(())
    }

    /// The items that the step is repeated for; a single `None` without a loop.
    fn items(&self, written: &Written, scope: &InheritedSettings) -> Result<Vec<Option<Value>>, Refusal> {
        let list = match &written.each {
            None => return Ok(vec![None]),
            Some(Each::Items(items)) => {
                let items = items.iter().map(|item| rendered(item, &scope.vars));
                items.collect::<Result<_, _>>().map_err(Refusal::usage)?
            }
            Some(Each::Expression(text)) => {
                match template::value(text, &scope.vars).map_err(Refusal::usage)? {
                    Value::Array(items) => items,
                    other => return Err(Refusal::usage(format!("`loop`: `{text}` is no list, but {other}"))),
                }
            }
        };
        Ok(list.into_iter().map(Some).collect())
    }

    /// The hosts that the step runs on instead of its own; `None` for its own.
    fn places(&self, written: &Written, scope: &InheritedSettings) -> Result<Vec<Option<Endpoint>>, Refusal> {
        let Some(on) = &written.on else { return Ok(vec![scope.at.clone()]) };
        let on = template::text(on, &scope.vars).map_err(|why| Refusal::usage(format!("`on`: {why}")))?;
        if on == Endpoint::HERE {
            return Ok(vec![Some(Endpoint::here())]);
        }
        let names = select(self.world.inventory, &on).map_err(|refusal| refusal.about("`on`"))?;
        let hosts = names.iter().filter_map(|name| self.world.inventory.host(name));
        Ok(hosts.map(|host| Some(host.endpoint.clone())).collect())
    }

    fn inner(
        &self,
        written: &Written,
        scope: &InheritedSettings,
        item: Option<&Value>,
        at: Option<Endpoint>,
    ) -> InheritedSettings {
        let mut inner = scope.clone();
        if let Some(item) = item {
            inner.vars.insert("item".into(), item.clone());
            inner.own.insert("item".into(), item.clone());
        }
        inner.at = at;
        inner.when = both(scope.when.as_deref(), written.step.when.as_deref());
        inner.tags.extend(written.tags.iter().cloned());
        inner.notify.extend(written.notify.iter().map(|name| format!("{}{name}", scope.prefix)));
        inner
    }

    fn call(
        &mut self,
        name: &str,
        with: &[(String, Value)],
        scope: &InheritedSettings,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::not_found(format!("no task is called `{name}`"));
        let called = self.world.tasks.get(name).ok_or_else(unknown)?;
        if scope.depth >= DEPTH_LIMIT {
            return Err(Refusal::usage(format!("tasks call tasks more than {DEPTH_LIMIT} deep")));
        }
        let mut params = BTreeMap::new();
        for (param, value) in with {
            let value = rendered(value, &scope.vars);
            let value = value.map_err(|why| Refusal::usage(format!("`with.{param}`: {why}")))?;
            params.insert(param.clone(), text_of(&value));
        }
        let params = check_params(called, &params)?;
        let mut scope = scope.clone();
        let value = |(name, text): (&String, &String)| {
            called.params.get(name).map(|param| (name.clone(), param.value(text)))
        };
        let inner: Vars = called.vars.clone().into_iter().chain(params.iter().filter_map(value)).collect();
        scope.vars.extend(inner.clone());
        scope.own.extend(inner);
        scope.depth += 1;
        self.task(called, &scope)
    }

    fn step(&mut self, written: &Written, scope: &InheritedSettings) -> Result<(), Refusal> {
        let step = self.planned(written, scope, TaskPart::Step)?;
        let at = self.found.steps.len();
        if at >= STEPS_LIMIT {
            let why = format!("the task comes to more than {STEPS_LIMIT} steps on one host");
            return Err(Refusal::usage(why));
        }
        for handler in scope.notify.iter().filter(|_| step.skip.is_none()) {
            self.notified.entry(handler.clone()).or_default().push(at);
        }
        for undo in written.undo.iter().rev() {
            // Built from the name before it is rendered: a value is never read as a template.
            let name = format!("undo {}{}: {}", scope.prefix, self.name(written, scope), undo.name);
            let undo = Step { name, ..undo.clone() };
            // The name already says which task the step was called from.
            let scope = InheritedSettings { prefix: String::new(), when: undo.when.clone(), ..scope.clone() };
            let undo = self.planned(&Written::from(undo), &scope, TaskPart::Back)?;
            self.undo.push(Step { undoes: Some(at), ..undo });
        }
        self.found.steps.push(step);
        Ok(())
    }

    /// The step as the plan holds it: rendered, or with only its files put in if it is `late`.
    fn planned(&self, written: &Written, scope: &InheritedSettings, part: TaskPart) -> Result<Step, Refusal> {
        let back = part == TaskPart::Back;
        let mut step = Step {
            vars: scope.own.clone(),
            when: scope.when.clone(),
            at: scope.at.clone(),
            name: format!("{}{}", scope.prefix, self.name(written, scope)),
            ..written.step.clone()
        };
        // Handlers run for every step that notifies them, and a rollback runs all its steps.
        if part == TaskPart::Step && !self.tags.want(&scope.tags) {
            step.skip = Some("its tags were not asked for".into());
        }
        step.shared = self.shared(written, scope);
        self.decide_when(&mut step, scope)?;
        if let StepBody::Check { name, check } = &mut step.body {
            *check = Some(Box::new(self.check(name, &scope.vars)?));
        }
        // The file of a step may use late names even if the step itself does not.
        let step = step.with_source(&scope.vars, self.world.files).map_err(Refusal::usage)?;
        let later = step.speaks_of(&self.late);
        if back && !later {
            // Only `previous` may be missing when a host has to go back.
            step.render(&with_previous(&scope.vars, "previous"), self.world.files).map_err(Refusal::usage)?;
        }
        match back || later {
            true => Ok(step),
            false => {
                let rendered = step.render(&scope.vars, self.world.files).map_err(Refusal::usage)?;
                // The variables are only needed for the expressions.
                let vars = if rendered.expressions().is_empty() { Vars::new() } else { rendered.vars };
                Ok(Step { vars, ..rendered })
            }
        }
    }

    /// Steps of a task have distinct names: the item and the host are added.
    fn name(&self, written: &Written, scope: &InheritedSettings) -> String {
        let name = written.step.name.clone();
        let distinct = template::names_used(&name).iter().any(|name| name == "item");
        let item = scope.own.get("item").filter(|_| written.each.is_some() && !distinct);
        let item = item.map_or_else(String::new, |item| format!(" ({})", text_of(item)));
        let at = scope.at.as_ref().map_or_else(String::new, |at| format!(" on {}", at.name));
        // A value must not be read as a template, whatever it contains.
        let literal = |text: &str| text.replace('{', "(").replace('}', ")");
        format!("{name}{}{}", literal(&item), literal(&at))
    }

    /// The identity of the step on all hosts: `run_once` counts per item; `throttle` counts over all items.
    fn shared(&self, written: &Written, scope: &InheritedSettings) -> Option<String> {
        let step = &written.step;
        let name = format!("{}{}", scope.prefix, step.name);
        let item = scope.own.get("item").filter(|_| written.each.is_some()).map(text_of).unwrap_or_default();
        match (step.run_once || matches!(step.body, StepBody::Confirm { .. }), step.throttle) {
            (true, _) => Some(format!("{name} ({item})")),
            (false, Some(_)) => Some(name),
            (false, None) => None,
        }
    }

    /// Decides a condition whose names are all known now, so that the run need not evaluate it.
    fn decide_when(&self, step: &mut Step, scope: &InheritedSettings) -> Result<(), Refusal> {
        let Some(when) = &step.when else { return Ok(()) };
        let names = template::names_in_expression(when);
        if names.iter().any(|name| name == "previous" || self.late.contains(name)) {
            return Ok(());
        }
        if !template::holds(when, &scope.vars).map_err(|why| Refusal::usage(format!("`when`: {why}")))? {
            step.skip = Some(format!("when {when}"));
        }
        step.when = None;
        Ok(())
    }

    fn check(&self, name: &str, vars: &Vars) -> Result<Check, Refusal> {
        let all = || self.world.checks.values().flatten();
        let ids: Vec<CheckId> = all().map(Check::id).collect();
        let unknown = || Refusal::not_found(format!("no check is called `{name}`"));
        let id = one_named(name, &ids).map_err(|misnamed| match misnamed {
            Misnamed::Unknown => unknown(),
            Misnamed::Ambiguous(why) => Refusal::usage(why),
        })?;
        let check = all().find(|check| check.id() == id).ok_or_else(unknown)?;
        check.render(vars).map_err(|why| Refusal::usage(format!("check `{id}`: {why}")))
    }

    fn append_handlers(&mut self) -> Result<(), Refusal> {
        for (scope, handler) in std::mem::take(&mut self.handlers) {
            let name = format!("{}{}", scope.prefix, handler.step.name);
            let Some(by) = self.notified.get(&name).cloned() else { continue };
            let named = |refusal: Refusal| refusal.about(format!("handler `{}`", handler.step.name));
            for at in self.places(&handler, &scope).map_err(named)? {
                let scope = InheritedSettings { at, when: handler.step.when.clone(), ..scope.clone() };
                let step = self.planned(&handler, &scope, TaskPart::Handler).map_err(named)?;
                self.notify(step, by.clone());
            }
        }
        Ok(())
    }

    /// A task that is called twice has the same handler twice: it runs once for both.
    fn notify(&mut self, handler: Step, by: Vec<usize>) {
        let bare = |step: &Step| Step { name: String::new(), notified_by: None, ..step.clone() };
        let mut known = self.found.steps.iter_mut().filter(|step| step.notified_by.is_some());
        match known.find(|step| bare(step) == bare(&handler)) {
            Some(same) => same.notified_by.iter_mut().for_each(|known| known.extend(by.iter().copied())),
            None => self.found.steps.push(Step { notified_by: Some(by), ..handler }),
        }
    }

    fn rollback(&mut self, task: &Task, scope: &InheritedSettings) -> Result<(), Refusal> {
        self.found.rollback = std::mem::take(&mut self.undo);
        self.found.rollback.reverse();
        for written in &task.rollback {
            let named = |refusal: Refusal| refusal.about(format!("rollback step `{}`", written.step.name));
            for item in self.items(written, scope).map_err(named)? {
                for at in self.places(written, scope).map_err(named)? {
                    let scope = self.inner(written, scope, item.as_ref(), at);
                    let step = self.planned(written, &scope, TaskPart::Back).map_err(named)?;
                    self.found.rollback.push(step);
                }
            }
        }
        Ok(())
    }
}

/// Combines both conditions.
fn both(outer: Option<&str>, inner: Option<&str>) -> Option<String> {
    match (outer, inner) {
        (Some(outer), Some(inner)) => Some(format!("({outer}) and ({inner})")),
        (one, other) => one.or(other).map(String::from),
    }
}

/// A value whose texts are templates.
fn rendered(value: &Value, vars: &Vars) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(template::text(text, vars)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| rendered(item, vars)).collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| Ok((key.clone(), rendered(value, vars)?));
            Value::Object(entries.iter().map(entry).collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

/// The value as a template would print it.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
