//! Things by small index, with generations. Taking and leaving a place are O(1) and allocate only to grow. A
//! place that was left gets a new generation, so that a late completion for an old tenant finds nobody instead
//! of somebody else.

use crate::id::Key;

/// Things by [`Key`].
#[derive(Debug, Clone)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Place<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// An empty slab.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `tenant` in a free place. At most 2^32 - 1 places.
    pub fn insert(&mut self, tenant: T) -> Key {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.tenant = Some(tenant);
            return Key { index, generation: place.generation };
        }
        let index = u32::try_from(self.places.len()).expect("fewer than 2^32 tenants");
        self.places.push(Place { generation: 1, tenant: Some(tenant) });
        Key { index, generation: 1 }
    }

    /// The key that the next [`Slab::insert`] will give.
    #[must_use]
    pub fn next_key(&self) -> Key {
        match self.free.last() {
            Some(&index) => Key { index, generation: self.places[index as usize].generation },
            None => Key { index: self.places.len() as u32, generation: 1 },
        }
    }

    /// Takes the tenant out; its key names nobody from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place =
            self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)?;
        let tenant = place.tenant.take()?;
        place.generation = place.generation.wrapping_add(1).max(1);
        self.free.push(key.index);
        Some(tenant)
    }

    /// Who lives there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.places
            .get(key.index as usize)
            .filter(|place| place.generation == key.generation)?
            .tenant
            .as_ref()
    }

    /// Who lives there, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.places
            .get_mut(key.index as usize)
            .filter(|place| place.generation == key.generation)?
            .tenant
            .as_mut()
    }

    /// The key of whoever lives in that place now.
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let place = self.places.get(index as usize)?;
        place.tenant.as_ref().map(|_| Key { index, generation: place.generation })
    }

    /// How many tenants there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All tenants with their keys, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.tenant.as_ref().map(|tenant| (key, tenant))
        })
    }

    /// All tenants with their keys, by place, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.tenant.as_mut().map(|tenant| (key, tenant))
        })
    }

    /// The keys of all tenants, by place, at this moment.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nobody() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        assert_eq!(slab.next_key().index, first.index);
        let second = slab.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn the_next_key_is_the_one_given() {
        let mut slab = Slab::new();
        for round in 0..10 {
            let next = slab.next_key();
            assert_eq!(slab.insert(round), next);
            if round % 3 == 0 {
                slab.remove(next);
            }
        }
    }
}
