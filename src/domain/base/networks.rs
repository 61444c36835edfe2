//! Lists of addresses and networks, as in `from="192.0.2.0/24,!192.0.2.9"` of OpenSSH. Host names are refused: DNS proves nothing.

use core::net::IpAddr;
use std::fmt;

/// Most entries of one list: a longer one is a mistake, or an attack by a certificate.
const ENTRIES_LIMIT: usize = 256;

/// Sources of connections. A source is within the list if one entry contains it, and no negated entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    text: String,
    within: Vec<Network>,
    without: Vec<Network>,
}

/// A network, with its length in bits. An address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    bits: u32,
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Networks {
    /// Reads a list with commas.
    pub fn parse(text: &str) -> Result<Networks, String> {
        let (mut within, mut without) = (Vec::new(), Vec::new());
        if text.split(',').count() > ENTRIES_LIMIT {
            return Err(format!("a list of addresses has at most {ENTRIES_LIMIT} entries"));
        }
        for entry in text.split(',').map(str::trim) {
            match entry.strip_prefix('!') {
                Some(entry) => without.push(Network::parse(entry)?),
                None => within.push(Network::parse(entry)?),
            }
        }
        if within.is_empty() {
            return Err("the list only excludes addresses, so it contains none; add 0.0.0.0/0,::/0".into());
        }
        Ok(Networks { text: text.to_string(), within, without })
    }

    /// True when the address is within the list.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let holds = |network: &Network| network.contains(address);
        self.within.iter().any(holds) && !self.without.iter().any(holds)
    }
}

impl Network {
    fn parse(text: &str) -> Result<Network, String> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| {
            format!("`{text}` is no address and no network: write 192.0.2.7 or 192.0.2.0/24; names and wildcards prove nothing")
        })?;
        let most = width(first);
        let bits = match bits {
            None => most,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(|| format!("`{text}` is no network: its length is a number up to {most}"))?,
        };
        let network = Network { first, bits };
        match network.masked(first) == number(first) {
            true => Ok(network),
            false => Err(format!("`{text}` is no network: the address has bits behind the first {bits}")),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.masked(address) == number(self.first)
    }

    fn masked(&self, address: IpAddr) -> u128 {
        let host_bits = width(self.first) - self.bits;
        number(address) & u128::MAX.checked_shl(host_bits).unwrap_or_default()
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { u32::BITS } else { u128::BITS }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_within_a_list_as_openssh_reads_it() {
        let table = [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24,!192.0.2.9", "192.0.2.9", false),
            ("!192.0.2.9,192.0.2.0/24", "192.0.2.8", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.1", false),
            ("2001:db8:1::/48", "2001:db8:1:ffff::1", true),
            ("2001:db8:1::/48", "2001:db8:2::1", false),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
        ];
        for (list, address, within) in table {
            let networks = Networks::parse(list).unwrap();
            assert_eq!(networks.contain(address.parse().unwrap()), within, "{address} in {list}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_reason() {
        let table = [
            (
                "example.com",
                "`example.com` is no address and no network: write 192.0.2.7 or 192.0.2.0/24; names and wildcards prove nothing",
            ),
            (
                "192.0.2.*",
                "`192.0.2.*` is no address and no network: write 192.0.2.7 or 192.0.2.0/24; names and wildcards prove nothing",
            ),
            ("192.0.2.0/33", "`192.0.2.0/33` is no network: its length is a number up to 32"),
            ("192.0.2.1/24", "`192.0.2.1/24` is no network: the address has bits behind the first 24"),
            ("!192.0.2.1", "the list only excludes addresses, so it contains none; add 0.0.0.0/0,::/0"),
            (
                "",
                "`` is no address and no network: write 192.0.2.7 or 192.0.2.0/24; names and wildcards prove nothing",
            ),
        ];
        for (list, why) in table {
            assert_eq!(Networks::parse(list), Err(why.to_string()), "{list}");
        }
        let long = vec!["192.0.2.1"; ENTRIES_LIMIT + 1].join(",");
        assert_eq!(Networks::parse(&long), Err("a list of addresses has at most 256 entries".into()));
    }
}
