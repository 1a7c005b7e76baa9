//! Which addresses a grant reaches: those that it names, and public ones. What a name of the internet resolves to is said by
//! whoever owns the name; so an address of this machine or of a private network counts only where the grant names it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::from_text;

/// A network in CIDR form: `10.0.0.0/8`, `fd00::/8`; an address alone stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "read a network: expected an address and the length of its prefix, as in `10.0.0.0/8`, without bits behind the prefix"
)]
pub struct NetworkError;

impl Network {
    /// Whether an address lies in it. IPv6 addresses that stand for IPv4 ones count as those.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                cut(network.to_bits().into(), self.prefix, 32) == cut(address.to_bits().into(), self.prefix, 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                cut(network.to_bits(), self.prefix, 128) == cut(address.to_bits(), self.prefix, 128)
            }
            _ => false,
        }
    }

    /// Whether all of another network lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

/// The first bits of an address of this many bits.
fn cut(bits: u128, prefix: u8, of: u8) -> u128 {
    bits.checked_shr(u32::from(of.saturating_sub(prefix))).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let of = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => of,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= of).ok_or(NetworkError)?
            }
            Some(_) => return Err(NetworkError),
        };
        let bits = match address {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let rest = of - prefix;
        // An IPv4 address in IPv6 form would never be met: addresses are compared in their short form.
        if address.to_canonical() != address || cut(bits, prefix, of).checked_shl(rest.into()).unwrap_or(0) != bits {
            return Err(NetworkError);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, str::parse)
    }
}

/// Whether a grant of this host, with these networks, reaches one of the host's addresses.
pub fn reaches(host: &str, networks: &[Network], address: IpAddr) -> bool {
    let literal = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    // RFC 6761: these names mean this machine, so whoever writes them names it.
    let local = host == "localhost" || host.ends_with(".localhost");
    literal.is_some_and(|literal| literal.to_canonical() == address.to_canonical())
        || local && address.to_canonical().is_loopback()
        || is_public(address)
        || networks.iter().any(|network| network.contains(address))
}

/// Whether an address is one of the public internet: by the registries of special-purpose addresses of IANA (RFC 6890 and its
/// updates), IPv6 addresses that embed an IPv4 one by that.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_unspecified()
                || v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (18..20).contains(&b));
            !special
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            let embedded = |high: u16, low: u16| {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            };
            match segments {
                // Translation to IPv4 (RFC 6052), and 6to4 (RFC 3056).
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public(embedded(high, low)),
                // IETF protocol assignments, Teredo among them; documentation.
                [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
                [0x3fff, second, ..] if second < 0x1000 => false,
                // What is assigned as global unicast is all in 2000::/3.
                [first, ..] => first & 0xe000 == 0x2000,
            }
        }
    }
}

/// Reads `HOST[:PORT]`: the host in lower case, IPv6 in brackets and in its usual form. Says why it is none.
pub(crate) fn authority(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let port_at = match text.strip_prefix('[') {
        Some(v6) => v6.find(']').map(|end| end + 2).ok_or("the IPv6 address lacks its `]`")?,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(port_at);
    let port = match port.strip_prefix(':') {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Some(port.parse().map_err(|_| "the port must be a number up to 65535")?)
        }
        None if port.is_empty() => None,
        _ => return Err("the port must be a number up to 65535"),
    };
    Ok((self::host(host)?, port))
}

/// Reads a host.
pub(crate) fn host(text: &str) -> Result<String, &'static str> {
    if let Some(v6) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let address: Ipv6Addr = v6.parse().map_err(|_| "the IPv6 address cannot be read")?;
        if address.to_ipv4_mapped().is_some() {
            return Err("this is an IPv4 address in IPv6 form: write it as IPv4");
        }
        return Ok(format!("[{address}]"));
    }
    if !text.is_ascii() {
        return Err("an internationalised name stands in its ASCII form: `xn--...`");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err("the host must be a name or an address, without wildcards");
    }
    if text.starts_with('.') || text.ends_with('.') || text.contains("..") {
        return Err("the host has an empty label: write it without a dot at its end");
    }
    // URLs read all such hosts as IPv4 addresses, in forms that nobody would find again: `127.1`, `0x7f000001`, `017700000001`.
    let last = text.rsplit('.').next().unwrap_or(text).to_ascii_lowercase();
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    if number && text.parse::<Ipv4Addr>().is_err() {
        return Err("write the IPv4 address as four decimal numbers");
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_of_private_networks_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2001:200::1",
            "2002:101:101::1",
            "2606:4700::1111",
            "2a00::1",
            "3ffe::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_not_public_has_to_be_named() {
        let reaches = |host: &str, networks: &[&str], address: &str| {
            let networks: Vec<Network> = networks.iter().map(|network| network.parse().unwrap()).collect();
            super::reaches(host, &networks, address.parse().unwrap())
        };
        assert!(reaches("a.test", &[], "1.1.1.1"));
        assert!(!reaches("a.test", &[], "127.0.0.1"));
        assert!(!reaches("a.test", &[], "::ffff:127.0.0.1"));
        assert!(reaches("a.test", &["127.0.0.0/8"], "::ffff:127.0.0.1"));
        assert!(!reaches("a.test", &["10.0.0.0/8"], "127.0.0.1"));
        assert!(reaches("127.0.0.1", &[], "127.0.0.1"));
        assert!(!reaches("127.0.0.1", &[], "127.0.0.2"));
        assert!(reaches("[::1]", &[], "::1"));
        assert!(reaches("localhost", &[], "::1") && reaches("a.localhost", &[], "127.0.0.1"));
        assert!(!reaches("localhost", &[], "10.0.0.1") && !reaches("notlocalhost", &[], "127.0.0.1"));
    }

    #[test]
    fn networks_have_one_form() {
        let network = |text: &str| text.parse::<Network>();
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.1/32", "::/0", "fd00::/8", "::1/128"] {
            assert_eq!(network(text).unwrap().to_string(), text);
        }
        assert_eq!(network("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
        for text in
            ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "fd00::1/8", "::ffff:10.0.0.0/104", "a/8"]
        {
            assert!(network(text).is_err(), "{text}");
        }
        let covers = |wide: &str, narrow: &str| network(wide).unwrap().covers(&network(narrow).unwrap());
        assert!(covers("10.0.0.0/8", "10.1.0.0/16") && covers("0.0.0.0/0", "10.0.0.0/8") && covers("::/0", "fd00::/8"));
        assert!(!covers("10.1.0.0/16", "10.0.0.0/8") && !covers("::/0", "10.0.0.0/8"));
    }

    #[test]
    fn hosts_have_one_form() {
        assert_eq!(host("Example.ORG").unwrap(), "example.org");
        assert_eq!(host("[0:0:0:0:0:0:0:1]").unwrap(), "[::1]");
        for text in [
            "",
            "a.",
            ".a",
            "a..b",
            "*.a",
            "127.1",
            "0x7f000001",
            "017700000001",
            "2130706433",
            "b\u{fc}cher.de",
            "[::ffff:127.0.0.1]",
            "[x]",
            "a.0x1",
            "1.2.3.256",
        ] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
