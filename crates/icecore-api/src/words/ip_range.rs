//! Ranges of IPv4 addresses in CIDR notation.

use std::fmt;
use std::net::Ipv4Addr;

/// The largest private network.
pub(crate) const TEN: IpRange = IpRange { first: 0x0a00_0000, bits: 8 };
/// The range for benchmarks, which no router forwards.
pub(crate) const BENCHMARKS: IpRange = IpRange { first: 0xc612_0000, bits: 15 };
/// The networks that are private, by RFC 1918.
const PRIVATE: [IpRange; 3] =
    [TEN, IpRange { first: 0xac10_0000, bits: 12 }, IpRange { first: 0xc0a8_0000, bits: 16 }];
/// The largest and the smallest network.
const BITS: std::ops::RangeInclusive<u32> = 16..=28;
/// Where the server begins to look for a free network, and the size of it.
const FIRST_FREE: u32 = 0x0a64_0000;
const FREE_BITS: u32 = 20;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IpRange {
    first: u32,
    bits: u32,
}

impl IpRange {
    /// Reads a private network of 16 to 28 bits. Returns none if it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let range = Self { first: address.parse::<Ipv4Addr>().ok()?.into(), bits: bits.parse().ok()? };
        let good = BITS.contains(&range.bits)
            && range.first & !range.mask() == 0
            && range.to_string() == text
            && PRIVATE.iter().any(|private| private.bits <= range.bits && private.overlaps(range));
        good.then_some(range)
    }

    /// Returns a network that overlaps none of these.
    pub(crate) fn free(taken: &[Self]) -> Option<Self> {
        let step = 1 << (32 - FREE_BITS);
        let last = 0x0aff_ffff;
        let mut all = (FIRST_FREE..=last).step_by(step).map(|first| Self { first, bits: FREE_BITS });
        all.find(|range| !taken.iter().any(|other| other.overlaps(*range)))
    }

    /// Returns whether two networks have an address in common.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.first & mask == other.first & mask
    }

    /// Returns the address of a Droplet with this number. It is not the first one, where a gateway
    /// would be, nor the last.
    pub(crate) fn address(self, number: i64) -> Ipv4Addr {
        let addresses = i64::from(!self.mask()) - 2;
        let place = u32::try_from(number.rem_euclid(addresses.max(1))).unwrap_or(0);
        Ipv4Addr::from(self.first.saturating_add(2).saturating_add(place))
    }

    /// Returns the address where its gateway would be.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.first.saturating_add(1))
    }

    /// Returns the mask of its bits as an address.
    pub(crate) fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from(self.mask())
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - self.bits).unwrap_or(0)
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_of_a_fair_size_are_read() {
        for good in ["10.10.10.0/24", "172.16.0.0/16", "192.168.255.240/28"] {
            assert_eq!(IpRange::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/8",
            "10.0.0.0/29",
            "10.0.0.1/24",
            "8.8.8.0/24",
            "172.32.0.0/16",
            "10.0.0.0/024",
            "10.0.0.0/99",
            "fd00::/64",
            "10.0.0/24",
        ] {
            assert_eq!(IpRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_lie_between_the_first_and_the_last() {
        let small = IpRange::parse("10.77.0.16/28").unwrap();
        assert_eq!(small.netmask().to_string(), "255.255.255.240");
        assert_eq!(small.address(0).to_string(), "10.77.0.18");
        assert_eq!(small.address(12).to_string(), "10.77.0.30");
        assert_eq!(small.address(13).to_string(), "10.77.0.18");
        assert_eq!(TEN.address(256).to_string(), "10.0.1.2");
    }

    #[test]
    fn a_free_network_overlaps_none() {
        let first = IpRange::free(&[]).unwrap();
        assert_eq!(first.to_string(), "10.100.0.0/20");
        let inside = IpRange::parse("10.100.8.0/24").unwrap();
        assert!(first.overlaps(inside) && inside.overlaps(first));
        assert_eq!(IpRange::free(&[inside]).unwrap().to_string(), "10.100.16.0/20");
        assert!(!first.overlaps(IpRange::parse("10.100.16.0/28").unwrap()));
    }
}
