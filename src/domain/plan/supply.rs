//! The artifacts that a command still needs: those that its operator sends, and those that rollcall fetches.

use std::collections::BTreeSet;

use super::plan::Plan;
use crate::domain::ask::command::Params;
use crate::domain::base::digest::artifact_sum;
use crate::domain::base::refusal::Refusal;
use crate::domain::task::task::Task;
use crate::domain::value::param::{ArtifactOrigin, Param, ParamKind};
use crate::domain::value::template::{self, Vars};

/// The value of a parameter whose file comes from standard input.
pub const INPUT: &str = "-";

/// The digest by which a file counts in a plan before it has arrived.
pub const AWAITED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An artifact that a command needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supply {
    pub param: String,
    pub from: SupplySource,
}

/// Where an artifact comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SupplySource {
    Input,
    /// It is fetched, unless it is kept already.
    Url(ArtifactOrigin),
}

impl Supply {
    /// The digest by which the file counts in a plan until it has arrived.
    pub fn expected(&self) -> &str {
        match &self.from {
            SupplySource::Input => AWAITED,
            SupplySource::Url(origin) => &origin.sha256,
        }
    }
}

impl Plan {
    /// The SHA-256 of each artifact that the run may send.
    pub fn artifacts(&self) -> BTreeSet<String> {
        let releases = self.hosts.values().filter_map(|host| host.release.as_ref());
        let params = releases.map(|release| &release.params).chain([&self.params]);
        let named = params.flat_map(Params::values).filter_map(|value| artifact_sum(value));
        let steps = self.hosts.values().flat_map(|host| host.steps.iter());
        let files = steps.filter_map(|step| step.body.artifact());
        named.chain(files).map(String::from).collect()
    }
}

/// True if an artifact of the task comes from standard input.
pub fn reads_input(task: &Task, given: &Params) -> bool {
    let is_input = |(name, value): (&String, &String)| {
        value == INPUT && task.params.get(name).is_some_and(|param| param.kind == ParamKind::Artifact)
    };
    given.iter().any(is_input)
}

/// The artifacts that a command needs. Files that are named by their content need nothing, unless they are those at the
/// address of the task.
pub fn supplies(task: &Task, given: &Params) -> Result<Vec<Supply>, Refusal> {
    let mut all = Vec::new();
    for (name, param) in task.params.iter().filter(|(_, param)| param.kind == ParamKind::Artifact) {
        check_fixed(task, given, (name, param))?;
        let from = match given.get(name).map(String::as_str) {
            Some(INPUT) => Some(SupplySource::Input),
            None => param.origin.as_ref().map(|_| origin(task, given, (name, param))).transpose()?,
            // The file of an earlier run may be fetched again.
            Some(value) => origin(task, given, (name, param))
                .ok()
                .filter(|from| matches!(from, SupplySource::Url(origin) if artifact_sum(value) == Some(&origin.sha256))),
        };
        all.extend(from.map(|from| Supply { param: name.clone(), from }));
    }
    let mut inputs = all.iter().filter(|supply| supply.from == SupplySource::Input);
    if let (Some(first), Some(second)) = (inputs.next(), inputs.next()) {
        let why =
            format!("standard input is one file, and not both `{}` and `{}`", first.param, second.param);
        let hint = "try: send one with `plan` first, which prints its name, and give it as sha256:HEX";
        return Err(Refusal::usage(why).hint(hint));
    }
    Ok(all)
}

/// A file that a step names is no other one.
fn check_fixed(task: &Task, given: &Params, (name, param): (&String, &Param)) -> Result<(), Refusal> {
    let Some(value) = given.get(name).filter(|_| !param.is_given()) else { return Ok(()) };
    match origin(task, given, (name, param))? {
        SupplySource::Url(origin) if artifact_sum(value) == Some(&origin.sha256) => Ok(()),
        _ => {
            let why = format!(
                "a step of `{}` says which file `{name}` is, so no other one can be given",
                task.name
            );
            Err(Refusal::usage(why).hint("try: without it"))
        }
    }
}

/// The rendered address of an artifact. Secret parameters are no part of it: it is printed and logged.
fn origin(task: &Task, given: &Params, (name, param): (&String, &Param)) -> Result<SupplySource, Refusal> {
    let wrong = |key: &str, why: &str| Refusal::usage(format!("param `{name}`: `{key}`: {why}"));
    let Some(ArtifactOrigin { url, sha256, fixed }) = &param.origin else {
        return Err(wrong("url", "there is none"));
    };
    let vars = plain_vars(task, given);
    let url = template::text(url, &vars).map_err(|why| wrong("url", &why))?;
    let sha256 = template::text(sha256, &vars).map_err(|why| wrong("sha256", &why))?;
    if artifact_sum(&format!("sha256:{sha256}")).is_none() {
        return Err(wrong("sha256", &format!("`{sha256}` is no SHA-256: 64 digits of hexadecimal")));
    }
    Ok(SupplySource::Url(ArtifactOrigin { url, sha256, fixed: *fixed }))
}

fn plain_vars(task: &Task, given: &Params) -> Vars {
    let mut vars = task.vars.clone();
    for (name, param) in task.params.iter().filter(|(_, param)| !param.secret) {
        let value = given.get(name).or(param.default.as_ref());
        vars.extend(value.map(|value| (name.clone(), param.value(value))));
    }
    vars
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given<'t> = &'t [(&'t str, &'t str)];

    fn task() -> Task {
        let artifact = |origin| Param { kind: ParamKind::Artifact, origin, ..Param::default() };
        let from = ArtifactOrigin {
            url: "https://builds/app-{{ version }}.tgz".into(),
            sha256: "{{ digest }}".into(),
            fixed: false,
        };
        let params = [
            ("version", Param::default()),
            ("digest", Param::default()),
            ("token", Param { secret: true, ..Param::default() }),
            ("app", artifact(Some(from))),
            ("assets", artifact(None)),
        ];
        let params = params.into_iter().map(|(name, param)| (name.to_string(), param)).collect();
        Task { params, ..Task::default() }
    }

    #[test]
    fn a_command_needs_what_it_is_not_given_by_content() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let kept = |sum: &str| format!("sha256:{sum}");
        let url = |sha256: &str| {
            let url = "https://builds/app-1.4.tgz".to_string();
            Supply {
                param: "app".into(),
                from: SupplySource::Url(ArtifactOrigin { url, sha256: sha256.into(), fixed: false }),
            }
        };
        let input = |param: &str| Supply { param: param.into(), from: SupplySource::Input };
        let table: [(Given<'_>, Result<Vec<Supply>, &str>); 7] = [
            (&[("digest", &one), ("version", "1.4")], Ok(vec![url(&one)])),
            (&[("digest", &one), ("version", "1.4"), ("app", &kept(&one))], Ok(vec![url(&one)])),
            (&[("digest", &one), ("version", "1.4"), ("app", &kept(&two))], Ok(vec![])),
            (&[("app", "-")], Ok(vec![input("app")])),
            (&[("app", &kept(&two)), ("assets", "-")], Ok(vec![input("assets")])),
            (
                &[("app", "-"), ("assets", "-")],
                Err("standard input is one file, and not both `app` and `assets`"),
            ),
            (
                &[("digest", "short"), ("version", "1.4")],
                Err("param `app`: `sha256`: `short` is no SHA-256: 64 digits of hexadecimal"),
            ),
        ];
        for (given, wanted) in table {
            let given: Params =
                given.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let got = supplies(&task(), &given).map_err(|refusal| refusal.why);
            assert_eq!(got, wanted.map_err(String::from), "{given:?}");
            assert_eq!(reads_input(&task(), &given), given.values().any(|value| value == "-"));
        }
    }

    #[test]
    fn a_file_that_a_step_names_is_no_other_one() {
        let mut task = task();
        let sum = "1".repeat(64);
        let origin = ArtifactOrigin { url: "https://builds/app".into(), sha256: sum.clone(), fixed: true };
        task.params.get_mut("app").unwrap().origin = Some(origin.clone());
        let with = |value: &str| Params::from([("app".to_string(), value.to_string())]);
        let fetched = vec![Supply { param: "app".into(), from: SupplySource::Url(origin) }];
        assert_eq!(supplies(&task, &Params::new()).unwrap(), fetched.clone());
        assert_eq!(supplies(&task, &with(&format!("sha256:{sum}"))).unwrap(), fetched);
        for other in ["-".to_string(), format!("sha256:{}", "2".repeat(64))] {
            let why = supplies(&task, &with(&other)).unwrap_err().why;
            assert!(why.contains("says which file `app` is, so no other one can be given"), "{why}");
        }
    }

    #[test]
    fn a_secret_is_no_part_of_an_address() {
        let mut task = task();
        let app = task.params.get_mut("app").unwrap();
        app.origin = Some(ArtifactOrigin {
            url: "https://{{ token }}@builds/app".into(),
            sha256: "1".repeat(64),
            fixed: false,
        });
        let given = Params::from([("token".to_string(), "hunter22".to_string())]);
        let why = supplies(&task, &given).unwrap_err().why;
        assert!(why.starts_with("param `app`: `url`: ") && !why.contains("hunter22"), "{why}");
    }
}
