//! The connections of a server, bounded: if there are too many, the oldest goes, so that a new one is always served.
//!
//! An address that holds many connections loses its own ones first. A probe on the machine itself has places that
//! nobody else takes.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::task::AbortHandle;

/// The most connections at the same time.
const MAX: usize = 256;

/// The number of them that only this machine may use.
const OWN: usize = 64;

/// The most connections of one address; of one network of IPv6, since a host has 2^64 addresses there.
const OF_ADDRESS_MAX: usize = 64;

/// The open connections by their number, which counts up: the first is the oldest. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, (IpAddr, AbortHandle)>,
}

impl Connections {
    /// Serves a connection in a task of its own, and ends others where there are too many.
    pub(crate) fn run(&self, peer: IpAddr, serve: impl Future<Output = ()> + Send + 'static) {
        let peer = network(peer);
        let mut open = self.open();
        while let Some(oldest) = open.too_many(peer) {
            if let Some((_, connection)) = open.connections.remove(&oldest) {
                connection.abort();
            }
        }
        let number = open.next;
        open.next += 1;
        let all = self.clone();
        // The task can't end before it is entered: it needs the lock for that.
        let task = tokio::spawn(async move {
            serve.await;
            all.open().connections.remove(&number);
        });
        open.connections.insert(number, (peer, task.abort_handle()));
    }

    /// Returns the number of open connections.
    pub(crate) fn count(&self) -> usize {
        self.open().connections.len()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Returns the connection that must go before one of `peer` is let in; `None` where there is room.
    fn too_many(&self, peer: IpAddr) -> Option<u64> {
        let oldest = |of: &dyn Fn(&IpAddr) -> bool| {
            self.connections.iter().find(|(_, (address, _))| of(address)).map(|(number, _)| *number)
        };
        let count = |of: &dyn Fn(&IpAddr) -> bool| self.connections.values().filter(|(address, _)| of(address)).count();
        if count(&|address| *address == peer) >= OF_ADDRESS_MAX {
            return oldest(&|address| *address == peer);
        }
        let is_full =
            self.connections.len() >= MAX || (!peer.is_loopback() && count(&|a| !a.is_loopback()) >= MAX - OWN);
        if !is_full {
            return None;
        }
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (address, _) in self.connections.values() {
            *counts.entry(*address).or_default() += 1;
        }
        // Connections of this machine make room only for each other.
        counts.retain(|address, _| !address.is_loopback());
        let busiest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(address, _)| address);
        oldest(&|address| busiest.is_none_or(|busiest| *address == busiest))
    }
}

/// Returns the address as it is counted.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn hold(all: &Connections, address: IpAddr) {
        all.run(address, std::future::pending());
    }

    fn of(all: &Connections, address: IpAddr) -> usize {
        all.open().connections.values().filter(|(of, _)| *of == address).count()
    }

    #[tokio::test]
    async fn an_address_pushes_out_its_own_and_a_crowd_leaves_room_for_this_machine() {
        let all = Connections::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        for _ in 0..1000 {
            hold(&all, address(1));
        }
        assert_eq!(all.count(), OF_ADDRESS_MAX);
        hold(&all, address(2));
        assert_eq!((of(&all, address(1)), of(&all, address(2))), (OF_ADDRESS_MAX, 1));
        for n in 0..1000_u32 {
            hold(&all, IpAddr::from(Ipv4Addr::from(0x0b00_0000 + n)));
        }
        assert_eq!(all.count(), MAX - OWN);
        for _ in 0..1000 {
            hold(&all, Ipv4Addr::LOCALHOST.into());
        }
        assert_eq!((all.count(), of(&all, Ipv4Addr::LOCALHOST.into())), (MAX, OWN));
    }

    #[tokio::test]
    async fn a_host_with_many_addresses_of_its_network_is_one() {
        let all = Connections::default();
        for n in 0..1000_u128 {
            hold(&all, IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | n)));
        }
        assert_eq!(all.count(), OF_ADDRESS_MAX);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), network("10.0.0.1".parse().unwrap()));
    }
}
