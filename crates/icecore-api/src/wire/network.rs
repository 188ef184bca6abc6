//! The networks of a Droplet. The server runs no machine, so the addresses are records: they follow
//! from the Droplet's id, lie in the range of its VPC or in ranges that lead nowhere, and never
//! change.

use std::net::Ipv6Addr;

use serde::Serialize;
use utoipa::ToSchema;

use crate::pool::labels;
use crate::service::droplets::item::DropletItem;
use crate::words::ip_range::BENCHMARKS;
use crate::words::ip_range::IpRange;
use crate::words::ip_range::TEN;

/// The first address for public networks of version 6, in 2001:db8::/64: the range for
/// documentation.
const PUBLIC_V6: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_1000;

/// The networks of a Droplet.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct NetworksJson {
    pub(crate) v4: Vec<NetworkV4Json>,
    pub(crate) v6: Vec<NetworkV6Json>,
}

/// A network of version 4.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct NetworkV4Json {
    /// A record: no machine has this address.
    pub(crate) ip_address: String,
    pub(crate) netmask: String,
    /// `nil` in a private network.
    pub(crate) gateway: String,
    /// `public` or `private`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// A network of version 6.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct NetworkV6Json {
    /// A record: no machine has this address.
    pub(crate) ip_address: String,
    /// The number of bits.
    pub(crate) netmask: u8,
    pub(crate) gateway: String,
    /// `public`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

impl From<&DropletItem> for NetworksJson {
    fn from(item: &DropletItem) -> Self {
        let features = item.features();
        let public = !features.without_public_network;
        let network = IpRange::parse(item.disk.label(labels::NETWORK)).unwrap_or(TEN);
        let v4 = [Some(private(network, item.number)), public.then(|| public_v4(item.number))];
        let v6 = features.ipv6.then(|| public_v6(item.number));
        Self { v4: v4.into_iter().flatten().collect(), v6: v6.into_iter().collect() }
    }
}

fn private(network: IpRange, number: i64) -> NetworkV4Json {
    NetworkV4Json {
        ip_address: network.address(number).to_string(),
        netmask: network.netmask().to_string(),
        gateway: "nil".to_owned(),
        kind: "private".to_owned(),
    }
}

fn public_v4(number: i64) -> NetworkV4Json {
    NetworkV4Json {
        ip_address: BENCHMARKS.address(number).to_string(),
        netmask: BENCHMARKS.netmask().to_string(),
        gateway: BENCHMARKS.gateway().to_string(),
        kind: "public".to_owned(),
    }
}

fn public_v6(number: i64) -> NetworkV6Json {
    let at = PUBLIC_V6 + u128::from(number.unsigned_abs());
    NetworkV6Json {
        ip_address: Ipv6Addr::from(at).to_string(),
        netmask: 64,
        gateway: "2001:db8::1".to_owned(),
        kind: "public".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_follow_from_the_number_and_stay_in_their_ranges() {
        for number in [1, 2, 131_068, 131_069, 131_070, 16_777_213, 16_777_214, 16_777_215, i64::MAX] {
            let v4: Ipv4Addr = public_v4(number).ip_address.parse().unwrap();
            let [a, b, ..] = v4.octets();
            assert!(a == 198 && (b == 18 || b == 19), "{v4}");
            assert!(!["198.18.0.0", "198.18.0.1", "198.19.255.255"].contains(&v4.to_string().as_str()));
            let v4: Ipv4Addr = private(TEN, number).ip_address.parse().unwrap();
            assert_eq!(v4.octets()[0], 10, "{v4}");
            assert!(!["10.0.0.0", "10.255.255.255"].contains(&v4.to_string().as_str()));
            let v6: Ipv6Addr = public_v6(number).ip_address.parse().unwrap();
            assert_eq!(v6.segments()[..4], [0x2001, 0xdb8, 0, 0], "{v6}");
        }
        assert_eq!(private(TEN, 258).ip_address, "10.0.1.4");
        assert_eq!(public_v4(258).ip_address, "198.18.1.4");
        assert_eq!(public_v6(258).ip_address, "2001:db8::1102");
    }
}
