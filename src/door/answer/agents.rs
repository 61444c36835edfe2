//! Requests of agents: what is different in them. Nothing reaches a host, and a run starts only as the plan that was shown.

use super::asked::Asked;
use crate::domain::ask::access::Granted;
use crate::domain::base::refusal::Refusal;
use crate::domain::plan::plan::Plan;
use crate::engine::preflight::{Preflight, preflight};

impl Asked<'_> {
    /// What the balancers say about a plan. They are asked on their hosts, so nothing is asked for an agent.
    pub(super) async fn preflight(&self, granted: &Granted, plan: &Plan) -> Preflight {
        match granted.agent() {
            Some(_) if plan.has_bracket() => Preflight {
                unknown: vec!["the balancers are not asked for an agent".into()],
                ..Preflight::default()
            },
            Some(_) => Preflight::default(),
            None => preflight(self.ports(), plan).await,
        }
    }

    /// The digest with which an agent may start the plan.
    pub(super) async fn digest_for_agent(&self, plan: &Plan) -> Result<String, Refusal> {
        if let Some(name) = plan.hidden_params().next() {
            let why = format!("the parameter `{name}` is secret, and no agent may give or use it");
            return Err(Refusal::rule(why).hint("a person starts this task"));
        }
        let plan = plan.clone();
        let digest = self.work(move || plan.digest()).await?;
        digest.map_err(|error| Refusal::internal(error.to_string()))
    }

    /// Refuses a plan that is not the one that the agent was shown.
    pub(super) async fn must_be(&self, plan: &Plan, digest: &str) -> Result<(), Refusal> {
        if self.digest_for_agent(plan).await? == digest {
            return Ok(());
        }
        let why = "the plan of now is not the one with this digest: the configuration, the hosts or the request have changed";
        Err(Refusal::rule(why).hint("plan it again, and start it with the digest of that plan"))
    }
}
