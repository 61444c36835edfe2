//! The size limit of a plan. It is written to the store, kept in memory by the run and by each session that follows
//! it, and printed by `plan --json`: without a limit one long parameter on a large fleet takes all memory.

use serde::Serialize;

use super::plan::{HostPlan, Plan};
use crate::domain::base::digest::sha256;
use crate::domain::base::shared::{Pool, Shared};
use crate::domain::check::check::Check;
use crate::domain::task::task::Step;
use crate::domain::value::template::Vars;

/// Largest plan, in bytes of its JSON: ten thousand hosts with a dozen steps and checks each.
pub const PLAN_LIMIT_BYTES: usize = 128 * 1024 * 1024;

/// Counts the hosts of a plan while they are planned, and keeps equal parts of several hosts once.
#[derive(Debug, Default)]
pub struct Sizes {
    total: usize,
    steps: Pool<Digest, Vec<Step>>,
    checks: Pool<Digest, Vec<Check>>,
    vars: Pool<Digest, Vars>,
}

type Digest = [u8; 32];

impl Sizes {
    /// Counts one host. An error when the plan becomes too large.
    pub fn take(&mut self, host: &mut HostPlan) -> Result<(), String> {
        for steps in [&mut host.steps, &mut host.rollback] {
            self.total += share(&mut self.steps, steps)?;
        }
        for checks in [&mut host.checks, &mut host.checks_back] {
            self.total += share(&mut self.checks, checks)?;
        }
        self.total += share(&mut self.vars, &mut host.vars)?;
        match self.total > PLAN_LIMIT_BYTES {
            true => Err(format!(
                "the plan has more than {PLAN_LIMIT_BYTES} bytes; try: fewer hosts at once, or shorter values"
            )),
            false => Ok(()),
        }
    }
}

/// A plan from the store, with equal parts of its hosts kept once. Its size was checked when it was made.
pub fn shared(mut plan: Plan) -> Plan {
    let mut sizes = Sizes::default();
    for host in plan.hosts.values_mut() {
        let _ = sizes.take(host);
    }
    plan
}

/// The size of a value in JSON, in bytes.
fn share<T: Serialize>(pool: &mut Pool<Digest, T>, value: &mut Shared<T>) -> Result<usize, String> {
    let text = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    pool.share(sha256(&text), value);
    Ok(text.len())
}
