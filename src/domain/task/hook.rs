//! Hooks: steps that run once for a whole run, on the daemon's machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::domain::base::outcome::Outcome;

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// Before any host starts; if it fails, no host starts.
    Before,
    /// After all hosts have ended well.
    After,
    /// After all hosts have ended, not all of them well.
    OnFailure,
    /// Last, whatever the outcome.
    Finally,
}

/// The steps of each hook.
pub type Hooks = BTreeMap<Hook, Vec<Step>>;

impl Hook {
    /// Every hook, in order.
    pub const ALL: [Hook; 4] = [Hook::Before, Hook::After, Hook::OnFailure, Hook::Finally];

    /// The word in TOML.
    pub fn word(self) -> &'static str {
        match self {
            Hook::Before => "before",
            Hook::After => "after",
            Hook::OnFailure => "on_failure",
            Hook::Finally => "finally",
        }
    }
}

/// The progress of a run's hooks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookProgress {
    /// The next step to start.
    next: BTreeMap<Hook, usize>,
    pub running: Option<(Hook, usize)>,
    /// Why the first failed hook failed.
    pub failed: Option<String>,
}

impl HookProgress {
    /// The next step of a hook; `None` when there is none left.
    pub fn next<'a>(&self, hooks: &'a Hooks, hook: Hook) -> Option<(usize, &'a Step)> {
        let at = self.next.get(&hook).copied().unwrap_or_default();
        Some((at, hooks.get(&hook)?.get(at)?))
    }

    /// True once one of its steps has started.
    pub fn has_begun(&self, hook: Hook) -> bool {
        self.next.contains_key(&hook)
    }

    /// True when this step may start.
    pub fn fits(&self, hooks: &Hooks, hook: Hook, step: usize) -> bool {
        self.running.is_none() && self.next(hooks, hook).is_some_and(|(at, _)| at == step)
    }

    /// A step starts.
    pub fn begin(&mut self, hook: Hook, step: usize) {
        self.running = Some((hook, step));
        self.next.insert(hook, step);
    }

    /// A step ended: the next one follows, unless it failed.
    pub fn end(&mut self, hooks: &Hooks, hook: Hook, step: usize, outcome: &Outcome) {
        self.running = None;
        let all = hooks.get(&hook).map_or(0, Vec::len);
        let warn_only = hooks.get(&hook).and_then(|steps| steps.get(step)).is_some_and(|step| step.warn_only);
        let name = hooks.get(&hook).and_then(|steps| steps.get(step)).map_or("", |step| &step.name);
        let failure = outcome.failure(name).filter(|_| !warn_only);
        self.next.insert(hook, if failure.is_some() { all } else { step + 1 });
        if let Some(failure) = failure {
            self.failed.get_or_insert(format!("hook {}: {}", hook.word(), failure.why));
        }
    }
}
