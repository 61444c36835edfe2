//! A host and its places in balancers.

use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::Balancer;
use crate::domain::plan::plan::{HostPlan, Plan, Seat};

/// A host and its place in a balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub host: HostName,
    pub seat: Seat,
    /// This rollcall has an open debt for it: if it is found drained, then by this rollcall and not by others.
    pub ours: bool,
}

impl Member {
    /// The members of a balancer among these hosts. `ours` says which of them have an open debt in the journal.
    pub fn of(plan: &Plan, hosts: &[HostName], ours: impl Fn(&HostPlan) -> bool) -> Vec<Member> {
        let member = |host: &HostName| {
            let plan = plan.hosts.get(host)?;
            Some(Member { host: host.clone(), seat: plan.balancer.clone()?, ours: ours(plan) })
        };
        hosts.iter().filter_map(member).collect()
    }

    /// Each balancer in front of a group by itself, with the members under their names there.
    pub fn in_places(
        balancer: &Balancer,
        members: &[Member],
    ) -> Result<Vec<(Balancer, Vec<Member>)>, String> {
        let there = |place: &Balancer, member: &Member| {
            let server = match place.name == balancer.name {
                true => &member.seat.server,
                false => place
                    .members
                    .get(&member.host)
                    .ok_or_else(|| format!("{} has no name in {}", member.host, place.name))?,
            };
            let seat = Seat { server: server.clone(), ..member.seat.clone() };
            Ok::<_, String>(Member { seat, ..member.clone() })
        };
        let places = balancer.places().into_iter().map(|place| {
            let members = members.iter().map(|member| there(&place, member)).collect::<Result<_, _>>()?;
            Ok((place, members))
        });
        places.collect()
    }
}
