//! `receipt`: a signed record of a finished run.

use super::asked::{Asked, Ended};
use crate::domain::ask::access::Granted;
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::plan::veil::Veil;
use crate::domain::run::receipt::{last_event, receipt};
use crate::present::json;

impl Asked<'_> {
    /// `receipt N`, its signature, and the key that signs.
    pub(super) async fn receipts(
        &mut self,
        granted: &Granted,
        asked: Option<(RunId, bool)>,
    ) -> Result<u8, Ended> {
        if self.json {
            let why = "a receipt is JSON already, and its bytes are signed as they are";
            return Err(Refusal::usage(why).hint("try: receipt N without --json").into());
        }
        let Some((run, signature)) = asked else {
            let line = self.desk.signer.allowed_signers()?;
            return self.say(&line).await;
        };
        let text = self.receipt(granted, run).await?;
        match signature {
            true => {
                let signature = self.desk.signer.sign(&text)?;
                self.say(&signature).await
            }
            // Its bytes are signed: the answer must not change one of them.
            false => {
                self.terminal.bytes(text.into()).await?;
                Ok(0)
            }
        }
    }

    async fn receipt(&mut self, granted: &Granted, run: RunId) -> Result<String, Ended> {
        let stored = self.stored(granted, run).await?;
        let Some(last) = last_event(&stored.events).map(|event| event.seq) else {
            let why = format!("run {run} is under way: a receipt is of a finished run");
            return Err(Refusal::new(Cause::Busy, why).hint(format!("try: watch {run}")).into());
        };
        let hash = self.ports().events.hash_of(last).await?.unwrap_or_default();
        let groups = granted.operator().groups.clone();
        let whole = self.config.inventory.clone();
        let write = move || {
            let text = json::safe_lines(&receipt(&stored.plan, &stored.events, &hash)?);
            let names_others = groups.is_some_and(|groups| {
                Veil::new(&whole, &whole.visible_to(Some(&groups))).over(&text) != text
            });
            Some((text, names_others))
        };
        match self.work(write).await? {
            Some((text, false)) => Ok(text),
            Some((_, true)) => {
                let why =
                    format!("the receipt of run {run} names hosts outside of your groups, and cannot be cut");
                let refusal = Refusal::new(Cause::NotAllowed, why);
                Err(refusal.hint(format!("see: show {run}; or ask an admin without groups")).into())
            }
            None => Err(Refusal::internal(format!("run {run} has no receipt")).into()),
        }
    }
}
