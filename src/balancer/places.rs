//! Several balancers in front of one group: a host is out of all of them, or of none.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures::future::join_all;

use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::Balancer;
use crate::domain::inventory::rotation::{BalancerView, Rotation, disagreement, room};
use crate::domain::run::event::Change;
use crate::port::Member;

/// The drivers, for one balancer at a time.
#[async_trait]
pub trait OnePlace: Send + Sync {
    async fn inspect_in(&self, balancer: &Balancer, members: &[Member]) -> Result<BalancerView, String>;
    async fn drain_in(&self, balancer: &Balancer, members: &[Member]) -> Change;
    async fn enable_in(&self, balancer: &Balancer, members: &[Member]) -> Change;
    /// Undoes a drain: no step ran on the members, so that nothing has to be proven of them.
    async fn put_back_in(&self, balancer: &Balancer, members: &[Member]) -> Change;
}

/// One balancer, with the members under their names there.
struct BalancerMembers {
    balancer: Balancer,
    members: Vec<Member>,
}

impl BalancerMembers {
    fn only<'a>(&self, hosts: impl IntoIterator<Item = &'a HostName>) -> Vec<Member> {
        let hosts: BTreeSet<&HostName> = hosts.into_iter().collect();
        self.members.iter().filter(|member| hosts.contains(&member.host)).cloned().collect()
    }
}

/// A place that was drained, with the hosts that others had drained there.
struct DrainedPlace<'a> {
    place: &'a BalancerMembers,
    members: Vec<Member>,
    foreign: Vec<HostName>,
}

/// The states in all places; the place that can spare the fewest servers counts.
pub async fn inspect(
    one: &dyn OnePlace,
    balancer: &Balancer,
    members: &[Member],
) -> Result<BalancerView, String> {
    let places = places(balancer, members)?;
    Ok(BalancerView::together(&views(one, &places).await?, balancer.floor()))
}

/// Drains the members for which every place has room, everywhere or nowhere.
pub async fn drain(one: &dyn OnePlace, balancer: &Balancer, members: &[Member]) -> Change {
    let places = match places(balancer, members) {
        Ok(places) => places,
        Err(why) => return Change::Refused { why },
    };
    let views = match views(one, &places).await {
        Ok(views) => views,
        Err(why) => return Change::Refused { why },
    };
    let strangers = members.iter().filter(|member| !member.ours).map(|member| &member.host);
    if let Some(why) = disagreement(&views, strangers) {
        return Change::Refused { why };
    }
    let mut going: Vec<HostName> = members.iter().map(|member| member.host.clone()).collect();
    let (mut kept, mut notes) = (without_room(&places, &views, members), Vec::new());
    going.retain(|host| !kept.contains(host));
    let mut drained: Vec<DrainedPlace<'_>> = Vec::new();
    for place in &places {
        let members = place.only(&going);
        match one.drain_in(&place.balancer, &members).await {
            Change::Done { foreign, kept: full, note } => {
                notes.extend(Some(note).filter(|note| !note.is_empty()));
                // The room is gone since it was counted.
                if let Err(why) = put_back(one, &drained, &full).await {
                    return Change::Unknown { why };
                }
                going.retain(|host| !full.contains(host));
                drained.push(DrainedPlace { place, members, foreign });
                kept.extend(full);
            }
            Change::Refused { why } => {
                return match put_back(one, &drained, &going).await {
                    Ok(()) => Change::Refused { why },
                    Err(undo) => Change::Unknown { why: format!("{why}; {undo}") },
                };
            }
            Change::Unknown { why } => {
                // The state is unknown in any case: this only keeps fewer servers out.
                let undo = put_back(one, &drained, &going).await.err();
                return Change::Unknown { why: [why].into_iter().chain(undo).collect::<Vec<_>>().join("; ") };
            }
        }
    }
    // A drain by us in one place has to be ended by us.
    let is_foreign = |host: &HostName| drained.iter().all(|drained| drained.foreign.contains(host));
    let foreign = going.iter().filter(|host| is_foreign(host)).cloned().collect();
    Change::Done { foreign, kept, note: notes.join("; ") }
}

/// Enables the members everywhere. If they do not come up in one place, they are drained again in the others.
pub async fn enable(one: &dyn OnePlace, balancer: &Balancer, members: &[Member]) -> Change {
    let places = match places(balancer, members) {
        Ok(places) => places,
        Err(why) => return Change::Refused { why },
    };
    let (mut all, mut notes) = (BTreeSet::new(), Vec::new());
    for (number, place) in places.iter().enumerate() {
        match one.enable_in(&place.balancer, &place.members).await {
            Change::Done { foreign, note, .. } => {
                all.extend(foreign);
                notes.extend(Some(note).filter(|note| !note.is_empty()));
            }
            Change::Refused { why } => return out_again(one, &places[..number], why).await,
            Change::Unknown { why } => return Change::Unknown { why },
        }
    }
    Change::Done { foreign: all.into_iter().collect(), kept: Vec::new(), note: notes.join("; ") }
}

/// A place did not take the members back: they leave those that did.
async fn out_again(one: &dyn OnePlace, places: &[BalancerMembers], why: String) -> Change {
    let drains = places.iter().map(|place| one.drain_in(&place.balancer, &place.members));
    let is_out = |change: &Change| matches!(change, Change::Done { kept, .. } if kept.is_empty());
    match join_all(drains).await.iter().all(is_out) {
        true => Change::Refused { why },
        false => {
            Change::Unknown { why: format!("{why}; they are in rotation in another balancer of the group") }
        }
    }
}

fn places(balancer: &Balancer, members: &[Member]) -> Result<Vec<BalancerMembers>, String> {
    let places = Member::in_places(balancer, members)?;
    Ok(places.into_iter().map(|(balancer, members)| BalancerMembers { balancer, members }).collect())
}

/// The view of each place, under its name; an error when one cannot be queried.
async fn views(
    one: &dyn OnePlace,
    places: &[BalancerMembers],
) -> Result<Vec<(String, BalancerView)>, String> {
    let inspections = places.iter().map(|place| one.inspect_in(&place.balancer, &place.members));
    let inspections = join_all(inspections).await;
    let named = places
        .iter()
        .zip(inspections)
        .map(|(place, inspection)| Ok((place.balancer.name.clone(), inspection?)));
    named.collect()
}

/// Hosts that some place cannot spare. A drain that an earlier run began is completed.
fn without_room(
    places: &[BalancerMembers],
    views: &[(String, BalancerView)],
    members: &[Member],
) -> Vec<HostName> {
    let is_begun = |member: &Member| {
        let is_out = |(_, view): &(String, BalancerView)| {
            matches!(view.rotation(&member.host), Rotation::Out | Rotation::Mixed)
        };
        member.ours && views.iter().any(is_out)
    };
    let whole: Vec<HostName> =
        members.iter().filter(|member| !is_begun(member)).map(|member| member.host.clone()).collect();
    let mut full = BTreeSet::new();
    for (place, (_, view)) in places.iter().zip(views) {
        full.extend(room(view, place.balancer.floor(), &whole).must_wait);
    }
    full.into_iter().collect()
}

/// Puts hosts back where this drain took them out: neither those that others hold, nor those of an earlier run.
async fn put_back(
    one: &dyn OnePlace,
    drained: &[DrainedPlace<'_>],
    hosts: &[HostName],
) -> Result<(), String> {
    let mut whys = Vec::new();
    for DrainedPlace { place, members, foreign } in drained {
        let is_new = |member: &&Member| {
            hosts.contains(&member.host) && !member.ours && !foreign.contains(&member.host)
        };
        let members: Vec<Member> = members.iter().filter(is_new).cloned().collect();
        if members.is_empty() {
            continue;
        }
        match one.put_back_in(&place.balancer, &members).await {
            Change::Done { .. } => {}
            Change::Refused { why } | Change::Unknown { why } => whys.push(why),
        }
    }
    if whys.is_empty() { Ok(()) } else { Err(whys.join("; ")) }
}
