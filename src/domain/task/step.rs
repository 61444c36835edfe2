//! Steps: one unit of a task on one host, as tasks write them and as plans hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::{Field, Source, StepBody, TreeFile, artifact_name, plain, script};
use crate::domain::base::digest::artifact_sum;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::value::template::{self, Vars};

/// Limit of one attempt, unless the step sets another.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The pause before each retry, unless the step sets another.
pub const DEFAULT_DELAY: Duration = Duration::from_secs(1);

/// One unit of a task on one host. Its texts are templates in tasks, and in plans if it is `late`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    pub name: String,
    pub body: StepBody,
    /// An expression: the step is skipped if it is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Path on the host: when it exists the step has nothing to do.
    pub creates: Option<String>,
    /// Path on the host: when it does not exist the step has nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removes: Option<String>,
    /// Command on the host: when it succeeds the step has nothing to do.
    pub unless: Option<String>,
    /// The working directory on the host: `in`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The limit of one attempt.
    pub timeout: Duration,
    /// Retries after the first attempt.
    pub retries: u32,
    /// The pause before each retry.
    pub delay: Duration,
    /// An expression over `result`: an attempt fails if it is false afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// An expression over `result` that says whether the step has changed something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_when: Option<String>,
    /// An expression over `result` that says whether the step has failed; it replaces the exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_when: Option<String>,
    /// A failure is reported and does not count.
    pub warn_only: bool,
    pub sudo: Sudo,
    /// A second execution does no harm: if the outcome is lost, the step is retried at least once.
    pub repeatable: bool,
    /// The host undoes the step by itself unless rollcall reconnects to it in time.
    pub dead_man: Option<DeadMan>,
    /// The name under which later steps find its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// Only the first host of the run that reaches it runs it; the others wait for the result.
    #[serde(skip_serializing_if = "is_false")]
    pub run_once: bool,
    /// How many hosts may run it at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<u32>,
    /// The host that it runs on, if not the host of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Endpoint>,
    /// In plans: its texts are still templates, because they use names that are known only later.
    #[serde(skip_serializing_if = "is_false")]
    pub late: bool,
    /// In plans: names that only this step has: `item`, and the parameters of a called task.
    #[serde(skip_serializing_if = "Vars::is_empty")]
    pub vars: Vars,
    /// In plans: its identity on all hosts, if only some hosts may run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<String>,
    /// In plans: why the step is skipped, if planning has decided that already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// In plans, of a handler: the indexes of the steps that notify it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notified_by: Option<Vec<usize>>,
    /// In plans, of a rollback step: the index of the forward step that it undoes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<usize>,
}

fn is_false(yes: &bool) -> bool {
    !yes
}

impl Default for Step {
    fn default() -> Step {
        Step::new("", StepBody::Run { script: String::new() })
    }
}

/// A step as a task writes it, with the fields that plans have resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    pub step: Step,
    /// Selector of the hosts that run it instead; the step is repeated for each of them.
    pub on: Option<String>,
    /// The step is repeated for each of these; its name for the present one is `item`.
    pub each: Option<Each>,
    pub tags: BTreeSet<String>,
    /// Names of handlers.
    pub notify: Vec<String>,
    /// The steps that undo it.
    pub undo: Vec<Step>,
}

/// The items that a step is repeated for.
#[derive(Clone, Debug, PartialEq)]
pub enum Each {
    Items(Vec<Value>),
    /// An expression that is a list when the plan is made.
    Expression(String),
}

impl From<Step> for Written {
    fn from(step: Step) -> Written {
        Written { step, ..Written::default() }
    }
}

/// For steps that may cut the host off: how the host undoes them if rollcall does not reconnect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadMan {
    /// Counted from the end of the step.
    pub within: Duration,
    /// A script for the host's `sh`, in the directory and the environment of the step.
    pub undo: String,
}

/// The user that a step acts as on the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sudo {
    /// As the login itself.
    #[default]
    No,
    /// `sudo -n`.
    Root,
    /// `sudo -n -u USER`.
    User(String),
    /// With a password, for hosts whose sudo requires one. `password` is a template that names a secret.
    Password { user: String, password: String },
}

impl Sudo {
    /// A password must be one line: sudo would leave the rest for the command to read.
    pub fn check_password(&self) -> Result<(), String> {
        match self {
            Sudo::Password { password, .. } if password.trim_end_matches('\n').is_empty() => {
                Err("`sudo`: the password is empty".into())
            }
            Sudo::Password { password, .. } if password.trim_end_matches('\n').contains('\n') => {
                Err("`sudo`: the password has more than one line".into())
            }
            _ => Ok(()),
        }
    }

    /// The end of messages: ` with sudo as app`.
    pub fn words(&self) -> String {
        match self {
            Sudo::No => String::new(),
            Sudo::Root => " with sudo".into(),
            Sudo::User(user) | Sudo::Password { user, .. } => format!(" with sudo as {user}"),
        }
    }
}

/// Provides planning with the files that steps name; the planner itself does no I/O.
pub trait Files {
    /// The SHA-256 of a file below `files/`, in hex. The error says why the path is wrong.
    fn sha256(&self, path: &str) -> Result<String, String>;
    /// The text of a file below `files/`.
    fn text(&self, path: &str) -> Result<String, String>;
    /// The files below a directory below `files/`, sorted by path; an empty list when `path` is a file.
    fn tree(&self, path: &str) -> Result<Vec<TreeFile>, String>;
    /// An error if the artifact with this SHA-256 is not kept.
    fn artifact(&self, sha256: &str) -> Result<(), String>;
}

/// For steps that are rendered when they are due: planning has already put their files in.
pub struct NoFiles;

impl Files for NoFiles {
    fn sha256(&self, path: &str) -> Result<String, String> {
        Err(format!("files/{path}: not part of the plan"))
    }

    fn text(&self, path: &str) -> Result<String, String> {
        Err(format!("files/{path}: not part of the plan"))
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeFile>, String> {
        Err(format!("files/{path}: not part of the plan"))
    }

    fn artifact(&self, sha256: &str) -> Result<(), String> {
        Err(format!("{}: not part of the plan", artifact_name(sha256)))
    }
}

impl Step {
    /// A step with default settings.
    pub fn new(name: impl Into<String>, body: StepBody) -> Step {
        Step {
            name: name.into(),
            body,
            when: None,
            creates: None,
            removes: None,
            unless: None,
            dir: None,
            env: BTreeMap::new(),
            timeout: DEFAULT_TIMEOUT,
            retries: 0,
            delay: DEFAULT_DELAY,
            until: None,
            changed_when: None,
            failed_when: None,
            warn_only: false,
            sudo: Sudo::No,
            repeatable: false,
            dead_man: None,
            register: None,
            run_once: false,
            throttle: None,
            at: None,
            late: false,
            vars: Vars::new(),
            shared: None,
            skip: None,
            notified_by: None,
            undoes: None,
        }
    }

    /// The step with every template rendered for one host. The error names the field.
    pub fn render(&self, vars: &Vars, files: &dyn Files) -> Result<Step, String> {
        let mut all = vars.clone();
        all.extend(self.vars.clone());
        let mut step = self.clone();
        for field in step.fields() {
            let rendered = match field.is_script {
                true => template::script(field.text, &all),
                false => template::text(field.text, &all),
            };
            *field.text = rendered.map_err(|why| format!("`{}`: {why}", field.key))?;
        }
        for source in step.body.sources() {
            *source = source.render(&all, files)?;
        }
        step.late = false;
        Ok(step)
    }

    /// The step with only its files put in; all other texts stay templates. It is rendered during the
    /// run and must not depend on a file then.
    pub fn with_source(&self, vars: &Vars, files: &dyn Files) -> Result<Step, String> {
        let mut all = vars.clone();
        all.extend(self.vars.clone());
        let mut step = Step { late: true, ..self.clone() };
        for source in step.body.sources() {
            *source = source.fix(&all, files)?;
        }
        Ok(step)
    }

    /// The identity of the step on all hosts.
    pub fn identity(&self) -> &str {
        self.shared.as_deref().unwrap_or(&self.name)
    }

    /// Every text of the step that is a template, with the name of its field.
    pub fn templates(&self) -> Vec<(&'static str, String)> {
        let mut step = self.clone();
        let mut all: Vec<_> =
            step.fields().into_iter().map(|field| (field.key, field.text.clone())).collect();
        for source in step.body.sources() {
            all.push(("from", source.path().to_string()));
            if let Source::Draft { text, .. } = source {
                all.push(("from", text.clone()));
            }
        }
        all
    }

    /// The expressions that are evaluated during the run.
    pub fn expressions(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("when", &self.when),
            ("until", &self.until),
            ("changed_when", &self.changed_when),
            ("failed_when", &self.failed_when),
        ];
        all.into_iter().filter_map(|(key, text)| Some((key, text.as_deref()?))).collect()
    }

    /// True when one of its templates reads one of these names.
    pub fn speaks_of(&self, names: &BTreeSet<String>) -> bool {
        let mut texts = self.templates().into_iter().map(|(_, text)| text);
        texts.any(|text| template::names_used(&text).iter().any(|name| names.contains(name)))
    }

    fn fields(&mut self) -> Vec<Field<'_>> {
        let mut all = vec![plain("name", &mut self.name)];
        all.extend(self.body.fields());
        all.extend(self.creates.iter_mut().map(|path| plain("creates", path)));
        all.extend(self.removes.iter_mut().map(|path| plain("removes", path)));
        all.extend(self.unless.iter_mut().map(|command| script("unless", command)));
        all.extend(self.dir.iter_mut().map(|dir| plain("in", dir)));
        all.extend(self.env.values_mut().map(|value| plain("env", value)));
        all.extend(self.dead_man.iter_mut().map(|dead_man| script("undo", &mut dead_man.undo)));
        if let Sudo::Password { user, password } = &mut self.sudo {
            all.extend([plain("sudo", user), plain("sudo", password)]);
        }
        all
    }
}

impl Source {
    /// Renders its path, and its content as it will be sent.
    fn render(&self, vars: &Vars, files: &dyn Files) -> Result<Source, String> {
        match self.fix(vars, files)? {
            Source::Remote { path } => template::text(&path, vars)
                .map(|path| Source::Remote { path })
                .map_err(|why| format!("`path`: {why}")),
            Source::Draft { path, text } => {
                template::text(&text, vars).map(Source::Text).map_err(|why| format!("files/{path}: {why}"))
            }
            fixed => Ok(fixed),
        }
    }

    /// Renders its path, and reads the files below `files/`; files that a plan already holds stay.
    fn fix(&self, vars: &Vars, files: &dyn Files) -> Result<Source, String> {
        let path = || template::text(self.path(), vars).map_err(|why| format!("`from`: {why}"));
        Ok(match self {
            Source::File { sha256, .. } if sha256.is_empty() => {
                let path = path()?;
                match artifact_sum(&path) {
                    Some(sum) => files.artifact(sum).map(|()| Source::Artifact { sha256: sum.into() })?,
                    None => Source::File { sha256: files.sha256(&path)?, path },
                }
            }
            Source::Template { .. } => {
                let path = path()?;
                Source::Draft { text: files.text(&path)?, path }
            }
            Source::Tree { files: found, .. } if found.is_empty() => {
                let path = path()?;
                let found = files.tree(&path)?;
                if found.is_empty() {
                    return Err(format!("files/{path}/: holds no file"));
                }
                Source::Tree { files: found, path }
            }
            fixed => fixed.clone(),
        })
    }
}
