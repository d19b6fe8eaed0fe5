//! A slab in which places cannot be confused. Each value has an id, so the
//! place of a removed value finds nothing, even when another value has the
//! slot.

/// Where a value is. Places are ordered by id: older ones first if ids are
/// given out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The value's id.
    pub id: u64,
    /// The index of its slot.
    pub slot: u32,
}

/// Values with their ids.
pub struct Slab<T>(slab::Slab<(u64, T)>);

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab(slab::Slab::new())
    }
}

impl<T> Slab<T> {
    /// Stores a value under an id that no other value has had.
    #[inline]
    pub fn insert(&mut self, id: u64, value: T) -> Place {
        let slot = self.0.insert((id, value)) as u32;
        Place { id, slot }
    }

    /// The slot that the next value gets.
    pub fn next_slot(&self) -> u32 {
        self.0.vacant_key() as u32
    }

    /// The value at a place, if it is still there.
    #[inline]
    pub fn get(&self, place: Place) -> Option<&T> {
        let (id, value) = self.0.get(place.slot as usize)?;
        (*id == place.id).then_some(value)
    }

    /// The value at a place, if it is still there.
    #[inline]
    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        let (id, value) = self.0.get_mut(place.slot as usize)?;
        (*id == place.id).then_some(value)
    }

    /// Takes the value from a place, if it is still there.
    #[inline]
    pub fn remove(&mut self, place: Place) -> Option<T> {
        self.get(place)?;
        let (_, value) = self.0.try_remove(place.slot as usize)?;
        Some(value)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The places of all values.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.0.iter().map(|(slot, (id, _))| Place {
            id: *id,
            slot: slot as u32,
        })
    }
}
