//! Records what people do. A command that changes anything is on record before it acts; what only reads is recorded
//! within a second, many rows in one write, so that it stays fast.

mod limits;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::limits::{Limits, Taken};
use crate::domain::ask::access::Granted;
use crate::domain::ask::audit::{AuditFact, AuditKind, Caller, CommandEnd, short};
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::Refusal;
use crate::port::audit::AuditLog;
use crate::port::{Clock, StoreError};

/// How long rows may wait before they are written.
const WRITE_PERIOD: Duration = Duration::from_secs(1);

/// How long rows that only count may wait: one a minute for each operator does no harm.
const COUNT_PERIOD: Duration = Duration::from_secs(60);

/// Most rows that wait. More are not kept, and their number is logged: the disk is too slow or full.
const WAITING_ROWS_LIMIT: usize = 10_000;

/// How many of the last waiting rows a new one is compared with, to fold equal ones.
const FOLD_WINDOW: usize = 16;

/// Refused logins that are recorded in an hour: about 300 KB a day, however many strangers come.
const REFUSED_LOGINS_PER_HOUR: u32 = 60;

/// The hour of that limit.
const HOUR: Duration = Duration::from_secs(3_600);

/// Writes the audit. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    log: Arc<dyn AuditLog>,
    clock: Arc<dyn Clock>,
    waiting: Arc<Mutex<Waiting>>,
    /// Fires when rollcall stops: rows wait no longer, and nothing holds the store for their sake.
    stopping: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    facts: Vec<AuditFact>,
    /// A task that will write them is under way.
    is_due: bool,
    limits: Limits,
    /// Rows that only count those beyond [`Limits`].
    counted: Vec<AuditFact>,
    /// The same for these.
    is_count_due: bool,
    /// Rows beyond [`WAITING_ROWS_LIMIT`].
    lost: u64,
    refused: Refused,
}

/// The refused logins of the present hour.
#[derive(Default)]
struct Refused {
    hour: Option<Instant>,
    recorded: u32,
    left_out: u64,
}

impl Refused {
    /// True if one more is recorded; the others are counted.
    fn may_record(&mut self, now: Instant) -> bool {
        if self.hour.is_none_or(|begun| now.duration_since(begun) >= HOUR) {
            (self.hour, self.recorded) = (Some(now), 0);
        }
        if self.recorded < REFUSED_LOGINS_PER_HOUR {
            self.recorded += 1;
            return true;
        }
        self.left_out += 1;
        false
    }
}

/// A command under way. Its end is recorded also when its answer panics.
pub struct Recording {
    audit: Audit,
    caller: Caller,
    begun: (AuditFact, Instant),
    /// The row of a command that was recorded before it acted.
    pub row: Option<u64>,
    ended: bool,
}

impl Audit {
    pub fn new(log: Arc<dyn AuditLog>, clock: Arc<dyn Clock>) -> Audit {
        Audit { log, clock, waiting: Arc::default(), stopping: CancellationToken::new() }
    }

    /// Reads the audit, for a granted command. Waiting rows are written first.
    pub async fn of(&self, _proof: &Granted) -> Result<&dyn AuditLog, StoreError> {
        self.write_all().await?;
        Ok(&*self.log)
    }

    /// Records a granted command. If it is one that changes anything, its row is in the store afterwards; or the error
    /// says why it must not act.
    pub async fn begin(&self, caller: &Caller, granted: &Granted) -> Result<Recording, Refusal> {
        let fact = caller.fact(self.clock.now(), caller.granted(granted, None));
        let row = match granted.command().only_reads() {
            true => None,
            false => Some(self.write(vec![fact.clone()]).await.map_err(|error| unrecorded(&error))?),
        };
        let begun = (fact, Instant::now());
        Ok(Recording { audit: self.clone(), caller: caller.clone(), begun, row, ended: false })
    }

    /// Records a command that is refused.
    pub fn refused(&self, caller: &Caller, rule: Option<String>, why: &str) {
        self.later(caller.fact(self.clock.now(), caller.refused(rule, why)));
    }

    /// Records a change before it is made.
    pub async fn change(&self, caller: &Caller, kind: AuditKind) -> Result<(), Refusal> {
        let fact = caller.fact(self.clock.now(), kind);
        self.write(vec![fact]).await.map(drop).map_err(|error| unrecorded(&error))
    }

    /// Records a fact of a caller.
    pub fn note(&self, caller: &Caller, kind: AuditKind) {
        self.later(caller.fact(self.clock.now(), kind));
    }

    /// Records a login that was refused, within a rate.
    pub fn login_refused(&self, from: IpAddr, user: String, keys: Vec<String>) {
        if !self.waiting().refused.may_record(Instant::now()) {
            return;
        }
        self.later(self.of_stranger(Some(from), AuditKind::LoginRefused { user, keys }));
    }

    fn of_stranger(&self, from: Option<IpAddr>, kind: AuditKind) -> AuditFact {
        AuditFact { at: self.clock.now(), name: String::new(), key: None, from, config: None, times: 1, kind }
    }

    /// Writes all that waits. Call before the process ends.
    pub async fn finish(&self) {
        self.stopping.cancel();
        let _ = self.write_all().await;
    }

    /// Adds a row that is written within [`WRITE_PERIOD`], or counts it.
    fn later(&self, fact: AuditFact) {
        let mut waiting = self.waiting();
        if waiting.facts.iter_mut().rev().take(FOLD_WINDOW).any(|known| known.folds(&fact)) {
            return;
        }
        match waiting.limits.take(fact, Instant::now()) {
            Taken::Kept(_) if waiting.facts.len() >= WAITING_ROWS_LIMIT => waiting.lost += 1,
            Taken::Kept(fact) => waiting.facts.push(fact),
            Taken::Counted(fact) => return self.count(waiting, fact),
        }
        if !std::mem::replace(&mut waiting.is_due, true) {
            let audit = self.clone();
            tokio::spawn(async move {
                // Whichever comes first.
                let _ = timeout(WRITE_PERIOD, audit.stopping.cancelled()).await;
                let _ = audit.write(Vec::new()).await;
            });
        }
    }

    /// Adds to the row of its operator that only counts.
    fn count(&self, mut waiting: MutexGuard<'_, Waiting>, fact: AuditFact) {
        if !waiting.counted.iter_mut().any(|known| known.folds(&fact)) {
            waiting.counted.push(fact);
        }
        if !std::mem::replace(&mut waiting.is_count_due, true) {
            let audit = self.clone();
            tokio::spawn(async move {
                let _ = timeout(COUNT_PERIOD, audit.stopping.cancelled()).await;
                let _ = audit.write_all().await;
            });
        }
    }

    /// Writes all that waits, and the rows that only count.
    async fn write_all(&self) -> Result<u64, StoreError> {
        let counted = {
            let mut waiting = self.waiting();
            waiting.is_count_due = false;
            std::mem::take(&mut waiting.counted)
        };
        self.write(counted).await
    }

    /// Writes what waits, and these behind it; returns the number of the last row.
    async fn write(&self, facts: Vec<AuditFact>) -> Result<u64, StoreError> {
        let facts = [self.take(), facts].concat();
        if facts.is_empty() {
            return Ok(0);
        }
        let rows = facts.len();
        self.log.record(facts).await.inspect_err(|error| {
            tracing::error!(%error, rows, "the audit could not be written; the commands are in this log as `asked`");
        })
    }

    fn take(&self) -> Vec<AuditFact> {
        let mut waiting = self.waiting();
        waiting.is_due = false;
        let mut facts = std::mem::take(&mut waiting.facts);
        let count = std::mem::take(&mut waiting.refused.left_out);
        if count > 0 {
            facts.push(self.of_stranger(None, AuditKind::LoginsLeftOut { count }));
        }
        let lost = std::mem::take(&mut waiting.lost);
        if lost > 0 {
            tracing::error!(
                rows = lost,
                "the audit could not keep up; the commands are in this log as `asked`"
            );
        }
        facts
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unrecorded(error: &StoreError) -> Refusal {
    Refusal::internal(format!("nothing was done, since the audit could not be written: {error}"))
        .hint("see: the daemon's log; audit verify")
}

impl Recording {
    /// Records how the command ended.
    pub fn end(mut self, status: u8, run: Option<RunId>, why: Option<String>) {
        self.record(status, run, why.map(|why| short(&why)));
    }

    fn record(&mut self, status: u8, run: Option<RunId>, why: Option<String>) {
        self.ended = true;
        let (fact, begun) = &self.begun;
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let end = CommandEnd { status, millis, run, why };
        let fact = match self.row {
            Some(command) => {
                self.caller.fact(self.audit.clock.now(), AuditKind::CommandEnded { command, end })
            }
            None => ended_at_once(fact.clone(), end),
        };
        self.audit.later(fact);
    }
}

/// The row of a command that only reads.
fn ended_at_once(fact: AuditFact, end: CommandEnd) -> AuditFact {
    match fact.kind {
        AuditKind::Command { line, rule, .. } => {
            AuditFact { kind: AuditKind::Command { line, rule, end: Some(end) }, ..fact }
        }
        kind => AuditFact { kind, ..fact },
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.ended {
            self.record(1, None, Some("its answer was broken off; see: the daemon's log".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use jiff::Timestamp;
    use tokio::time::sleep;

    use super::*;
    use crate::domain::ask::access::{Operator, Role, authorize};
    use crate::domain::ask::audit::{AuditPage, ChainSummary};
    use crate::domain::ask::command::parse_line;
    use crate::port::audit::AuditQuery;

    /// Keeps what is recorded, unless it is full.
    #[derive(Default)]
    struct Kept {
        facts: Mutex<Vec<AuditFact>>,
        is_full: bool,
    }

    #[async_trait]
    impl AuditLog for Kept {
        async fn record(&self, facts: Vec<AuditFact>) -> Result<u64, StoreError> {
            if self.is_full {
                return Err(StoreError::Failed("disk full".into()));
            }
            let mut kept = self.facts.lock().unwrap();
            kept.extend(facts);
            Ok(kept.len() as u64)
        }

        async fn page(&self, _: AuditQuery) -> Result<AuditPage, StoreError> {
            Ok(AuditPage::default())
        }

        async fn verify(&self) -> Result<Vec<ChainSummary>, StoreError> {
            Ok(Vec::new())
        }
    }

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }
    }

    fn audit(is_full: bool) -> (Audit, Arc<Kept>) {
        let kept = Arc::new(Kept { is_full, ..Kept::default() });
        (Audit::new(kept.clone(), Arc::new(Still)), kept)
    }

    fn asked(line: &str) -> (Caller, Granted) {
        let operator = Operator::new("ann", "SHA256:k", Role::Admin);
        let command = parse_line(line.as_bytes()).unwrap().command;
        let granted = authorize(&operator, command, Timestamp::UNIX_EPOCH).unwrap();
        (Caller { operator, from: None, config: String::new(), line: line.into() }, granted)
    }

    fn types(kept: &Kept) -> Vec<String> {
        let kinds = kept
            .facts
            .lock()
            .unwrap()
            .iter()
            .map(|fact| serde_json::to_value(fact).unwrap())
            .collect::<Vec<_>>();
        kinds
            .iter()
            .map(|value| {
                format!("{} {}", value["type"].as_str().unwrap(), value["times"].as_u64().unwrap_or(1))
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_act_is_on_record_before_it_acts_and_reads_share_a_write() {
        let (audit, kept) = audit(false);
        let (caller, granted) = asked("runs");
        for _ in 0..3 {
            audit.begin(&caller, &granted).await.unwrap().end(0, None, None);
        }
        assert_eq!(types(&kept), Vec::<String>::new());
        let (caller, granted) = asked("reload");
        let acting = audit.begin(&caller, &granted).await.unwrap();
        assert_eq!(types(&kept), ["command 3", "command 1"]);
        assert_eq!(acting.row, Some(2));
        acting.end(0, None, None);
        sleep(WRITE_PERIOD * 2).await;
        assert_eq!(types(&kept), ["command 3", "command 1", "command-ended 1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_acts_that_cannot_be_recorded_and_reads_go_on() {
        let (audit, _) = audit(true);
        let (caller, granted) = asked("reload");
        let refusal = audit.begin(&caller, &granted).await.err().unwrap();
        assert_eq!(
            refusal.to_string(),
            "nothing was done, since the audit could not be written: disk full; see: the daemon's log; audit verify"
        );
        let (caller, granted) = asked("runs");
        assert!(audit.begin(&caller, &granted).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_cannot_fill_the_disk_and_are_counted() {
        let (audit, kept) = audit(false);
        let stranger =
            |number: u32| audit.login_refused([192, 0, 2, 1].into(), format!("user{number}"), vec![]);
        (0..1_000).for_each(stranger);
        sleep(WRITE_PERIOD * 2).await;
        let facts = kept.facts.lock().unwrap().clone();
        assert_eq!(facts.len() as u32, REFUSED_LOGINS_PER_HOUR + 1);
        assert_eq!(facts.last().unwrap().kind, AuditKind::LoginsLeftOut { count: 940 });
        (0..1_000).for_each(stranger);
        sleep(WRITE_PERIOD * 2).await;
        assert_eq!(kept.facts.lock().unwrap().len(), facts.len(), "a flood alone writes no row");
        sleep(HOUR).await;
        stranger(0);
        sleep(WRITE_PERIOD * 2).await;
        let facts = kept.facts.lock().unwrap().clone();
        assert_eq!(facts.last().unwrap().kind, AuditKind::LoginsLeftOut { count: 1_000 });
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_in_a_tight_loop_does_not_fill_the_disk_and_is_counted() {
        let (audit, kept) = audit(false);
        let refuse = |number: u32| {
            let (caller, _) = asked("runs");
            audit.refused(&Caller { line: format!("nonsense{number}"), ..caller }, None, "no such command");
        };
        (0..10_000).for_each(refuse);
        sleep(WRITE_PERIOD * 2).await;
        assert_eq!(types(&kept).len(), 600);
        (0..10_000).for_each(refuse);
        sleep(COUNT_PERIOD * 2).await;
        let rows = types(&kept);
        assert_eq!((rows.len(), rows[600].as_str()), (601, "command-refused 19400"));
        // Acts have no such limit, and reading the audit writes the count first.
        refuse(0);
        let (caller, granted) = asked("reload");
        audit.begin(&caller, &granted).await.unwrap().end(0, None, None);
        audit.of(&granted).await.unwrap();
        assert_eq!(types(&kept)[601..], ["command 1", "command-ended 1", "command-refused 1"]);
        let text = serde_json::to_string(&kept.facts.lock().unwrap()[600]).unwrap();
        assert_eq!(
            text,
            r#"{"at":"1970-01-01T00:00:00Z","name":"ann","times":19400,"type":"command-refused","line":"...","why":"more than 600 in an hour, so only their number is kept"}"#
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_broken_off_has_an_end() {
        let (audit, kept) = audit(false);
        let (caller, granted) = asked("reload");
        drop(audit.begin(&caller, &granted).await.unwrap());
        sleep(WRITE_PERIOD * 2).await;
        assert_eq!(types(&kept), ["command 1", "command-ended 1"]);
    }
}
