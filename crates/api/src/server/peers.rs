//! How many connections each address has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;

use crate::limits::Address;

/// Those who are connected. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    each_max: usize,
    /// They speak for many.
    trusted_proxies: Vec<IpNet>,
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
    pub(super) fn new(each_max: usize, trusted_proxies: Vec<IpNet>) -> Self {
        Self(Arc::new(Inner { each_max, trusted_proxies, open: Mutex::default() }))
    }

    /// One more connection of an address; `None` if it has as many as it may.
    pub(super) fn admit(&self, ip: IpAddr) -> Option<Peer> {
        let ip = ip.to_canonical();
        if self.0.trusted_proxies.iter().any(|net| net.contains(&ip)) {
            return Some(Peer { peers: self.clone(), counted: None });
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
    use super::*;

    #[test]
    fn an_address_has_so_many_and_whoever_speaks_for_others_any_number() {
        let peers = Peers::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
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
