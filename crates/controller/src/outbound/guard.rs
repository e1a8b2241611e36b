//! Addresses that are not asked: behind them is what only this machine may ask.
//!
//! Link-local addresses are where clouds serve the machine's own credentials. Private addresses and loopback stay
//! allowed: a Prometheus in the cluster has a private one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services at addresses that are not link-local.
const METADATA: [IpAddr; 2] = [
    // Amazon's over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Alibaba's.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// Whether an address is link-local, or known to be a metadata service.
pub(super) fn is_refused(address: IpAddr) -> bool {
    // An IPv4 address that is written as an IPv6 one is the same place.
    let address = match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4),
        IpAddr::V4(four) => IpAddr::V4(four),
    };
    METADATA.contains(&address)
        || match address {
            IpAddr::V4(four) => four.is_link_local(),
            IpAddr::V6(six) => six.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_refused_in_every_spelling() {
        for refused in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
        ] {
            assert!(is_refused(refused.parse().unwrap()), "{refused}");
        }
        for allowed in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.0.1",
            "::1",
            "fd00::1",
            "1.1.1.1",
        ] {
            assert!(!is_refused(allowed.parse().unwrap()), "{allowed}");
        }
    }
}
