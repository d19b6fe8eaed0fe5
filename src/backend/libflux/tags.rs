//! Keeps the matchtags of one handle that are in use, and decides when each may
//! be used again. This file calls no libflux function. It only tells which
//! matchtags to free, and which responses to discard.

use crate::backend::ids::TagSet;

/// The matchtags in use. Each is in one set; a free matchtag is in none.
///
/// In an external handle, libflux's dispatcher frees the matchtag of a response
/// that nothing handles. Such a matchtag stays here until libflux gives it out
/// again and [`Tags`] is told, so the sets never grow beyond the largest number
/// of requests in flight. (In other handles `dispatch` sees such responses.)
#[derive(Default)]
pub struct Tags {
    /// Matchtags of live futures, which free them.
    held: TagSet,
    /// Matchtags of requests without a future, freed with the last response.
    sent: TagSet,
    /// Matchtags of futures and requests that were given up. Their responses are
    /// discarded, and the last one frees the matchtag.
    given_up: TagSet,
}

impl Tags {
    /// Notes a matchtag that libflux has just allocated for a future.
    pub fn held(&mut self, matchtag: u32) {
        self.released(matchtag);
        self.held.insert(matchtag);
    }

    /// Notes a matchtag that libflux has just allocated for a request without a
    /// future.
    pub fn sent(&mut self, matchtag: u32) {
        self.released(matchtag);
        self.sent.insert(matchtag);
    }

    /// Forgets a matchtag.
    pub fn released(&mut self, matchtag: u32) {
        self.held.remove(&matchtag);
        self.sent.remove(&matchtag);
        self.given_up.remove(&matchtag);
    }

    /// Whether a live future has this matchtag.
    pub fn is_held(&self, matchtag: u32) -> bool {
        self.held.contains(&matchtag)
    }

    /// Whether a request without a future has this matchtag.
    pub fn is_sent(&self, matchtag: u32) -> bool {
        self.sent.contains(&matchtag)
    }

    /// Notes that a future or request was given up.
    pub fn given_up(&mut self, matchtag: u32) {
        self.released(matchtag);
        self.given_up.insert(matchtag);
    }

    /// Whether any response is to be discarded.
    pub fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Whether a response with this matchtag is to be discarded.
    pub fn is_given_up(&self, matchtag: u32) -> bool {
        self.given_up.contains(&matchtag)
    }

    /// Notes a response that has left the queue for good. Returns whether the
    /// caller must free the matchtag: futures free theirs.
    pub fn answered(&mut self, matchtag: u32, last: bool) -> bool {
        last && (self.sent.remove(&matchtag) || self.given_up.remove(&matchtag))
    }
}
