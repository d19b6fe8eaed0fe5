//! Values at places that are used again: found without a search, told apart
//! from what was there before by their ids.

/// Where a value is. Older ones are less, if ids are given out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub id: u64,
    pub slot: u32,
}

pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The first of those that are free, or how many there are.
    free: u32,
    len: usize,
}

enum Slot<T> {
    Taken { id: u64, value: T },
    Free { next: u32 },
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab {
            slots: Vec::new(),
            free: 0,
            len: 0,
        }
    }
}

impl<T> Slab<T> {
    /// `id` is a number that no other value has had.
    #[inline]
    pub fn insert(&mut self, id: u64, value: T) -> Place {
        let slot = self.free;
        let taken = Slot::Taken { id, value };
        match self.slots.get_mut(slot as usize) {
            Some(free) => {
                if let Slot::Free { next } = std::mem::replace(free, taken) {
                    self.free = next;
                }
            }
            None => {
                self.slots.push(taken);
                self.free += 1;
            }
        }
        self.len += 1;
        Place { id, slot }
    }

    /// The slot that the next value gets.
    pub fn next_slot(&self) -> u32 {
        self.free
    }

    #[inline]
    pub fn get(&self, place: Place) -> Option<&T> {
        match self.slots.get(place.slot as usize) {
            Some(Slot::Taken { id, value }) if *id == place.id => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        match self.slots.get_mut(place.slot as usize) {
            Some(Slot::Taken { id, value }) if *id == place.id => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub fn remove(&mut self, place: Place) -> Option<T> {
        self.get(place)?;
        let free = Slot::Free { next: self.free };
        let taken = std::mem::replace(self.slots.get_mut(place.slot as usize)?, free);
        self.free = place.slot;
        self.len -= 1;
        match taken {
            Slot::Taken { value, .. } => Some(value),
            Slot::Free { .. } => None,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where all of them are.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, taken)| match taken {
            Slot::Taken { id, .. } => Some(Place {
                id: *id,
                slot: slot as u32,
            }),
            Slot::Free { .. } => None,
        })
    }
}
