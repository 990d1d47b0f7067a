//! Values by key, each made and changed by one caller at a time, and no more of them than a bound.
//! Knows neither what they are nor how old they may be.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// A value per key. One that nobody holds and that was asked for least recently makes room.
pub(crate) struct Slots<K, V> {
    most: usize,
    kept: Mutex<Kept<K, V>>,
}

struct Kept<K, V> {
    asked: u64,
    slots: HashMap<K, Slot<V>>,
}

struct Slot<V> {
    asked: u64,
    value: Arc<tokio::sync::Mutex<V>>,
}

impl<K: Clone + Eq + Hash, V: Default> Slots<K, V> {
    /// So many at most, but for those that are held.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::new(Kept { asked: 0, slots: HashMap::new() }) }
    }

    /// The slot of a key: a default value where it is new. Who locks it is alone with it.
    pub(crate) fn slot(&self, key: &K) -> Arc<tokio::sync::Mutex<V>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.asked += 1;
        let asked = kept.asked;
        if let Some(slot) = kept.slots.get_mut(key) {
            slot.asked = asked;
            return Arc::clone(&slot.value);
        }
        if kept.slots.len() >= self.most {
            let unheld = kept.slots.iter().filter(|(_, slot)| Arc::strong_count(&slot.value) == 1);
            let oldest = unheld.min_by_key(|(_, slot)| slot.asked).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                kept.slots.remove(&oldest);
            }
        }
        let value = Arc::default();
        kept.slots.insert(key.clone(), Slot { asked, value: Arc::clone(&value) });
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_slot_that_was_asked_for_least_recently_makes_room_unless_it_is_held() {
        let slots = Slots::<&str, u32>::new(2);
        let held = slots.slot(&"held");
        *slots.slot(&"older").lock().await = 1;
        *held.lock().await = 2;
        *slots.slot(&"newer").lock().await = 3;
        assert_eq!(*slots.slot(&"held").lock().await, 2);
        assert_eq!(*slots.slot(&"newer").lock().await, 3);
        assert_eq!(*slots.slot(&"older").lock().await, 0);
        assert_eq!(*slots.slot(&"newer").lock().await, 0);
    }
}
