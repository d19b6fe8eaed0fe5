//! The matchtags of one handle that are still out, and when each may be used
//! again. Calls no libflux: says what is to be freed, or discarded.

use std::collections::HashSet;

/// A tag is in neither set while it is free, or a future's that lives.
///
/// The handle's own dispatcher may free a tag that is listed here, when it
/// gets a response that nobody handles. The tag is then stale until libflux
/// hands it out again, which [`Tags::handed_out`] is told of, so the sets
/// never outgrow what was in flight at once.
#[derive(Default)]
pub struct Tags {
    /// Of requests sent without a future: freed with the last response.
    sent: HashSet<u32>,
    /// Of futures and requests given up: their responses are discarded, the last frees.
    given_up: HashSet<u32>,
}

impl Tags {
    /// libflux has just allocated this tag, so that whatever it was before is over.
    pub fn handed_out(&mut self, matchtag: u32) {
        self.sent.remove(&matchtag);
        self.given_up.remove(&matchtag);
    }

    pub fn sent(&mut self, matchtag: u32) {
        self.handed_out(matchtag);
        self.sent.insert(matchtag);
    }

    pub fn is_sent(&self, matchtag: u32) -> bool {
        self.sent.contains(&matchtag)
    }

    pub fn given_up(&mut self, matchtag: u32) {
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
    /// is to be freed. A tag that is not listed is some future's.
    pub fn answered(&mut self, matchtag: u32, last: bool) -> bool {
        last && (self.sent.remove(&matchtag) || self.given_up.remove(&matchtag))
    }
}
