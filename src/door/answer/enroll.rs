//! `operator enroll`: a key that logged in in vain becomes a line of `operators`.

use super::asked::{Asked, Ended};
use crate::domain::ask::ask::NewLine;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::present::json;

impl Asked<'_> {
    pub(super) async fn enroll(&mut self, code: &str, new: &NewLine) -> Result<u8, Ended> {
        if self.granted.operator().groups.is_some() {
            let why = "an operator with groups enrolls nobody: the new line could have other groups";
            return Err(Refusal::new(Cause::NotAllowed, why).hint("try: ask an admin of all groups").into());
        }
        let candidates = self.desk.candidates.clone();
        let Some(candidate) = candidates.find(code, self.desk.clock.now()) else {
            let why = format!("no key waits with the code `{code}`");
            let hint = "a code holds for an hour; try: connect again with the new key, which prints it";
            return Err(Refusal::not_found(why).hint(hint).into());
        };
        let line = new.line(&candidate.key);
        let done = self.desk.reload.enroll(&line).await?;
        candidates.forget(&candidate.code);
        let (name, fingerprint, from) = (&new.name, &candidate.fingerprint, candidate.from);
        tracing::info!(operator = self.operator, %name, key = %fingerprint, %from, "enrolled");
        let text = match self.json {
            true => {
                json::line("enrolled", serde_json::json!({ "name": name, "key": fingerprint, "from": from }))
            }
            false => format!("{name} is enrolled: {fingerprint}, which connected from {from}\n{done}\n"),
        };
        self.say(&text).await
    }
}
