//! Hooks: steps for the whole run, on the daemon's machine, through the same wrapper as all other steps.

use tokio::time::Instant;

use super::here;
use super::work::{OUTCOME, Work};
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::plan::plan::HostPlan;
use crate::domain::run::event::{EventKind, hook_id};
use crate::domain::task::hook::Hook;
use crate::domain::task::step::NoFiles;
use crate::domain::task::step::Step;
use crate::steps::attempt::{Attempt, Done};

impl Work {
    pub(super) async fn hook(&self, hook: Hook, at: usize) -> EventKind {
        let begun = Instant::now();
        let (name, done) = match self.hook_step(hook, at) {
            Ok(step) => {
                let operation = hook_id(self.live.id, hook, at);
                let plan = HostPlan::bare(Endpoint::here());
                let done = Attempt::new(&self.context, &plan, &step, operation).perform().await.0;
                let outcome = self.judged(&step, &done);
                (step.name, Done { outcome, ..done })
            }
            Err(why) => (format!("step {at}"), Done::failed(why)),
        };
        EventKind::HookEnded {
            hook,
            step: at,
            name,
            outcome: done.outcome,
            stdout: done.stdout,
            stderr: done.stderr,
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn hook_step(&self, hook: Hook, at: usize) -> Result<Step, String> {
        let plan = &self.live.plan;
        let step = plan.hooks.get(&hook).and_then(|steps| steps.get(at)).ok_or("no such step")?;
        let mut step = match (step.late, plan.hosts.keys().next()) {
            // The task's own secrets are the same for all its hosts.
            (true, Some(host)) => step.render(&self.with_secrets(host, step)?, &NoFiles)?,
            _ => step.clone(),
        };
        step.sudo.check_password()?;
        step.env.extend(here::environment(&self.live, None));
        let outcome = self.known.get(OUTCOME).and_then(|word| word.as_str());
        step.env.extend(outcome.map(|word| ("ROLLCALL_OUTCOME".to_string(), word.to_string())));
        Ok(step)
    }
}
