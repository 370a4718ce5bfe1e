//! Who may connect, and how many connections each address has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;

use super::ServerSettings;
use crate::limits::Address;

/// Those who are connected. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    each_max: usize,
    /// They speak for many.
    trusted_proxies: Vec<IpNet>,
    proxies_only: bool,
    open: Mutex<HashMap<Address, usize>>,
}

/// A connection of an address. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Peer {
    peers: Peers,
    /// None of a proxy, whose connections are not counted.
    counted: Option<Address>,
}

impl Peers {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self(Arc::new(Inner {
            each_max: settings.connections_per_address_max,
            trusted_proxies: settings.trusted_proxies.clone(),
            proxies_only: settings.proxies_only,
            open: Mutex::default(),
        }))
    }

    /// One more connection of an address; `None` if it may have none, or has as many as it may.
    pub(super) fn admit(&self, ip: IpAddr) -> Option<Peer> {
        let ip = ip.to_canonical();
        if self.0.trusted_proxies.iter().any(|net| net.contains(&ip)) {
            return Some(Peer { peers: self.clone(), counted: None });
        }
        if self.0.proxies_only {
            return None;
        }
        let address = Address::from(ip);
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= self.0.each_max {
            return None;
        }
        *count += 1;
        Some(Peer { peers: self.clone(), counted: Some(address) })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Address, usize>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Some(address) = self.counted else { return };
        let mut open = self.peers.open();
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::IntGauge;

    use super::*;

    fn peers(proxies_only: bool) -> Peers {
        Peers::new(&ServerSettings {
            connections_max: 100,
            connections_per_address_max: 2,
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            proxies_only,
            head_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            certificates: None,
            connections: IntGauge::new("connections", "Connections.").unwrap(),
        })
    }

    #[test]
    fn whoever_is_no_proxy_is_cut_off_where_only_proxies_may_connect() {
        let peers = peers(true);
        assert!(peers.admit("10.0.0.1".parse().unwrap()).is_some());
        for stranger in ["203.0.113.5", "127.0.0.1", "2001:db8::1", "::ffff:203.0.113.5"] {
            assert!(peers.admit(stranger.parse().unwrap()).is_none(), "{stranger}");
        }
    }

    #[test]
    fn an_address_has_so_many_and_whoever_speaks_for_others_any_number() {
        let peers = peers(false);
        let admit = |ip: &str| peers.admit(ip.parse().unwrap());
        let one = [admit("2001:db8:1:2::1"), admit("2001:db8:1:2:ffff::2")];
        assert!(one.iter().all(Option::is_some));
        assert!(admit("2001:db8:1:2::3").is_none(), "it is the same customer");
        let (other, mapped) = (admit("203.0.113.5"), admit("::ffff:203.0.113.5"));
        assert!(other.is_some() && mapped.is_some() && admit("203.0.113.5").is_none());
        let proxied: Vec<_> = (0..10).map(|_| admit("::ffff:10.0.0.1")).collect();
        assert!(proxied.iter().all(Option::is_some));
        drop(other);
        assert!(admit("203.0.113.5").is_some());
        drop((one, mapped, proxied));
        assert!(peers.open().is_empty(), "whoever has gone is forgotten");
    }
}
