//! `audit`: what people did, for those who may read it.

use jiff::Timestamp;

use super::asked::{Asked, Ended};
use crate::domain::ask::access::Granted;
use crate::domain::ask::audit::{AuditKind, AuditPage, TYPES};
use crate::domain::ask::command::{AuditAsk, Record, Since};
use crate::domain::base::name::{clipped, nearest};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::port::audit::AuditQuery;
use crate::present::{audit as words, json};

/// Rows of one answer; the last line of it says how to read on.
const PAGE_ROWS: usize = 200;

/// Refuses the name of a type that no row has.
fn known_types(types: &[String]) -> Result<(), Refusal> {
    let Some(word) = types.iter().find(|word| !TYPES.contains(&word.as_str())) else { return Ok(()) };
    let near = nearest(word, TYPES).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let why = format!("no row has the type `{}`{near} (known: {})", clipped(word), TYPES.join(", "));
    Err(Refusal::usage(why))
}

/// True for those who read the rows of all operators.
fn reads_all(granted: &Granted) -> bool {
    granted.operator().is_admin() && granted.operator().groups.is_none()
}

/// The operator whose rows are read; `None` for all of them.
fn whose(granted: &Granted, wanted: Option<&String>) -> Result<Option<String>, Refusal> {
    let own = &granted.operator().name;
    match wanted {
        _ if reads_all(granted) => Ok(wanted.cloned()),
        Some(other) if other != own => {
            let why = "only an admin without groups reads the rows of other operators";
            Err(Refusal::new(Cause::NotAllowed, why).hint("try: audit"))
        }
        _ => Ok(Some(own.clone())),
    }
}

impl Asked<'_> {
    /// What is on record.
    pub(super) async fn record(&mut self, granted: &Granted, asked: &Record) -> Result<u8, Ended> {
        match asked {
            Record::Audit(ask) => self.audit(granted, ask).await,
            Record::Verify => self.audit_verify(granted).await,
            Record::Receipt { run, signature } => self.receipts(granted, Some((*run, *signature))).await,
            Record::Signers => self.receipts(granted, None).await,
            Record::Report(ask) => self.group_report(granted, ask).await,
            Record::ConfigLog => self.versions(granted, None).await,
            Record::Git { service, path } => self.git(*service, path).await,
            Record::ConfigDiff { old, new } => {
                self.versions(granted, Some((old.as_deref(), new.as_deref()))).await
            }
        }
    }

    async fn audit(&mut self, granted: &Granted, ask: &AuditAsk) -> Result<u8, Ended> {
        let (page, next) = self.audit_rows(granted, ask).await?;
        for row in &page.rows {
            self.terminal.may_name(row.fact.typed());
        }
        let text = match self.json {
            true => page.rows.iter().map(|row| json::line("audit", row)).collect(),
            false => words::rows(&page.rows),
        };
        self.terminal.out(&text).await?;
        if let Some((order, option, number)) = next {
            self.terminal.more(option, number);
            let hint = format!(
                "rollcall: there are {order} rows; try: audit --{option} {number} with the same options\n"
            );
            self.terminal.err(&hint).await?;
        }
        Ok(0)
    }

    /// The rows that the operator may read, and how to read on.
    pub(super) async fn audit_rows(
        &self,
        granted: &Granted,
        ask: &AuditAsk,
    ) -> Result<(AuditPage, Option<NextPage>), Ended> {
        known_types(&ask.types)?;
        let name = whose(granted, ask.operator.as_ref())?;
        let (after, from) = match ask.since {
            None => (None, None),
            Some(Since::Event(seq)) => (Some(seq), None),
            Some(Since::Time(time)) => {
                (None, Some(self.desk.clock.now().checked_sub(time).unwrap_or(Timestamp::MIN)))
            }
        };
        let (types, refused) = (ask.types.clone(), ask.refused);
        let query = AuditQuery { after, before: ask.before, from, name, types, refused, limit: PAGE_ROWS };
        let mut page = self.desk.audit.of(granted).await?.page(query).await?;
        let next = next_page(ask, &page);
        if !reads_all(granted) {
            // They name the files of all groups.
            page.rows.retain(|row| !matches!(row.fact.kind, AuditKind::ConfigChanged { .. }));
        }
        Ok((page, next))
    }

    async fn audit_verify(&mut self, granted: &Granted) -> Result<u8, Ended> {
        if !reads_all(granted) {
            let why = "only an admin without groups verifies the audit and the journal";
            return Err(Refusal::new(Cause::NotAllowed, why).hint("see: whoami").into());
        }
        let chains = self.desk.audit.of(granted).await?.verify().await?;
        let text = match self.json {
            true => chains.iter().map(|chain| json::line("chain", chain)).collect(),
            false => words::verified(&chains),
        };
        self.say(&text).await
    }
}

/// How to read the rows that a page leaves out: what they are, the option, and its number.
type NextPage = (&'static str, &'static str, u64);

fn next_page(ask: &AuditAsk, page: &AuditPage) -> Option<NextPage> {
    let (first, last) = (page.rows.first()?.seq, page.rows.last()?.seq);
    let next = match ask.since {
        Some(_) => ("newer", "since", last),
        None => ("older", "before", first),
    };
    page.more.then_some(next)
}
