//! The matchtags of one handle that are still out, and when each may be used
//! again. Calls no libflux: says what is to be freed, or discarded.

use super::super::ids::TagSet;

/// A tag is in one set at most, and in none while it is free.
///
/// In an external handle the dispatcher frees the tag of a response that
/// nobody handles. A tag that is listed here is then stale until libflux hands
/// it out again, which [`Tags`] is told of, so the sets never outgrow what was
/// in flight at once. (In other handles `dispatch` sees such responses first.)
#[derive(Default)]
pub struct Tags {
    /// Of futures that live: they free theirs.
    held: TagSet,
    /// Of requests sent without a future: freed with the last response.
    sent: TagSet,
    /// Of futures and requests given up: their responses are discarded, the last frees.
    given_up: TagSet,
}

impl Tags {
    /// A future has this tag, which libflux has just allocated.
    pub fn held(&mut self, matchtag: u32) {
        self.released(matchtag);
        self.held.insert(matchtag);
    }

    pub fn sent(&mut self, matchtag: u32) {
        self.released(matchtag);
        self.sent.insert(matchtag);
    }

    /// Whatever this tag was before is over.
    pub fn released(&mut self, matchtag: u32) {
        self.held.remove(&matchtag);
        self.sent.remove(&matchtag);
        self.given_up.remove(&matchtag);
    }

    pub fn is_held(&self, matchtag: u32) -> bool {
        self.held.contains(&matchtag)
    }

    pub fn is_sent(&self, matchtag: u32) -> bool {
        self.sent.contains(&matchtag)
    }

    pub fn given_up(&mut self, matchtag: u32) {
        self.released(matchtag);
        self.given_up.insert(matchtag);
    }

    pub fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Whether a response with this tag is for nobody.
    pub fn is_given_up(&self, matchtag: u32) -> bool {
        self.given_up.contains(&matchtag)
    }

    /// A response is taken off the queue, for good. Returns whether its tag
    /// is to be freed: a future frees its own.
    pub fn answered(&mut self, matchtag: u32, last: bool) -> bool {
        last && (self.sent.remove(&matchtag) || self.given_up.remove(&matchtag))
    }
}
