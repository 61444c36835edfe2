//! Steps: one unit of a task on one host, as tasks write them and as plans hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::{Field, Source, StepBody, TreeFile, plain, script};
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::value::template::{self, Vars};

/// For one attempt, unless the step says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Before each further attempt, unless the step says otherwise.
pub const DEFAULT_DELAY: Duration = Duration::from_secs(1);

/// One unit of a task on one host. Its texts are templates in tasks, and in plans where it is `late`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    pub name: String,
    pub body: StepBody,
    /// An expression: the step is skipped when it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Path on the host: when it exists the step has nothing to do.
    pub creates: Option<String>,
    /// Path on the host: when it does not exist the step has nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removes: Option<String>,
    /// Command on the host: when it succeeds the step has nothing to do.
    pub unless: Option<String>,
    /// The directory on the host that it works in: `in`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// For one attempt.
    pub timeout: Duration,
    /// Attempts after the first one.
    pub retries: u32,
    /// Before each further attempt.
    pub delay: Duration,
    /// An expression over `result`: an attempt after which it does not hold has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// An expression over `result` that says whether the step has changed something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_when: Option<String>,
    /// An expression over `result` that says whether the step has failed, instead of its exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_when: Option<String>,
    /// A failure is told and does not count.
    pub warn_only: bool,
    pub sudo: Sudo,
    /// Running it once more does no harm: when its outcome is lost it is run again, at least once.
    pub repeatable: bool,
    /// The host undoes it by itself unless somebody reaches the host anew.
    pub dead_man: Option<DeadMan>,
    /// The name by which later steps know its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// One host of the run does it, the first that comes to it; the others wait for that.
    #[serde(skip_serializing_if = "is_false")]
    pub run_once: bool,
    /// How many hosts may be at it at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<u32>,
    /// Where it is done, if not on the host of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Endpoint>,
    /// In plans: its texts are still templates, because they speak of what is known later only.
    #[serde(skip_serializing_if = "is_false")]
    pub late: bool,
    /// In plans: names that this step alone knows: `item`, and the parameters of a task that was called.
    #[serde(skip_serializing_if = "Vars::is_empty")]
    pub vars: Vars,
    /// In plans: what tells it from other steps on all hosts, where only some hosts may be at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<String>,
    /// In plans: it is known already that there is nothing to do, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// In plans, of a handler: the steps that notify it, by their place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notified_by: Option<Vec<usize>>,
    /// In plans, of a rollback step: the step forward that it takes back, by its place.
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

/// A step as a task writes it: with what is gone in plans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    pub step: Step,
    /// Selector of the hosts where it is done instead: the step is there once for each of them.
    pub on: Option<String>,
    /// The step is there once for each of these, which it knows as `item`.
    pub each: Option<Each>,
    pub tags: BTreeSet<String>,
    /// Names of handlers.
    pub notify: Vec<String>,
    /// What takes it back.
    pub undo: Vec<Step>,
}

/// What a step is repeated for.
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

/// For steps that may cut the host off: what to do when nobody comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadMan {
    /// From the end of the step on.
    pub within: Duration,
    /// A script for the host's `sh`, in the directory and the environment of the step.
    pub undo: String,
}

/// As whom a step acts on the host.
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
    /// With a password, for hosts that want one. `password` is a template that names a secret.
    Password { user: String, password: String },
}

impl Sudo {
    /// A password is one line: what follows would be read by somebody else.
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

    /// As messages end: ` with sudo as app`.
    pub fn words(&self) -> String {
        match self {
            Sudo::No => String::new(),
            Sudo::Root => " with sudo".into(),
            Sudo::User(user) | Sudo::Password { user, .. } => format!(" with sudo as {user}"),
        }
    }
}

/// Gives a plan the files that steps name; the planner itself reads nothing.
pub trait Files {
    /// The SHA-256 of a file below `files/`, in hex. The error says what is wrong with the path.
    fn sha256(&self, path: &str) -> Result<String, String>;
    /// The text of a file below `files/`.
    fn text(&self, path: &str) -> Result<String, String>;
    /// The files below a directory below `files/`, sorted by path; an empty list when `path` is a file.
    fn tree(&self, path: &str) -> Result<Vec<TreeFile>, String>;
}

/// For steps that are rendered when they are due: the plan has put their files in already.
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
}

impl Step {
    /// A step with the usual settings.
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

    /// The step with only its files put in, everything else still a template: it is rendered while the
    /// run is under way and must not depend on a file by then.
    pub fn with_source(&self, vars: &Vars, files: &dyn Files) -> Result<Step, String> {
        let mut all = vars.clone();
        all.extend(self.vars.clone());
        let mut step = Step { late: true, ..self.clone() };
        for source in step.body.sources() {
            *source = source.fix(&all, files)?;
        }
        Ok(step)
    }

    /// What tells it from other steps on all hosts.
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

    /// The expressions that are looked at while the run is under way.
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
    /// With its path rendered and its content as it will be sent.
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

    /// With its path rendered and what is below `files/` looked up; what a plan has put in stays.
    fn fix(&self, vars: &Vars, files: &dyn Files) -> Result<Source, String> {
        let path = || template::text(self.path(), vars).map_err(|why| format!("`from`: {why}"));
        Ok(match self {
            Source::File { sha256, .. } if sha256.is_empty() => {
                let path = path()?;
                Source::File { sha256: files.sha256(&path)?, path }
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
