//! Tasks: named, ordered steps for a host, and the rollout that carries hosts through them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::template::{self, Vars};

/// One file of `tasks/`. Its texts are templates; [`Step::render`] makes the steps of one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub name: String,
    pub description: String,
    /// Selector within the group asked for.
    pub hosts: Option<String>,
    pub params: BTreeMap<String, Param>,
    /// Without one the task runs on all its hosts at once and leaves the balancer alone.
    pub rollout: Option<Rollout>,
    pub steps: Vec<Step>,
    pub rollback: Vec<Step>,
}

/// A parameter given on the command line: `version=1.2.3`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Param {
    /// What the whole value has to match.
    pub pattern: Option<String>,
    /// Makes the parameter optional.
    pub default: Option<String>,
}

/// The policy for batches, budgets, gates and rollback. A plan of an older rollcall lacks some of
/// these; they then have their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    pub serial: Vec<BatchSize>,
    /// Hosts that may fail before the run stops; stops when there are more.
    pub max_failures: MaxFailures,
    pub on_failure: OnFailure,
    /// A host that was enabled has to stay ok for this long before the next batch begins.
    pub min_healthy_time: Duration,
    /// From its enable on: a host that is not healthy by then has failed.
    pub healthy_deadline: Duration,
    /// When no host became healthy for this long, the run stops.
    pub progress_deadline: Option<Duration>,
    /// How often hosts that are done are checked again while the run lasts; zero for never.
    pub watch: Duration,
    pub pause_after: Option<PauseAfter>,
    pub on_restart: OnRestart,
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout {
            serial: vec![BatchSize::Percent(100.0)],
            max_failures: MaxFailures::Hosts(0),
            on_failure: OnFailure::Stop,
            min_healthy_time: Duration::ZERO,
            healthy_deadline: Duration::from_secs(5 * 60),
            progress_deadline: None,
            watch: Duration::from_secs(60),
            pause_after: None,
            on_restart: OnRestart::Finish,
        }
    }
}

/// A pause that the plan itself makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseAfter {
    /// Batches that are through before it: 0 pauses before anything begins.
    pub batch: usize,
    pub until: PauseUntil,
}

/// What ends a planned pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PauseUntil {
    /// The bake time.
    Passed(Duration),
    /// `approve N`, by somebody else than who asked for the run if `second_person`.
    Approved { second_person: bool },
}

/// What becomes of a run that was under way when rollcall ended. Whatever it is: hosts in their bracket
/// are carried to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRestart {
    /// It goes on if rollcall was away for a short time, and pauses otherwise.
    #[default]
    Finish,
    /// It goes on, however long that was.
    Resume,
    /// It stops, and every host that it has changed is rolled back.
    Rollback,
    /// It stops.
    Stop,
}

/// How large a batch is: Ansible's `serial`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchSize {
    Hosts(u32),
    /// Of all hosts of the run, rounded down, at least one.
    Percent(f64),
}

/// The budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaxFailures {
    Hosts(u32),
    /// Of all hosts of the run, rounded down.
    Percent(f64),
}

impl MaxFailures {
    /// The number of hosts that may fail, out of `total`.
    pub fn allowed(self, total: usize) -> usize {
        match self {
            MaxFailures::Hosts(hosts) => hosts as usize,
            MaxFailures::Percent(percent) => (percent / 100.0 * total as f64).floor() as usize,
        }
    }
}

/// What happens when a host failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It stays out of rotation, held. The run stops once the budget is spent.
    Stop,
    /// Its rollback steps run, the old release is checked, and it goes back into rotation.
    Rollback,
    /// The same, and once the budget is spent, for every host that the run has released, too.
    RollbackAll,
    /// As `Stop`, with a budget of all hosts unless the task names one: the others go on.
    Continue,
}

impl OnFailure {
    /// True when a host that failed is rolled back.
    pub fn rolls_back(self) -> bool {
        matches!(self, OnFailure::Rollback | OnFailure::RollbackAll)
    }
}

/// One unit of a task on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub body: StepBody,
    /// Path on the host: when it exists the step has nothing to do.
    pub creates: Option<String>,
    /// Command on the host: when it succeeds the step has nothing to do.
    pub unless: Option<String>,
    /// For one attempt.
    pub timeout: Duration,
    /// Attempts after the first one.
    pub retries: u32,
    /// Before each further attempt.
    pub delay: Duration,
    /// A failure is told and does not count.
    pub warn_only: bool,
    pub sudo: Sudo,
    /// Running it once more does no harm: when its outcome is lost it is run again, at least once.
    #[serde(default)]
    pub repeatable: bool,
    /// The host undoes it by itself unless somebody reaches the host anew.
    #[serde(default)]
    pub dead_man: Option<DeadMan>,
}

/// For steps that may cut the host off: what to do when nobody comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadMan {
    /// From the end of the step on.
    pub within: Duration,
    /// A script for the host's `sh`, in the directory and the environment of the step.
    pub undo: String,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepBody {
    /// A script for the host's `sh`.
    Run { script: String, dir: Option<String>, env: BTreeMap<String, String> },
    /// A file of ours; replaced atomically, and only when its content differs.
    Upload { source: Source, to: String, mode: u32 },
    /// A symbolic link, replaced atomically.
    Link { from: String, at: String },
    /// A look at the host; what it prints is the host's facts as JSON. `custom` are programs below `files/`
    /// that run there, by the name of the fact.
    Facts { custom: BTreeMap<String, Source> },
}

/// Where an upload's content comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file below `files/`, sent as it is. `sha256` is empty until the plan has looked.
    File { path: String, sha256: String },
    /// A file below `files/` that is a template.
    Template { path: String },
    /// A rendered template: only in plans.
    Text(String),
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
}

/// Gives a plan the files that uploads name; the planner itself reads nothing.
pub trait Files {
    /// The SHA-256 of a file below `files/`, in hex. The error says what is wrong with the path.
    fn sha256(&self, path: &str) -> Result<String, String>;
    /// The text of a file below `files/`.
    fn text(&self, path: &str) -> Result<String, String>;
}

impl Step {
    /// The step with every template rendered for one host. The error names the field.
    pub fn render(&self, vars: &Vars, files: &dyn Files) -> Result<Step, String> {
        let text = |field: &str, template: &str| named(field, template::text(template, vars));
        let script = |field: &str, template: &str| named(field, template::script(template, vars));
        let body = match &self.body {
            StepBody::Run { script: body, dir, env } => StepBody::Run {
                script: script("run", body)?,
                dir: dir.as_deref().map(|dir| text("in", dir)).transpose()?,
                env: env
                    .iter()
                    .map(|(k, v)| Ok((k.clone(), text("env", v)?)))
                    .collect::<Result<_, String>>()?,
            },
            StepBody::Upload { source, to, mode } => {
                StepBody::Upload { source: source.render(vars, files)?, to: text("to", to)?, mode: *mode }
            }
            StepBody::Link { from, at } => StepBody::Link { from: text("from", from)?, at: text("at", at)? },
            StepBody::Facts { custom } => {
                let render =
                    |(name, source): (&String, &Source)| Ok((name.clone(), source.render(vars, files)?));
                StepBody::Facts { custom: custom.iter().map(render).collect::<Result<_, String>>()? }
            }
        };
        let dead_man = self.dead_man.as_ref().map(|dead_man| {
            Ok::<_, String>(DeadMan { undo: script("undo", &dead_man.undo)?, ..dead_man.clone() })
        });
        Ok(Step {
            name: text("name", &self.name)?,
            body,
            dead_man: dead_man.transpose()?,
            creates: self.creates.as_deref().map(|path| text("creates", path)).transpose()?,
            unless: self.unless.as_deref().map(|command| script("unless", command)).transpose()?,
            ..self.clone()
        })
    }

    /// The step with only its file fixed, everything else still a template: for rollback steps, which
    /// are rendered while the run is under way and must not depend on a file by then.
    pub fn with_source(&self, vars: &Vars, files: &dyn Files) -> Result<Step, String> {
        let StepBody::Upload { source, to, mode } = &self.body else { return Ok(self.clone()) };
        let body = StepBody::Upload { source: source.render(vars, files)?, to: to.clone(), mode: *mode };
        Ok(Step { body, ..self.clone() })
    }

    /// Every text of the step that is a template, with the name of its field.
    pub fn templates(&self) -> Vec<(&'static str, &str)> {
        let mut all = vec![("name", self.name.as_str())];
        match &self.body {
            StepBody::Run { script, dir, env } => {
                all.push(("run", script));
                all.extend(dir.iter().map(|dir| ("in", dir.as_str())));
                all.extend(env.values().map(|value| ("env", value.as_str())));
            }
            StepBody::Upload { source, to, .. } => all.extend([("upload", source.path()), ("upload", to)]),
            StepBody::Link { from, at } => all.extend([("link", from.as_str()), ("link", at.as_str())]),
            StepBody::Facts { .. } => {}
        }
        all.extend(self.creates.iter().map(|path| ("creates", path.as_str())));
        all.extend(self.unless.iter().map(|command| ("unless", command.as_str())));
        all.extend(self.dead_man.iter().map(|dead_man| ("undo", dead_man.undo.as_str())));
        all
    }
}

impl Source {
    fn path(&self) -> &str {
        match self {
            Source::File { path, .. } | Source::Template { path } => path,
            Source::Text(_) => "",
        }
    }

    fn render(&self, vars: &Vars, files: &dyn Files) -> Result<Source, String> {
        let path = named("upload", template::text(self.path(), vars))?;
        match self {
            // A plan has put it in already.
            Source::File { sha256, .. } if !sha256.is_empty() => Ok(self.clone()),
            Source::File { .. } => {
                let sha256 = files.sha256(&path)?;
                Ok(Source::File { path, sha256 })
            }
            Source::Template { .. } => {
                let content = template::text(&files.text(&path)?, vars);
                content.map(Source::Text).map_err(|why| format!("files/{path}: {why}"))
            }
            Source::Text(_) => Ok(self.clone()),
        }
    }
}

fn named(field: &str, result: Result<String, String>) -> Result<String, String> {
    result.map_err(|why| format!("`{field}`: {why}"))
}

/// Sizes of the batches for `total` hosts: percent of all, rounded down, at least one; the last
/// entry repeats; a size of zero takes everything that is left. Ansible's rule (`features.md` 3.1).
pub fn batch_sizes(serial: &[BatchSize], total: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut left = total;
    let mut wanted =
        serial.iter().chain(std::iter::repeat(serial.last().unwrap_or(&BatchSize::Percent(100.0))));
    while left > 0 {
        let size = match wanted.next() {
            Some(BatchSize::Percent(percent)) => ((percent / 100.0 * total as f64).floor() as usize).max(1),
            Some(BatchSize::Hosts(hosts)) if *hosts > 0 => *hosts as usize,
            _ => left,
        };
        let size = size.min(left);
        sizes.push(size);
        left -= size;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(serial: &str, total: usize) -> Vec<usize> {
        let entry = |text: &str| match text.strip_suffix('%') {
            Some(percent) => BatchSize::Percent(percent.parse().unwrap()),
            None => BatchSize::Hosts(text.parse().unwrap()),
        };
        batch_sizes(&serial.split(' ').map(entry).collect::<Vec<_>>(), total)
    }

    #[test]
    fn batches_follow_ansibles_vectors() {
        let table: [(&str, usize, &[usize]); 12] = [
            ("1 10% 100%", 10, &[1, 1, 8]),
            ("1 10% 100%", 25, &[1, 2, 22]),
            ("30%", 10, &[3, 3, 3, 1]),
            ("30%", 3, &[1, 1, 1]),
            ("5%", 10, &[1; 10]),
            ("1 5 10", 20, &[1, 5, 10, 4]),
            ("50%", 7, &[3, 3, 1]),
            ("1 25%", 8, &[1, 2, 2, 2, 1]),
            ("150%", 4, &[4]),
            ("0", 5, &[5]),
            ("2 0", 5, &[2, 3]),
            ("1", 0, &[]),
        ];
        for (serial, total, wanted) in table {
            assert_eq!(sizes(serial, total), wanted, "{serial} on {total}");
        }
    }

    #[test]
    fn a_percentage_of_failures_is_of_all_hosts_and_rounds_down() {
        assert_eq!(MaxFailures::Percent(25.0).allowed(10), 2);
        assert_eq!(MaxFailures::Percent(25.0).allowed(3), 0);
        assert_eq!(MaxFailures::Hosts(3).allowed(1), 3);
    }

    proptest::proptest! {
        #[test]
        fn batches_hold_every_host_once(serial in proptest::collection::vec((0u32..30, 0u8..2), 1..4), total in 0usize..200) {
            let serial: Vec<BatchSize> = serial.into_iter().map(|(n, kind)| match kind {
                0 => BatchSize::Hosts(n),
                _ => BatchSize::Percent(f64::from(n)),
            }).collect();
            let sizes = batch_sizes(&serial, total);
            proptest::prop_assert_eq!(sizes.iter().sum::<usize>(), total);
            proptest::prop_assert!(sizes.iter().all(|size| *size > 0));
        }
    }
}
