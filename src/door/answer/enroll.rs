//! Changes of the configuration: `reload`, and `operator enroll`, by which a key that logged in in vain becomes a line of
//! `operators`.

use super::asked::{Asked, Ended};
use crate::domain::ask::access::Granted;
use crate::domain::ask::ask::{Command, NewLine};
use crate::domain::ask::audit::AuditKind;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::present::json;

impl Asked<'_> {
    /// `reload` and `operator enroll`.
    pub(super) async fn configuration(&mut self, granted: &Granted) -> Result<u8, Ended> {
        if let Command::Enroll { code, line } = granted.command() {
            return self.enroll(code, line).await;
        }
        self.reload().await
    }

    async fn reload(&mut self) -> Result<u8, Ended> {
        let done = self
            .desk
            .reload
            .reload(self.caller)
            .await
            .map_err(|why| Refusal::usage(format!("nothing was taken over:\n{why}")))?;
        let text = if self.json { json::line("reload", &done) } else { format!("{done}\n") };
        self.say(&text).await
    }

    async fn enroll(&mut self, code: &str, new: &NewLine) -> Result<u8, Ended> {
        if self.granted.operator().groups.is_some() {
            let why = "an operator with groups cannot enroll anyone: the new line could have other groups";
            return Err(Refusal::new(Cause::NotAllowed, why).hint("try: ask an admin of all groups").into());
        }
        let candidates = self.desk.candidates.clone();
        let Some(candidate) = candidates.find(code, self.desk.clock.now()) else {
            let why = format!("no key waits with the code `{code}`");
            let hint = "a code holds for an hour; try: connect again with the new key, which prints it";
            return Err(Refusal::not_found(why).hint(hint).into());
        };
        let line = new.line(&candidate.key);
        let reloaded = self.desk.reload.enroll(&line, self.caller).await?;
        // From here on the line is in the file: the next reload or start takes it over.
        candidates.forget(&candidate.code);
        let (name, fingerprint, from) = (&new.name, &candidate.fingerprint, candidate.from);
        tracing::info!(operator = self.operator, %name, key = %fingerprint, %from, "enrolled");
        let fact = AuditKind::Enrolled {
            operator: name.clone(),
            fingerprint: fingerprint.clone(),
            line: new.line("KEY"),
        };
        self.desk.audit.note(self.caller, fact);
        let done = reloaded?;
        let text = match self.json {
            true => {
                json::line("enrolled", serde_json::json!({ "name": name, "key": fingerprint, "from": from }))
            }
            false => format!("{name} is enrolled: {fingerprint}, which connected from {from}\n{done}\n"),
        };
        self.say(&text).await
    }
}
