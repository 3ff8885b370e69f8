//! Where a webhook may go: names are resolved here, and addresses that are nobody's business are left out.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Which addresses may be gone to: public ones always.
#[derive(Debug)]
pub enum Reach {
    /// All: loopback, link-local and private ones, too.
    Everywhere,
    /// Of the others, those of these hosts, in any case.
    Hosts(Vec<String>),
}

impl Reach {
    /// Whether a host may be reached at one of its addresses.
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        match self {
            Reach::Everywhere => true,
            Reach::Hosts(hosts) => {
                is_public(address) || hosts.iter().any(|named| named.eq_ignore_ascii_case(host))
            }
        }
    }
}

/// A name has private addresses alone, and is not one of the hosts that may.
#[derive(Debug, thiserror::Error)]
#[error("it has no public address")]
pub struct NotPublic;

/// Resolves names to addresses that may be reached.
#[derive(Debug, Clone)]
pub struct Resolver(pub Arc<Reach>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| reach.allows(name.as_str(), address.ip())).collect();
            if allowed.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Reachable by everybody: none of the special ranges of RFC 6890.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Translated and tunnelled addresses carry a version 4 one inside.
            let embedded = match (first, second) {
                (0x64, 0xff9b) => Some(&v6.octets()[12..16]),
                (0x2002, _) => Some(&v6.octets()[2..6]),
                _ => None,
            };
            let inside = embedded.is_none_or(|o| is_public_v4(Ipv4Addr::new(o[0], o[1], o[2], o[3])));
            // Global unicast, less documentation and protocol assignments.
            inside && (first & 0xe000) == 0x2000 && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
                || inside && (first, second) == (0x64, 0xff9b)
        }
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_broadcast()
        || v4.is_documentation()
        || v4.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19)))
}

#[cfg(test)]
mod tests {
    use super::{Reach, is_public};

    #[test]
    fn of_private_addresses_those_of_named_hosts_are_reached() {
        let reach = Reach::Hosts(vec!["alerts.monitoring.svc".into(), "10.0.0.7".into()]);
        let allows = |host: &str, address: &str| reach.allows(host, address.parse().expect("an address"));
        assert!(allows("Alerts.monitoring.svc", "10.1.2.3") && allows("10.0.0.7", "10.0.0.7"));
        assert!(allows("anybody.example", "1.1.1.1"));
        assert!(!allows("anybody.example", "10.0.0.7") && !allows("10.0.0.8", "10.0.0.8"));
        assert!(!allows("evil.alerts.monitoring.svc", "10.1.2.3"));
        assert!(Reach::Everywhere.allows("localhost", [127, 0, 0, 1].into()));
    }

    #[test]
    fn special_addresses_are_not_public_however_they_are_written() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(private.parse().expect("an address")), "{private}");
        }
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }
}
