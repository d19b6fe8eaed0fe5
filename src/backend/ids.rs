//! Maps by what this process gave out or its script chose (numbers, handlers'
//! topics), which no peer can choose so that they collide: their hash is a
//! multiplication.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

pub type IdMap<T> = HashMap<u64, T, BuildHasherDefault<IdHasher>>;
/// Matchtags, of requests that this process sent.
pub type TagMap<T> = HashMap<u32, T, BuildHasherDefault<IdHasher>>;
pub type TagSet = HashSet<u32, BuildHasherDefault<IdHasher>>;

/// The topics of a script's handlers.
pub type TopicMap<T> = HashMap<Rc<[u8]>, T, BuildHasherDefault<IdHasher>>;

/// Ids by what they wait for (a time, a descriptor), then older first. What
/// they stand for is in an [`IdMap`].
pub type Order = BTreeSet<(u64, u64)>;

/// The place in an [`Order`] of ids that are in it by age alone.
pub fn by_age(id: u64) -> (u64, u64) {
    (0, id)
}

#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    /// A text's length, before its bytes.
    fn write_usize(&mut self, len: usize) {
        self.write_u64(self.0 ^ len as u64);
    }

    fn write_u32(&mut self, tag: u32) {
        self.write_u64(tag.into());
    }

    /// The table takes high and low bits of the hash: each id moves both.
    fn write_u64(&mut self, id: u64) {
        let product = u128::from(id) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
