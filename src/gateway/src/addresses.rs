//! How many connections each address has to one listener (`limits.connections_per_address`).

use hashbrown::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of a listener, counted by address. Addresses without a connection take no room.
#[derive(Debug)]
pub(crate) struct Addresses {
    most: Option<usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place in the count; given back when dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    of: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// At most `most` connections for each address; `None`: nothing is counted.
    pub(crate) fn new(most: Option<usize>) -> Arc<Self> {
        Arc::new(Addresses { most, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection. `Err`: the address has as many as it may.
    pub(crate) fn count(self: &Arc<Self>, address: IpAddr) -> Result<Option<Counted>, ()> {
        let Some(most) = self.most else { return Ok(None) };
        let mut open = self.open();
        let count = open.entry(address).or_insert(0);
        if *count >= most {
            return Err(());
        }
        *count += 1;
        Ok(Some(Counted { of: self.clone(), address }))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.of.open();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_count_and_leaves_nothing_behind() {
        let addresses = Addresses::new(Some(2));
        let [one, two] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let first = addresses.count(one).unwrap();
        let second = addresses.count(one).unwrap();
        assert!(addresses.count(one).is_err());
        assert!(addresses.count(two).is_ok());
        drop(first);
        drop(addresses.count(one).unwrap());
        drop(second);
        assert!(addresses.open().is_empty());
        assert!(Addresses::new(None).count(one).unwrap().is_none());
    }
}
