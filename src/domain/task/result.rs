//! The result of a step, for later templates and for the step's own conditions.

use serde_json::{Value, json};

use super::step::Step;
use crate::domain::base::outcome::Outcome;
use crate::domain::base::output::Output;
use crate::domain::value::template::{self, Vars};

/// The name under which `until`, `changed_when` and `failed_when` find the result of their own step.
pub const RESULT: &str = "result";

/// How one attempt of a step ended, and what it printed.
pub struct Answered<'a> {
    pub outcome: &'a Outcome,
    pub stdout: &'a Output,
    pub stderr: &'a Output,
    /// The exit status, if the outcome does not contain it.
    pub code: Option<u32>,
}

impl Answered<'_> {
    /// The result for templates.
    pub fn value(&self) -> Value {
        let code = match self.outcome {
            _ if self.code.is_some() => self.code,
            Outcome::Ok | Outcome::Unchanged => Some(0),
            Outcome::Failed { code, .. } => *code,
            _ => None,
        };
        json!({
            "stdout": self.stdout.text.trim_end_matches('\n'),
            "stderr": self.stderr.text.trim_end_matches('\n'),
            "lines": self.stdout.text.lines().collect::<Vec<_>>(),
            "code": code,
            "ok": self.outcome.is_good(),
            "failed": !self.outcome.is_good(),
            "changed": self.outcome.is_good() && self.outcome.has_changed(),
            "skipped": false,
        })
    }

    /// The gathered facts of a host.
    pub fn facts(&self) -> Value {
        serde_json::from_str(&self.stdout.text).unwrap_or_default()
    }
}

/// The registered result of a skipped step.
pub fn skipped() -> Value {
    json!({
        "stdout": "", "stderr": "", "lines": [], "code": null,
        "ok": true, "failed": false, "changed": false, "skipped": true,
    })
}

/// The outcome of an attempt by the step's own conditions. An unknown or cancelled outcome stays unchanged.
pub fn judge(step: &Step, answered: &Answered<'_>, vars: &Vars) -> Outcome {
    let outcome = answered.outcome;
    let conditions = [&step.failed_when, &step.changed_when, &step.until];
    let is_known = matches!(outcome, Outcome::Ok | Outcome::Unchanged | Outcome::Failed { .. });
    if !is_known || conditions.iter().all(|condition| condition.is_none()) {
        return outcome.clone();
    }
    let mut vars = vars.clone();
    vars.extend(step.vars.clone());
    vars.insert(RESULT.into(), answered.value());
    by_conditions(step, outcome, &vars).unwrap_or_else(|why| Outcome::Failed { code: None, why })
}

fn by_conditions(step: &Step, outcome: &Outcome, vars: &Vars) -> Result<Outcome, String> {
    let holds = |key: &str, condition: &Option<String>| {
        let condition = condition.as_deref();
        let held = condition.map(|condition| template::holds(condition, vars)).transpose();
        held.map_err(|why| format!("`{key}`: {why}"))
    };
    let mut outcome = outcome.clone();
    match (holds("failed_when", &step.failed_when)?, &outcome) {
        (Some(true), Outcome::Ok | Outcome::Unchanged) => {
            let condition = step.failed_when.as_deref().unwrap_or_default();
            return Ok(Outcome::Failed { code: Some(0), why: format!("failed_when: {condition}") });
        }
        (Some(false), Outcome::Failed { .. }) => outcome = Outcome::Ok,
        _ => {}
    }
    if !outcome.is_good() {
        return Ok(outcome);
    }
    if holds("until", &step.until)? == Some(false) {
        let condition = step.until.as_deref().unwrap_or_default();
        return Ok(Outcome::Failed { code: None, why: format!("does not hold yet: {condition}") });
    }
    Ok(match holds("changed_when", &step.changed_when)? {
        Some(true) => Outcome::Ok,
        Some(false) => Outcome::Unchanged,
        None => outcome,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::task::body::StepBody;

    fn judged(set: impl FnOnce(&mut Step), outcome: Outcome, stdout: &str) -> Outcome {
        let mut step = Step::new("s", StepBody::Run { script: "x".into() });
        set(&mut step);
        let (stdout, stderr) = (Output { text: stdout.into(), left_out: 0 }, Output::default());
        judge(
            &step,
            &Answered { outcome: &outcome, stdout: &stdout, stderr: &stderr, code: None },
            &Vars::new(),
        )
    }

    #[test]
    fn a_steps_own_conditions_say_what_its_end_means() {
        let failed = |code| Outcome::Failed { code: Some(code), why: "x".into() };
        let grep = |step: &mut Step| step.failed_when = Some("result.code > 1".into());
        assert_eq!(judged(grep, failed(1), ""), Outcome::Ok, "grep found nothing");
        assert_eq!(judged(grep, failed(2), ""), failed(2));
        let changed = |step: &mut Step| step.changed_when = Some("'created' in result.stdout".into());
        assert_eq!(judged(changed, Outcome::Ok, "created 3\n"), Outcome::Ok);
        assert_eq!(judged(changed, Outcome::Ok, "nothing to do\n"), Outcome::Unchanged);
        assert_eq!(judged(changed, failed(1), "created"), failed(1), "what failed stays failed");
        let said = |step: &mut Step| step.failed_when = Some("'ERROR' in result.stdout".into());
        let why = "failed_when: 'ERROR' in result.stdout".to_string();
        assert_eq!(judged(said, Outcome::Ok, "ERROR\n"), Outcome::Failed { code: Some(0), why });
        let until = |step: &mut Step| step.until = Some("result.lines | length == 2".into());
        let why = "does not hold yet: result.lines | length == 2".to_string();
        assert_eq!(judged(until, Outcome::Ok, "one\n"), Outcome::Failed { code: None, why });
        assert_eq!(judged(until, Outcome::Ok, "one\ntwo\n"), Outcome::Ok);
        let lost = Outcome::Lost { why: "gone".into() };
        assert_eq!(judged(changed, lost.clone(), ""), lost, "what is not known is not judged");
        let broken = |step: &mut Step| step.until = Some("result.nothing".into());
        assert!(
            matches!(judged(broken, Outcome::Ok, ""), Outcome::Failed { why, .. } if why.contains("`until`"))
        );
    }
}
