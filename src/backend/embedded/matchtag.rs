//! The matchtags of a handle's requests.

use std::cell::Cell;

use super::queue::Queue;
use crate::backend::MATCHTAG_NONE;

/// Allocates the matchtags of a handle, one after the other.
#[derive(Default)]
pub(super) struct MatchtagCounter(Cell<u32>);

impl MatchtagCounter {
    /// The next matchtag for which `queue` expects no late response.
    pub fn next(&self, queue: &Queue) -> u32 {
        loop {
            let matchtag = self.0.get().wrapping_add(1);
            self.0.set(matchtag);
            if matchtag != MATCHTAG_NONE && !queue.is_given_up(matchtag) {
                return matchtag;
            }
        }
    }
}
