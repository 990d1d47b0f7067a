//! Counts with a limit: one for all (`Total`), one for each key (`Tally`). Knows not what is counted.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// A count of everybody's places together.
#[derive(Debug)]
pub(super) struct Total {
    limit: u32,
    taken: AtomicU32,
}

/// Places of a [`Total`], given back on drop.
#[derive(Debug)]
pub(super) struct Share {
    total: Arc<Total>,
    places: u32,
}

impl Total {
    pub fn new(limit: u32) -> Self {
        Self { limit, taken: AtomicU32::new(0) }
    }

    /// So many places, if there are as many.
    pub fn take(total: &Arc<Self>, places: u32) -> Option<Share> {
        // Relaxed: the count guards no other memory.
        let more = |taken: u32| taken.checked_add(places).filter(|taken| *taken <= total.limit);
        total.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Share { total: Arc::clone(total), places })
    }

    /// So many places, whether they are there or not.
    pub fn add(total: &Arc<Self>, places: u32) -> Share {
        total.taken.fetch_add(places, Ordering::Relaxed);
        Share { total: Arc::clone(total), places }
    }

    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.taken.fetch_sub(self.places, Ordering::Relaxed);
    }
}

/// A count for each key. A key that holds nothing is not in the table, so the table is never larger
/// than the number of permits.
pub(super) struct Tally<K: Eq + Hash> {
    limit: u32,
    taken: DashMap<K, u32>,
}

/// One place of a key, given back on drop.
pub(super) struct Held<K: Eq + Hash> {
    tally: Arc<Tally<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Tally<K> {
    pub fn new(limit: u32) -> Self {
        Self { limit, taken: DashMap::new() }
    }

    /// One place of a key, if it has one left.
    pub fn take(tally: &Arc<Self>, key: K) -> Option<Held<K>> {
        // The entry locks its key from the check to the count.
        match tally.taken.entry(key.clone()) {
            Entry::Occupied(taken) if *taken.get() >= tally.limit => return None,
            Entry::Vacant(_) if tally.limit == 0 => return None,
            Entry::Occupied(mut taken) => *taken.get_mut() += 1,
            Entry::Vacant(free) => {
                free.insert(1);
            }
        }
        Some(Held { tally: Arc::clone(tally), key })
    }

    /// One place of a key, whether it is there or not.
    pub fn add(tally: &Arc<Self>, key: K) -> Held<K> {
        *tally.taken.entry(key.clone()).or_insert(0) += 1;
        Held { tally: Arc::clone(tally), key }
    }

    /// Keys that hold something.
    pub fn len(&self) -> usize {
        self.taken.len()
    }
}

impl<K: Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        self.tally.taken.remove_if_mut(&self.key, |_, taken| {
            *taken -= 1;
            *taken == 0
        });
    }
}

impl<K: Eq + Hash> fmt::Debug for Tally<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tally({} keys, {} each)", self.taken.len(), self.limit)
    }
}

impl<K: Eq + Hash + fmt::Debug> fmt::Debug for Held<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?})", self.key)
    }
}
