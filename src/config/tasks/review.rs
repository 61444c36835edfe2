//! What the tasks say about other files: the groups that they work on, and the checks that decide about their hosts.

use std::collections::{BTreeMap, BTreeSet};

use super::tasks::TaskFile;
use crate::domain::check::check::Check;
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::domain::inventory::selector::select;
use crate::domain::task::task::{StepBody, Task};
use crate::domain::value::template;

/// The checks of each set.
type Sets = BTreeMap<String, Vec<Check>>;

/// Compares the tasks with the other files. `fixed`: no script in `hosts/` decides which hosts there are.
pub fn review(files: &[TaskFile<'_>], inventory: &Inventory, sets: &Sets, fixed: bool) {
    // A selector is read within the file of the hosts that were asked for.
    let tops = inventory.groups.keys().filter(|name| !name.contains('.'));
    let parts: Vec<Inventory> =
        tops.map(|top| inventory.visible_to(Some(&BTreeSet::from([top.clone()])))).collect();
    for file in files {
        let hosts = hosts_of(file, inventory, &parts, fixed);
        warn_of_parameters(file, &hosts, sets);
    }
}

/// The hosts that a task may work on. It is a mistake if there are none, or a warning where a script may add some later.
fn hosts_of<'i>(
    file: &TaskFile<'_>,
    inventory: &'i Inventory,
    parts: &'i [Inventory],
    fixed: bool,
) -> Vec<&'i Host> {
    let Some(within) = &file.hosts else { return inventory.hosts.iter().collect() };
    let mut found = Vec::new();
    let mut why = None;
    for part in parts {
        match select(part, within.get_ref()) {
            Ok(names) => found.extend(names.iter().filter_map(|name| part.host(name))),
            Err(error) => why = why.or(Some(error)),
        }
    }
    if let (true, Some(why)) = (found.is_empty(), why) {
        let message = format!("`hosts`: no file of hosts/ has `{}`: {why}", within.get_ref());
        let hint = "a selector within the group that is asked for, such as \"web\" for prod.web";
        match fixed {
            true => file.doc.report(within.span(), message, hint.to_string()),
            false => file.doc.warn(within.span(), message, hint),
        }
    }
    found
}

/// A check that uses a name which a release does not give it stops every plan of that release.
fn warn_of_parameters(file: &TaskFile<'_>, hosts: &[&Host], sets: &Sets) {
    if !sets_release(&file.task) {
        return;
    }
    let given = |name: &String| {
        name == "host" || file.task.vars.contains_key(name) || file.task.params.contains_key(name)
    };
    for check in sets.values().flatten() {
        let used: BTreeSet<String> =
            check.texts().iter().flat_map(|text| template::names_used(text)).collect();
        let open: Vec<&String> = used.iter().filter(|name| !given(name)).collect();
        let lacks = |host: &Host| open.iter().copied().find(|name| !host.vars.contains_key(*name));
        let has_it = |host: &&&Host| host.checks.contains(&check.set);
        let found = hosts.iter().filter(has_it).find_map(|host| Some((host, lacks(host)?)));
        let Some((host, name)) = found else { continue };
        file.doc.warn(
            None,
            format!(
                "check `{}` of {} uses `{name}`, and the task has no parameter of that name",
                check.id(),
                host.name
            ),
            format!(
                "write params.{name} = {{}}, or a var `{name}` of the host; until then no plan can be made"
            ),
        );
    }
}

/// True if the task surely sets a release: with the steps of this file, whatever the tasks do that it calls.
fn sets_release(task: &Task) -> bool {
    let sets = |body: &StepBody| matches!(body, StepBody::Link { .. } | StepBody::Release(_));
    let by_steps = || task.steps.iter().any(|written| sets(&written.step.body));
    task.rollout.is_some() && task.release.unwrap_or_else(by_steps)
}
