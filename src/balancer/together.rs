//! Several balancer hosts as one: a change applies to all of them or to none, and their answers are combined.

use async_trait::async_trait;
use futures::future::join_all;

use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::{Balancer, Endpoint};
use crate::domain::inventory::rotation::{BalancerView, Rotation, room};
use crate::domain::run::event::Change;
use crate::port::Member;

/// The result on one balancer host.
#[derive(Debug)]
pub enum Applied {
    /// `foreign`: drained by others. `already`: drained by an earlier run of rollcall.
    Done {
        foreign: Vec<HostName>,
        already: Vec<HostName>,
        note: Option<String>,
    },
    /// Proven: nothing is changed there.
    Refused(String),
    Unknown(String),
}

/// A driver, for one balancer host at a time.
#[async_trait]
pub trait OneHost: Send + Sync {
    /// The servers as this host reports them, in each of its places.
    async fn inspect(
        &self,
        host: &Endpoint,
        members: &[Member],
    ) -> Result<Vec<(String, BalancerView)>, String>;
    /// Drains the members.
    async fn drain(&self, host: &Endpoint, members: &[Member]) -> Applied;
    /// Enables the members.
    async fn enable(&self, host: &Endpoint, members: &[Member]) -> Applied;
    /// Undoes a drain that failed on other hosts.
    async fn undo(&self, host: &Endpoint, members: &[Member]) -> Applied {
        self.enable(host, members).await
    }
    /// Whether the member has to be changed on this host.
    fn concerns(&self, _: &Endpoint, _: &Member) -> bool {
        true
    }
}

/// One balancer host, its members, and the result.
struct BalancerResult<'a> {
    host: &'a Endpoint,
    members: Vec<Member>,
    applied: Applied,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Out,
    In,
    Undo,
}

/// The combined answers of the balancer hosts; an error when one of them could not be queried.
pub async fn inspect(
    one: &dyn OneHost,
    balancer: &Balancer,
    members: &[Member],
) -> Result<Vec<(String, BalancerView)>, String> {
    let inspections = balancer.on.iter().map(|host| one.inspect(host, members));
    let mut views = Vec::new();
    let mut troubles = Vec::new();
    for inspection in join_all(inspections).await {
        match inspection {
            Ok(places) => views.extend(places),
            Err(why) => troubles.push(why),
        }
    }
    if troubles.is_empty() { Ok(views) } else { Err(troubles.join("; ")) }
}

/// Drains the members for which there is room, on every balancer host or on none: if one host fails, the drains
/// on the others are undone.
pub async fn drain(
    one: &dyn OneHost,
    balancer: &Balancer,
    view: &BalancerView,
    members: &[Member],
) -> Change {
    // A partial drain by an earlier run is completed: the capacity is already lost.
    let (halfway, whole): (Vec<&Member>, Vec<&Member>) =
        members.iter().partition(|member| member.ours && view.rotation(&member.host) == Rotation::Mixed);
    let names: Vec<HostName> = whole.iter().map(|member| member.host.clone()).collect();
    let room = room(view, balancer.floor(), &names);
    let may = whole.into_iter().filter(|member| room.may.contains(&member.host));
    let going: Vec<Member> = halfway.into_iter().chain(may).cloned().collect();
    let results = tell(one, balancer, &going, Direction::Out).await;
    if results.iter().all(BalancerResult::is_done) {
        let full = (!room.must_wait.is_empty()).then(|| no_room(balancer, view));
        return done(results, Direction::Out, room.must_wait, full);
    }
    let why = troubles(&results);
    let certain = !results.iter().any(|result| matches!(result.applied, Applied::Unknown(_)));
    let undone = join_all(results.iter().filter_map(|result| undo(one, result))).await;
    match certain && undone.iter().all(|applied| matches!(applied, Applied::Done { .. })) {
        true => Change::Refused { why },
        false => Change::Unknown { why },
    }
}

/// Enables members on every balancer host.
pub async fn enable(one: &dyn OneHost, balancer: &Balancer, members: &[Member]) -> Change {
    let results = tell(one, balancer, members, Direction::In).await;
    if results.iter().all(BalancerResult::is_done) {
        return done(results, Direction::In, Vec::new(), None);
    }
    let why = troubles(&results);
    match results.iter().all(|result| matches!(result.applied, Applied::Refused(_))) {
        true => Change::Refused { why },
        false => Change::Unknown { why },
    }
}

/// Puts members back that were drained for nothing: no step ran on them.
pub async fn put_back(one: &dyn OneHost, balancer: &Balancer, members: &[Member]) -> Change {
    let results = tell(one, balancer, members, Direction::Undo).await;
    match results.iter().all(BalancerResult::is_done) {
        true => done(results, Direction::Undo, Vec::new(), None),
        false => Change::Unknown { why: troubles(&results) },
    }
}

impl BalancerResult<'_> {
    fn is_done(&self) -> bool {
        matches!(self.applied, Applied::Done { .. })
    }
}

async fn tell<'a>(
    one: &dyn OneHost,
    balancer: &'a Balancer,
    members: &[Member],
    way: Direction,
) -> Vec<BalancerResult<'a>> {
    let each = balancer.on.iter().map(|host| {
        let members: Vec<Member> =
            members.iter().filter(|member| one.concerns(host, member)).cloned().collect();
        (host, members)
    });
    let telling = each.filter(|(_, members)| !members.is_empty()).map(|(host, members)| async move {
        let applied = match way {
            Direction::Out => one.drain(host, &members).await,
            Direction::In => one.enable(host, &members).await,
            Direction::Undo => one.undo(host, &members).await,
        };
        BalancerResult { host, members, applied }
    });
    join_all(telling).await
}

/// Undoes a drain where it was done. Members that an earlier run holds, or that others
/// drained, stay out.
fn undo<'a>(
    one: &'a dyn OneHost,
    result: &'a BalancerResult<'a>,
) -> Option<impl Future<Output = Applied> + 'a> {
    let Applied::Done { already, foreign, .. } = &result.applied else { return None };
    let ours: Vec<Member> = result
        .members
        .iter()
        .filter(|member| !already.contains(&member.host) && !foreign.contains(&member.host))
        .cloned()
        .collect();
    (!ours.is_empty()).then_some(async move { one.undo(result.host, &ours).await })
}

fn no_room(balancer: &Balancer, view: &BalancerView) -> String {
    let BalancerView { serving, total, .. } = view;
    format!("{} of {total} must stay in service, {serving} are", balancer.floor().of(*total))
}

/// Combines the results of all balancer hosts. After a drain, a host counts as drained by others only if it was out
/// on every balancer host that has it: if we drained it on one, we have to enable it. After an enable, it is back
/// only if it is in on every one.
fn done(
    results: Vec<BalancerResult<'_>>,
    way: Direction,
    kept: Vec<HostName>,
    full: Option<String>,
) -> Change {
    let mut each = Vec::new();
    let mut notes = Vec::new();
    for result in results {
        if let Applied::Done { foreign, note, .. } = result.applied {
            let asked: Vec<HostName> = result.members.into_iter().map(|member| member.host).collect();
            each.push((asked, foreign));
            notes.extend(note);
        }
    }
    notes.extend(full);
    let mut foreign: Vec<HostName> = each.iter().flat_map(|(_, foreign)| foreign).cloned().collect();
    foreign.sort();
    foreign.dedup();
    if way == Direction::Out {
        foreign.retain(|host| {
            each.iter().all(|(asked, foreign)| !asked.contains(host) || foreign.contains(host))
        });
    }
    Change::Done { foreign, kept, note: notes.join("; ") }
}

fn troubles(results: &[BalancerResult<'_>]) -> String {
    let why = |result: &BalancerResult<'_>| match &result.applied {
        Applied::Refused(why) | Applied::Unknown(why) => Some(why.clone()),
        Applied::Done { .. } => None,
    };
    results.iter().filter_map(why).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::plan::Seat;

    fn names(hosts: &[&str]) -> Vec<HostName> {
        hosts.iter().map(|host| HostName::from(*host)).collect()
    }

    fn result<'a>(lb: &'a Endpoint, asked: &[&str], foreign: &[&str]) -> BalancerResult<'a> {
        let seat = Seat { balancer: "web".into(), server: "s".into() };
        let member = |host| Member { host, seat: seat.clone(), ours: false };
        BalancerResult {
            host: lb,
            members: names(asked).into_iter().map(member).collect(),
            applied: Applied::Done { foreign: names(foreign), already: vec![], note: None },
        }
    }

    #[test]
    fn a_host_is_somebody_elses_only_if_it_was_out_everywhere() {
        let lb = Endpoint {
            name: "lb".into(),
            here: false,
            address: "a".into(),
            further: Vec::new(),
            key: None,
            port: 22,
            login: "d".into(),
            via: None,
        };
        let all = ["web1", "web2"];
        let both = || vec![result(&lb, &all, &["web1", "web2"]), result(&lb, &all, &["web2"])];
        let change =
            |foreign: &[&str]| Change::Done { foreign: names(foreign), kept: vec![], note: String::new() };
        // web1 was out on one of them only: the drain on the other one is ours, and so is the debt.
        assert_eq!(done(both(), Direction::Out, vec![], None), change(&["web2"]));
        // After an enable, only hosts that are back on every balancer host count.
        assert_eq!(done(both(), Direction::In, vec![], None), change(&["web1", "web2"]));
        // Each balancer host has its own members only.
        let own = vec![result(&lb, &["web1"], &["web1"]), result(&lb, &["web2"], &[])];
        assert_eq!(done(own, Direction::Out, vec![], None), change(&["web1"]));
    }
}
