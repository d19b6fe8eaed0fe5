//! Hash maps whose keys no peer can choose (ids and matchtags that this process
//! gives out, topics of its own handlers), so a fast hash is safe.

use std::collections::BTreeSet;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

/// Values by their ids.
pub type IdMap<T> = FxHashMap<u64, T>;
/// Values by the matchtag of a request that this process sent.
pub type TagMap<T> = FxHashMap<u32, T>;
/// Matchtags of requests that this process sent.
pub type TagSet = FxHashSet<u32>;
/// Values by the topics of a script's message handlers.
pub type TopicMap<T> = FxHashMap<Rc<[u8]>, T>;

/// Ids in the order of a number, such as a descriptor; older ids first where
/// the numbers are equal.
pub type Order = BTreeSet<(u64, u64)>;

/// The entry of an id in an [`Order`] by age alone.
pub fn by_age(id: u64) -> (u64, u64) {
    (0, id)
}
