//! What happened since an operator has opened the page of the fleet before: for the change of a shift.

use std::collections::BTreeMap;

use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::count;
use crate::domain::base::outcome::RunOutcome;
use crate::domain::run::visit::Moment;
use crate::present::board::page::Line;
use crate::present::table::moment;

/// What happened, as far as the operator may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Since {
    pub from: Moment,
    /// How runs ended.
    pub ended: Vec<RunOutcome>,
    /// Older runs have ended, too, and were not read.
    pub more_ended: bool,
    /// Hosts that went out of rotation and wait for a person.
    pub owed: usize,
    /// Checks that became critical, and those of them that are critical now.
    pub critical: usize,
    pub still_critical: usize,
    /// The clock is behind the visit: which checks became critical is not known.
    pub was_set_back: bool,
}

impl Since {
    /// The head of the page: what happened, each with its page.
    pub fn lines(&self) -> Vec<Line> {
        let since = format!("since your last visit, {} (event {})", moment(self.from.at), self.from.seq);
        let mut facts = vec![
            (self.runs(), PageName::Runs),
            (self.debts(), PageName::Debts),
            (self.checks(), PageName::Checks),
        ];
        facts.retain(|(text, _)| !text.is_empty());
        if facts.is_empty() {
            let nothing = "no run has ended, no debt was opened, no check became critical";
            return vec![Line::plain(format!("{since}: {nothing}"))];
        }
        let line = |(at, (text, page)): (usize, (String, PageName))| {
            let text = if at == 0 { format!("{since}: {text}") } else { text };
            Line::plain(text).leading_to(View::of(page))
        };
        facts.into_iter().enumerate().map(line).collect()
    }

    fn runs(&self) -> String {
        let mut words: BTreeMap<&str, usize> = BTreeMap::new();
        self.ended.iter().for_each(|outcome| *words.entry(outcome.word()).or_default() += 1);
        let least = if self.more_ended { "at least " } else { "" };
        let list: Vec<String> = words.into_iter().map(|(word, number)| format!("{number} {word}")).collect();
        match self.ended.len() {
            0 if self.more_ended => "runs have ended".into(),
            0 => String::new(),
            all => format!("{least}{} ended ({})", count(all, "run"), list.join(", ")),
        }
    }

    fn debts(&self) -> String {
        match self.owed {
            0 => String::new(),
            1 => "1 debt was opened and is open".into(),
            many => format!("{many} debts were opened and are open"),
        }
    }

    fn checks(&self) -> String {
        if self.was_set_back {
            return "the clock was set back, so which checks became critical is not known".into();
        }
        let now = match self.still_critical {
            0 => "none of them is now".to_string(),
            all if all == self.critical => "and still".to_string(),
            some => format!("{some} of them still"),
        };
        match self.critical {
            0 => String::new(),
            all => format!("{} became critical, {now}", count(all, "check")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::outcome::Verdict;

    #[test]
    fn each_fact_has_its_page_and_nothing_is_said_as_such() {
        let from = Moment { seq: 47_102, at: "2026-11-28T22:40:03.5Z".parse().unwrap() };
        let none = Since {
            from,
            ended: vec![],
            more_ended: false,
            owed: 0,
            critical: 0,
            still_critical: 0,
            was_set_back: false,
        };
        let set_back = Since { was_set_back: true, ..none.clone() };
        assert!(
            set_back.lines()[0].text.ends_with("which checks became critical is not known"),
            "{set_back:?}"
        );
        let since = "since your last visit, 2026-11-28 22:40:03Z (event 47102)";
        let texts = |since: &Since| -> Vec<(String, Option<String>)> {
            since.lines().into_iter().map(|line| (line.text, line.address)).collect()
        };
        let nothing = "no run has ended, no debt was opened, no check became critical";
        assert_eq!(texts(&none), [(format!("{since}: {nothing}"), None)]);
        let outcomes =
            vec![RunOutcome::Done, RunOutcome::Failed, RunOutcome::Done, RunOutcome::Checked(Verdict::Ok)];
        let all = Since { ended: outcomes, owed: 1, critical: 3, still_critical: 2, ..none.clone() };
        let wanted = [
            (format!("{since}: 4 runs ended (2 done, 1 failed, 1 ok)"), Some("/runs".to_string())),
            ("1 debt was opened and is open".into(), Some("/debts".into())),
            ("3 checks became critical, 2 of them still".into(), Some("/checks".into())),
        ];
        assert_eq!(texts(&all), wanted);
        let debts = Since { owed: 2, ..none };
        assert_eq!(
            texts(&debts),
            [(format!("{since}: 2 debts were opened and are open"), Some("/debts".into()))]
        );
    }
}
