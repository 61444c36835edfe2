//! The servers of a balancer, and how many of them may be drained now. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::base::name::{HostName, RunId};

/// The state of a host in a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// Takes new requests.
    In,
    /// Drained, by this rollcall or by others.
    Out,
    /// Not drained, but the balancer's own health check fails, or has not passed yet.
    Down,
    /// The balancer's hosts disagree.
    Mixed,
    /// The balancer does not report it.
    Unknown,
}

impl Rotation {
    /// The word that operators read.
    pub fn word(self) -> &'static str {
        match self {
            Rotation::In => "in",
            Rotation::Out => "out",
            Rotation::Down => "down",
            Rotation::Mixed => "mixed",
            Rotation::Unknown => "unknown",
        }
    }
}

/// The observation of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRotation {
    pub rotation: Rotation,
    /// In the balancer's own words, with the limits of the answer.
    pub note: String,
}

/// The observation of a whole balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancerView {
    /// The members that were queried.
    pub hosts: BTreeMap<HostName, HostRotation>,
    /// Servers that take new requests, in the inventory or not, as the balancer itself counts them.
    pub serving: usize,
    /// All of its servers.
    pub total: usize,
    /// Members that the balancer certainly has no server for, with the place and the reason: no wait changes that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<HostName, String>,
}

impl BalancerView {
    /// The observations of several places combined: balancer hosts, backends or balancers. The place that can spare
    /// the fewest servers above the floor counts.
    pub fn together(each: &[(String, BalancerView)], floor: Floor) -> BalancerView {
        if let [(_, only)] = each {
            return only.clone();
        }
        let mut hosts: BTreeMap<HostName, Vec<(&str, &HostRotation)>> = BTreeMap::new();
        for (place, view) in each {
            for (host, seen) in &view.hosts {
                hosts.entry(host.clone()).or_default().push((place, seen));
            }
        }
        // Of places without room, one that never has any counts: to wait for the others would be in vain.
        let spare = |view: &&BalancerView| {
            let now = view.serving.saturating_sub(floor.of(view.total));
            (now, !view.never_has_room(floor), view.serving)
        };
        let fewest = each.iter().map(|(_, view)| view).min_by_key(spare);
        let missing = each.iter().flat_map(|(_, view)| view.missing.clone());
        BalancerView {
            hosts: hosts.into_iter().map(|(host, seen)| (host, agree(&seen))).collect(),
            serving: fewest.map_or(0, |view| view.serving),
            total: fewest.map_or(0, |view| view.total),
            missing: missing.collect(),
        }
    }

    /// True when the floor is as high as the number of all servers: none can be drained, however long a run waits.
    pub fn never_has_room(&self, floor: Floor) -> bool {
        self.total > 0 && floor.of(self.total) >= self.total
    }

    /// The state of a host; one that was not queried is unknown.
    pub fn rotation(&self, host: &HostName) -> Rotation {
        self.hosts.get(host).map_or(Rotation::Unknown, |seen| seen.rotation)
    }
}

fn agree(each: &[(&str, &HostRotation)]) -> HostRotation {
    let alike = each.windows(2).all(|pair| pair[0].1.rotation == pair[1].1.rotation);
    let rotation = match each {
        [(_, first), ..] if alike => first.rotation,
        _ => Rotation::Mixed,
    };
    let same_note = each.windows(2).all(|pair| pair[0].1.note == pair[1].1.note);
    let note = match each {
        [(_, first), ..] if alike && same_note => first.note.clone(),
        _ => each.iter().map(|(place, seen)| at_place(place, seen)).collect::<Vec<_>>().join("; "),
    };
    HostRotation { rotation, note }
}

fn at_place(place: &str, seen: &HostRotation) -> String {
    match seen.note.as_str() {
        "" => format!("{place}: {}", seen.rotation.word()),
        note => format!("{place}: {}, {note}", seen.rotation.word()),
    }
}

/// A host that others drained in some places only. Not every balancer knows who drained a server: afterwards their
/// drain could not be distinguished from ours.
pub fn disagreement<'a>(
    views: &[(String, BalancerView)],
    strangers: impl IntoIterator<Item = &'a HostName>,
) -> Option<String> {
    strangers.into_iter().find_map(|host| {
        let (out, not): (Vec<_>, Vec<_>) =
            views.iter().partition(|(_, view)| view.rotation(host) == Rotation::Out);
        let names = |those: &[&(String, BalancerView)]| {
            those.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ")
        };
        (!out.is_empty() && !not.is_empty()).then(|| {
            format!(
                "{host} is taken out on {} by another process, and not on {}; try: make them agree",
                names(&out),
                names(&not)
            )
        })
    })
}

/// One host in the answer of `balancer status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub host: HostName,
    /// The balancer that it is behind, if there is one.
    pub balancer: Option<String>,
    #[serde(flatten)]
    pub seen: HostRotation,
    /// The run that drained it and did not enable it.
    pub debt: Option<RunId>,
    /// The operator who wrote that debt off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_off: Option<String>,
}

/// How many servers of a balancer are in service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    pub balancer: String,
    pub serving: usize,
    pub total: usize,
    /// How many must be.
    pub floor: usize,
}

/// How many servers must stay in service: `min_in_service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Floor {
    Servers(usize),
    /// Percent of all servers of the balancer; rounds up. Whole percents: a fraction would round by accident.
    Percent(u8),
}

impl Default for Floor {
    /// The last server is never drained.
    fn default() -> Floor {
        Floor::Servers(1)
    }
}

impl Floor {
    /// The number for a balancer with `total` servers.
    pub fn of(self, total: usize) -> usize {
        match self {
            Floor::Servers(servers) => servers,
            Floor::Percent(percent) => (total * usize::from(percent)).div_ceil(100),
        }
    }
}

/// The hosts that may be drained now, and those that have to wait until others are back; in the requested order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    pub may: Vec<HostName>,
    pub must_wait: Vec<HostName>,
}

/// Why hosts cannot be drained, now or later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    pub balancer: String,
    pub hosts: Vec<HostName>,
    pub why: String,
    pub hint: String,
}

impl Obstacle {
    /// For people.
    pub fn words(&self) -> String {
        format!("{}: {}; try: {}", self.balancer, self.why, self.hint)
    }
}

/// The obstacles for a drain of the hosts in a view; hosts that `stay` are not drained. What can change while a run
/// waits, as drains by others, is none.
pub fn obstacles(balancer: &str, view: &BalancerView, floor: Floor, stay: &[HostName]) -> Vec<Obstacle> {
    let missing = view.missing.iter().map(|(host, why)| Obstacle {
        balancer: balancer.into(),
        hosts: vec![host.clone()],
        why: why.clone(),
        hint: format!("add the server there; or leave the host out, as in `GROUP:!{host}`"),
    });
    let serves = |(host, seen): &(&HostName, &HostRotation)| {
        matches!(seen.rotation, Rotation::In | Rotation::Mixed) && !view.missing.contains_key(*host)
    };
    let kept: Vec<HostName> = view
        .hosts
        .iter()
        .filter(serves)
        .map(|(host, _)| host.clone())
        .filter(|host| view.never_has_room(floor) && !stay.contains(host))
        .collect();
    let (total, least) = (view.total, floor.of(view.total));
    let full = (!kept.is_empty()).then(|| Obstacle {
        balancer: balancer.into(),
        why: format!(
            "{least} of {total} servers must stay in service (min_in_service): {} can never be taken out",
            kept.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
        ),
        hosts: kept,
        hint: "a lower `min_in_service` in hosts/, or more servers in the balancer".into(),
    });
    missing.chain(full).collect()
}

/// Divides `members` by how many servers the balancer can spare. Members that take no new requests cost nothing;
/// a member that is in rotation on any balancer host does.
pub fn room(view: &BalancerView, floor: Floor, members: &[HostName]) -> Room {
    let mut spare = view.serving.saturating_sub(floor.of(view.total));
    let mut room = Room::default();
    for host in members {
        let costs = matches!(view.rotation(host), Rotation::In | Rotation::Mixed);
        if costs && spare == 0 {
            room.must_wait.push(host.clone());
            continue;
        }
        spare -= usize::from(costs);
        room.may.push(host.clone());
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(states: &str, serving: usize, total: usize) -> BalancerView {
        let rotation = |c| match c {
            'i' => Rotation::In,
            'o' => Rotation::Out,
            'd' => Rotation::Down,
            'm' => Rotation::Mixed,
            _ => Rotation::Unknown,
        };
        let seen = |c| HostRotation { rotation: rotation(c), note: String::new() };
        let hosts = (1..).zip(states.chars()).map(|(at, c)| (HostName::new(format!("h{at}")), seen(c)));
        BalancerView { hosts: hosts.collect(), serving, total, missing: BTreeMap::new() }
    }

    #[test]
    fn capacity_is_what_the_balancer_counts() {
        let one = Floor::default();
        // States of our members, serving and total of the balancer, floor, how many of ours may be drained.
        let table = [
            ("iii", 3, 3, one, "ii."),
            ("i", 1, 1, one, "."),
            ("i", 1, 1, Floor::Servers(0), "i"),
            ("i", 2, 2, one, "i"),
            // Drains by others are included: the balancer has more servers than these members.
            ("iii", 2, 5, one, "i.."),
            ("ii", 1, 5, one, ".."),
            // Percents round up: 75% of 5 are 4.
            ("iiiii", 5, 5, Floor::Percent(75), "i...."),
            ("iiii", 4, 4, Floor::Percent(75), "i..."),
            ("iii", 3, 3, Floor::Percent(100), "..."),
            ("iii", 3, 3, Floor::Percent(0), "iii"),
            ("i", 100, 100, Floor::Percent(7), "i"),
            // A server that is not in service costs nothing, however few remain.
            ("odu", 1, 4, one, "odu"),
            ("iod", 1, 3, one, ".od"),
            // In rotation on one of the balancer's hosts.
            ("mi", 2, 2, one, "m."),
            // The floor is higher than the number of servers.
            ("oi", 1, 2, Floor::Servers(5), "o."),
        ];
        for (states, serving, total, floor, wanted) in table {
            let members: Vec<HostName> =
                (1..=states.len()).map(|at| HostName::new(format!("h{at}"))).collect();
            let room = room(&view(states, serving, total), floor, &members);
            let got: String = members
                .iter()
                .zip(states.chars())
                .map(|(host, c)| if room.may.contains(host) { c } else { '.' })
                .collect();
            assert_eq!(got, wanted, "{states} {serving}/{total} {floor:?}");
            assert_eq!(room.may.len() + room.must_wait.len(), members.len());
        }
    }

    #[test]
    fn an_obstacle_is_what_no_wait_removes() {
        let one = Floor::default();
        let words = |view: &BalancerView, floor: Floor, stay: &[&str]| -> Vec<String> {
            let stay: Vec<HostName> = stay.iter().map(|host| HostName::from(*host)).collect();
            obstacles("web", view, floor, &stay).iter().map(Obstacle::words).collect()
        };
        let never = |floor: usize, total: usize, hosts: &str| {
            format!(
                "web: {floor} of {total} servers must stay in service (min_in_service): {hosts} can never be taken out; \
                 try: a lower `min_in_service` in hosts/, or more servers in the balancer"
            )
        };
        let rows = [
            // The last server of the balancer, however many hosts the group has.
            (view("i", 1, 1), one, vec![never(1, 1, "h1")]),
            (view("ii", 2, 2), Floor::Percent(75), vec![never(2, 2, "h1, h2")]),
            (view("im", 2, 2), Floor::Servers(3), vec![never(3, 2, "h1, h2")]),
            // Others have drained the second one: they may put it back.
            (view("io", 1, 2), one, vec![]),
            (view("id", 1, 2), one, vec![]),
            // A host that is out already needs no room.
            (view("o", 0, 1), one, vec![]),
            (view("i", 1, 1), Floor::Servers(0), vec![]),
            (view("u", 0, 0), one, vec![]),
        ];
        for (view, floor, wanted) in rows {
            assert_eq!(words(&view, floor, &[]), wanted, "{view:?}");
        }
        assert_eq!(words(&view("i", 1, 1), one, &["h1"]), Vec::<String>::new(), "it is not drained");
        let mut gone = view("iu", 1, 1);
        gone.missing.insert("h2".into(), "no server is called `h2` there".into());
        let gone = words(&gone, Floor::Servers(0), &["h2"]);
        let wanted = "web: no server is called `h2` there; try: add the server there; or leave the host out, as in `GROUP:!h2`";
        assert_eq!(gone, [wanted]);
    }

    #[test]
    fn a_place_without_a_server_is_named_and_one_that_never_has_room_counts() {
        let mut lb2 = view("iu", 1, 1);
        lb2.missing.insert("h2".into(), "lb2: no server".into());
        let each = [("lb1".into(), view("ii", 0, 2)), ("lb2".into(), lb2)];
        let both = BalancerView::together(&each, Floor::default());
        assert_eq!(both.missing[&HostName::from("h2")], "lb2: no server");
        assert_eq!((both.serving, both.total), (1, 1));
    }

    #[test]
    fn seven_percent_of_a_hundred_are_seven() {
        assert_eq!(Floor::Percent(7).of(100), 7);
        assert_eq!(Floor::Percent(75).of(5), 4);
        assert_eq!(Floor::Percent(1).of(1), 1);
        assert_eq!(Floor::Percent(50).of(0), 0);
    }

    #[test]
    fn balancer_hosts_that_disagree_are_told_apart() {
        let each = [("lb1".into(), view("iio", 5, 6)), ("lb2".into(), view("ioo", 3, 5))];
        let both = BalancerView::together(&each, Floor::default());
        assert_eq!((both.serving, both.total), (3, 5));
        assert_eq!(both.rotation(&"h1".into()), Rotation::In);
        assert_eq!(both.rotation(&"h2".into()), Rotation::Mixed);
        assert_eq!(both.rotation(&"h3".into()), Rotation::Out);
        assert_eq!(both.rotation(&"h9".into()), Rotation::Unknown);
        assert_eq!(both.hosts[&HostName::from("h2")].note, "lb1: in; lb2: out");
        assert_eq!(both.hosts[&HostName::from("h1")].note, "");
        // 3 of 3 can spare one at 50%, 5 of 10 none.
        let each = [("app".into(), view("i", 3, 3)), ("api".into(), view("i", 5, 10))];
        let both = BalancerView::together(&each, Floor::Percent(50));
        assert_eq!((both.serving, both.total), (5, 10));
        assert_eq!(BalancerView::together(&[], Floor::default()), BalancerView::default());
    }
}
