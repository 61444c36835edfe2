//! Connections that have not logged in: which one gets a place, and which one is closed for it. Pure: no clock.
//!
//! A full table closes an old connection instead of refusing the new one, so silent connections never lock anyone out.
//! OpenSSH's MaxStartups refuses new connections at random, also those of operators; here the network with the most
//! places loses its oldest one. A flood therefore closes only its own connections, unless it comes from more
//! networks than there are places; and nothing is random, which tests could not repeat.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// The same for networks from which an enrolled key logged in within [`LATELY`]: a flood from other networks
/// never closes these.
const RESERVED_PLACES: usize = 64;

/// How long a login keeps the reserve open for its network: operators who work every day keep it.
const LATELY: Duration = Duration::from_secs(36 * 60 * 60);

/// Most networks with a login that are kept. Only enrolled keys add any; the oldest is dropped first.
const LATELY_LIMIT: usize = 1024;

/// Bits of an IPv4 and of an IPv6 network, from the widest to one address. One customer of a provider has about
/// that much: a /24 is the smallest network that is routed, a /48 is a site, and a /64 is one link.
const NETWORKS: [(u32, u32); 3] = [(24, 48), (32, 64), (32, 128)];

/// The network that counts as the same place from one day to the next.
const SAME_LINK: (u32, u32) = NETWORKS[1];

/// One connection.
#[derive(Debug, PartialEq)]
struct WaitingConnection {
    id: u64,
    from: IpAddr,
}

/// The connections that have not logged in.
pub struct Unauthenticated {
    /// Most of them: a flood must not take the memory of the daemon.
    limit: usize,
    next: u64,
    /// In the order of their arrival.
    places: Vec<WaitingConnection>,
    reserved: Vec<WaitingConnection>,
    lately: HashMap<IpAddr, Instant>,
}

/// The result for a new connection.
#[derive(Debug, PartialEq)]
pub struct Entered {
    pub id: u64,
    /// The connection that has to be closed for it, and its source.
    pub leaves: Option<(u64, IpAddr)>,
}

impl Unauthenticated {
    pub fn new(limit: usize) -> Unauthenticated {
        Unauthenticated { limit, next: 0, places: Vec::new(), reserved: Vec::new(), lately: HashMap::new() }
    }

    /// Gives a new connection a place.
    pub fn enter(&mut self, from: IpAddr, now: Instant) -> Entered {
        let known = self.was_here_lately(from, now);
        let (places, limit) = match known {
            true => (&mut self.reserved, RESERVED_PLACES),
            false => (&mut self.places, self.limit),
        };
        let leaves = if places.len() < limit { None } else { oldest_of_the_heaviest(places) };
        let leaves = leaves.map(|at| places.remove(at)).map(|place| (place.id, place.from));
        self.next += 1;
        places.push(WaitingConnection { id: self.next, from });
        Entered { id: self.next, leaves }
    }

    /// Frees the place of a connection that has logged in or has ended.
    pub fn leave(&mut self, id: u64) {
        self.places.retain(|place| place.id != id);
        self.reserved.retain(|place| place.id != id);
    }

    /// Records that an enrolled key logged in from this address.
    pub fn logged_in(&mut self, from: IpAddr, now: Instant) {
        self.lately.insert(network(from, SAME_LINK), now);
        if self.lately.len() > LATELY_LIMIT {
            let oldest = self.lately.iter().min_by_key(|(_, at)| **at).map(|(network, _)| *network);
            oldest.map(|network| self.lately.remove(&network));
        }
    }

    /// True if an enrolled key logged in from this network lately.
    pub fn was_here_lately(&self, from: IpAddr, now: Instant) -> bool {
        let at = self.lately.get(&network(from, SAME_LINK));
        at.is_some_and(|at| now.duration_since(*at) <= LATELY)
    }
}

/// The link of an address: what counts as one source.
pub fn link(address: IpAddr) -> IpAddr {
    network(address, SAME_LINK)
}

/// The index in `places` of the connection to close first: the oldest of the address with the most places, in the
/// widest network with the most places.
fn oldest_of_the_heaviest(places: &[WaitingConnection]) -> Option<usize> {
    let mut left: Vec<&WaitingConnection> = places.iter().collect();
    for bits in NETWORKS {
        left = heaviest(left, bits);
    }
    let first = left.first()?;
    places.iter().position(|place| place.id == first.id)
}

/// Those of the network that has the most of them; of equal ones, of the network that came first.
fn heaviest(places: Vec<&WaitingConnection>, bits: (u32, u32)) -> Vec<&WaitingConnection> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    places.iter().for_each(|place| *counts.entry(network(place.from, bits)).or_default() += 1);
    let most = counts.values().max().copied().unwrap_or_default();
    let picked = places.iter().map(|place| network(place.from, bits)).find(|network| counts[network] == most);
    places.into_iter().filter(|place| Some(network(place.from, bits)) == picked).collect()
}

/// The network of an address, as its first address.
fn network(address: IpAddr, (bits_v4, bits_v6): (u32, u32)) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(u32::BITS - bits_v4).unwrap_or_default();
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(u128::BITS - bits_v6).unwrap_or_default();
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 256;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A table full of silent connections from each of `sources`, one after another, repeatedly.
    fn flooded(sources: &[String], now: Instant) -> Unauthenticated {
        let mut waiting = Unauthenticated::new(PLACES);
        for _ in 0..2 * PLACES / sources.len() {
            sources.iter().for_each(|source| _ = waiting.enter(ip(source), now));
        }
        waiting
    }

    fn addresses(count: usize, form: impl Fn(usize) -> String) -> Vec<String> {
        (1..=count).map(form).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_pushes_out_its_own_connections_only() {
        let now = Instant::now();
        let table: &[(&str, Vec<String>, &str)] = &[
            ("one address", addresses(1, |_| "203.0.113.9".into()), "198.51.100.1"),
            ("five addresses", addresses(5, |n| format!("203.0.{n}.9")), "198.51.100.1"),
            ("a neighbour's network", addresses(5, |n| format!("203.0.113.{n}")), "203.0.113.200"),
            ("a /64", addresses(200, |n| format!("2001:db8:1:1::{n:x}")), "2001:db8:1:2::1"),
            ("a site next to it", addresses(200, |n| format!("2001:db8:1:{n:x}::1")), "2001:db8:2::1"),
            ("IPv4 in IPv6", addresses(5, |n| format!("::ffff:203.0.113.{n}")), "198.51.100.1"),
            ("many networks", addresses(200, |n| format!("10.{n}.0.1")), "198.51.100.1"),
        ];
        for (what, sources, operator) in table {
            let mut waiting = flooded(sources, now);
            let mine = waiting.enter(ip(operator), now);
            assert!(mine.leaves.is_some(), "{what}: the table is full");
            // Each source connects once more while the operator logs in.
            for source in sources {
                let (left, from) = waiting.enter(ip(source), now).leaves.expect("the table is full");
                assert!(left != mine.id && from != ip(operator), "{what}: the operator stays");
            }
            assert_eq!(waiting.places.len(), PLACES, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_a_late_login_has_places_that_no_other_takes() {
        let now = Instant::now();
        let mut waiting = Unauthenticated::new(PLACES);
        waiting.logged_in(ip("198.51.100.1"), now);
        let mine = waiting.enter(ip("198.51.100.1"), now);
        // From more networks than there are places: only the reserve helps here.
        for n in 0..10 * PLACES {
            let other = waiting.enter(ip(&format!("10.{}.{}.1", n / 200, n % 200)), now);
            assert!(other.leaves.is_none_or(|(id, _)| id != mine.id));
        }
        assert_eq!(waiting.reserved, [WaitingConnection { id: mine.id, from: ip("198.51.100.1") }]);
        waiting.leave(mine.id);
        assert!(waiting.reserved.is_empty());
        let late = now + LATELY + Duration::from_secs(1);
        assert!(waiting.enter(ip("198.51.100.1"), late).leaves.is_some(), "a login long ago counts no more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_logins_is_bounded() {
        let now = Instant::now();
        let mut waiting = Unauthenticated::new(PLACES);
        for n in 0..2 * LATELY_LIMIT as u64 {
            waiting.logged_in(ip(&format!("10.{}.{}.1", n / 250, n % 250)), now + Duration::from_secs(n));
        }
        assert_eq!(waiting.lately.len(), LATELY_LIMIT);
        assert!(!waiting.was_here_lately(ip("10.0.0.1"), now), "the oldest is forgotten first");
    }

    #[test]
    fn networks_are_cut_to_their_bits() {
        let table = [
            ("203.0.113.77", NETWORKS[0], "203.0.113.0"),
            ("203.0.113.77", NETWORKS[2], "203.0.113.77"),
            ("::ffff:203.0.113.77", NETWORKS[0], "203.0.113.0"),
            ("2001:db8:1:2:3::4", NETWORKS[0], "2001:db8:1::"),
            ("2001:db8:1:2:3::4", NETWORKS[1], "2001:db8:1:2::"),
            ("2001:db8:1:2:3::4", NETWORKS[2], "2001:db8:1:2:3::4"),
        ];
        for (address, bits, wanted) in table {
            assert_eq!(network(ip(address), bits), ip(wanted), "{address} {bits:?}");
        }
    }
}
