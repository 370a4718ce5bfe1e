//! Where a caller calls from.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use ipnet::IpNet;

/// What proxies write whom they speak for into, each behind those before.
const FORWARDED: &str = "x-forwarded-for";

/// Of an address of IPv6 the provider's customer is told by the first 64 bits; the rest the customer makes up (RFC 4291).
const CUSTOMER_BITS: u32 = 64;

/// A client's address, as far as it tells clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> CUSTOMER_BITS << CUSTOMER_BITS))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address that is connected, or the last one for which only trusted proxies have spoken.
pub(crate) fn client_ip(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    // Nobody is connected where the router is called by itself.
    let peer = peer.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
    forwarded(peer.to_canonical(), headers, trusted)
}

fn forwarded(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer;
    for hop in headers.get_all(FORWARDED).iter().rev() {
        for hop in hop.to_str().unwrap_or_default().rsplit(',') {
            if !is_trusted(&client) {
                return client;
            }
            // Whoever wrote this is trusted, but nobody can tell whom they meant.
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { return client };
            client = hop.to_canonical();
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::direct("203.0.113.5", &[], "203.0.113.5")]
    #[case::forged("203.0.113.5", &["198.51.100.1"], "203.0.113.5")]
    #[case::proxied("10.0.0.1", &["198.51.100.1"], "198.51.100.1")]
    #[case::twice("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1")]
    #[case::several_lines("10.0.0.1", &["198.51.100.1", "10.0.0.2"], "198.51.100.1")]
    #[case::forged_before("10.0.0.1", &["192.0.2.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1")]
    #[case::nonsense("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1")]
    #[case::nothing("10.0.0.1", &[], "10.0.0.1")]
    #[case::mapped("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1")]
    #[case::a_customer("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::")]
    #[case::a_customer_behind("10.0.0.1", &["2001:db8:1:2:ffff::1"], "2001:db8:1:2::")]
    fn whoever_is_trusted_speaks_for_others(
        #[case] peer: &str,
        #[case] lines: &[&str],
        #[case] client: &str,
    ) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_str(line).unwrap());
        }
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(Address::from(client_ip(&extensions, &headers, &trusted)).to_string(), client);
    }
}
