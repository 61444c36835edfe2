//! The parameters of a task: all required ones, no unknown ones, each matching its pattern.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::ask::command::Params;
use crate::domain::base::name::nearest;
use crate::domain::base::refusal::Refusal;
use crate::domain::task::task::Task;
use crate::domain::value::param::Param;
use crate::domain::value::secret::{HIDDEN, Secret, SecretVars};

/// The parameters with the defaults of the task.
pub(super) fn check_params(task: &Task, given: &Params) -> Result<Params, Refusal> {
    if let Some(name) = given.keys().find(|name| !task.params.contains_key(*name)) {
        let known: Vec<&str> = task.params.keys().map(String::as_str).collect();
        let guess = nearest(name, known.iter().copied())
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Refusal::usage(format!(
            "task `{}` has no parameter `{name}`{guess} (known: {})",
            task.name,
            known.join(", ")
        )));
    }
    let mut params = Params::new();
    for (name, param) in &task.params {
        let value = given.get(name).or(param.default.as_ref());
        let value = value.ok_or_else(|| needed(task, name, param))?;
        if param.secret && value == HIDDEN {
            return Err(not_kept(task, name));
        }
        param.check(name, value).map_err(Refusal::usage)?;
        params.insert(name.clone(), value.clone());
    }
    Ok(params)
}

fn needed(task: &Task, name: &str, param: &Param) -> Refusal {
    let about =
        if param.description.is_empty() { String::new() } else { format!(" ({})", param.description) };
    Refusal::usage(format!("task `{}` needs {name}=VALUE{about}", task.name))
}

pub(super) fn not_kept(task: &Task, name: &str) -> Refusal {
    let why = format!("the parameter `{name}` of task `{}` is secret and was not kept", task.name);
    Refusal::rule(why).hint(format!("try: {} SELECTOR ... {name}=VALUE", task.name))
}

/// The parameters without their secret values, fit to store and to print.
pub(super) fn without_secrets(task: &Task, mut params: Params) -> Params {
    for (name, value) in &mut params {
        if task.params.get(name).is_some_and(|param| param.secret) {
            *value = HIDDEN.into();
        }
    }
    params
}

/// The names of the secret parameters.
pub(super) fn secret_params(task: &Task) -> BTreeSet<String> {
    task.params.iter().filter(|(_, param)| param.secret).map(|(name, _)| name.clone()).collect()
}

/// A parameter of a release whose value was not stored. The word for a hidden value counts by itself, too: the parameter may
/// have been secret when the release was stored, and that word must never reach a host as a value.
pub(super) fn hidden_in<'p>(declared: &BTreeMap<String, Param>, params: &'p Params) -> Option<&'p String> {
    let is_secret = |name: &String| declared.get(name).is_some_and(|param| param.secret);
    params.iter().find(|(name, value)| is_secret(name) || *value == HIDDEN).map(|(name, _)| name)
}

/// The secrets among the given parameters. Missing ones are left out: planning has reported
/// them already.
pub fn given_secrets(tasks: &BTreeMap<String, Task>, task: &str, given: &Params) -> SecretVars {
    let Some(task) = tasks.get(task) else { return SecretVars::new() };
    let secret = given.iter().filter(|(name, _)| task.params.get(*name).is_some_and(|param| param.secret));
    secret.filter_map(|(name, value)| Some((name.clone(), Secret::new(value.as_str()).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_hides_a_value_says_so_even_when_its_parameter_is_no_longer_secret() {
        let declared = |secret| BTreeMap::from([("token".to_string(), Param { secret, ..Param::default() })]);
        let params = |value: &str| Params::from([("token".to_string(), value.to_string())]);
        assert_eq!(hidden_in(&declared(true), &params("x")).map(String::as_str), Some("token"));
        assert_eq!(hidden_in(&declared(false), &params(HIDDEN)).map(String::as_str), Some("token"));
        assert_eq!(hidden_in(&declared(false), &params("x")), None);
    }
}
