//! The messages of one type in a handle's queue, in the order of their arrival.
//! If many wait, an index finds a message by its matchtag.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::backend::embedded::message::Message;
use crate::backend::ids::IdMap;

/// A message with its place in the order of all arrivals.
pub struct Queued {
    pub arrival: u64,
    pub message: Arc<Message>,
}

/// A queue of messages. The position of a message is its index among all that
/// were ever pushed, so it does not change as others are taken.
#[derive(Default)]
pub struct Fifo {
    /// The messages. None marks the place of a message that was taken. The
    /// front is never None.
    queued: VecDeque<Option<Queued>>,
    /// The position of the front.
    front: u64,
    /// The positions of messages by matchtag, in their order. None while a
    /// search costs no more than an index.
    by_tag: Option<IdMap<VecDeque<u64>>>,
}

/// Up to this number of messages, a search costs no more than an index.
const MAX_SEARCHED: usize = 64;

impl Fifo {
    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Appends a message.
    #[inline]
    pub fn push(&mut self, queued: Queued) {
        let position = self.front + self.queued.len() as u64;
        if let Some(by_tag) = &mut self.by_tag {
            index(by_tag, &queued.message, position);
        }
        self.queued.push_back(Some(queued));
    }

    /// The arrival number of the first message.
    #[inline]
    pub fn arrival(&self) -> Option<u64> {
        let front = self.queued.front()?.as_ref()?;
        Some(front.arrival)
    }

    /// Takes the first message.
    pub fn pop(&mut self) -> Option<Arc<Message>> {
        self.take(self.front)
    }

    /// The position of the first message that matches, and its arrival.
    pub fn find(&mut self, matchtag: u32) -> Option<(u64, u64)> {
        let matches = |queued: &Queued| queued.message.matches_tag(matchtag);
        let position = match self.index_by_tag() {
            Some(by_tag) => *by_tag.get(&matchtag.into())?.front()?,
            None => {
                let mut queued = self.queued.iter();
                let at = queued.position(|queued| queued.as_ref().is_some_and(matches))?;
                self.front + at as u64
            }
        };
        let queued = self.queued.get((position - self.front) as usize)?;
        Some((position, queued.as_ref()?.arrival))
    }

    /// Takes the message at a position.
    pub fn take(&mut self, position: u64) -> Option<Arc<Message>> {
        let at = position.checked_sub(self.front)? as usize;
        let taken = self.queued.get_mut(at)?.take()?;
        if let Some(by_tag) = &mut self.by_tag {
            forget(by_tag, &taken.message, position);
        }
        while let Some(None) = self.queued.front() {
            self.queued.pop_front();
            self.front += 1;
        }
        if self.queued.is_empty() {
            self.by_tag = None;
        }
        Some(taken.message)
    }

    /// Returns the index by matchtag. It is made when there are enough
    /// messages.
    fn index_by_tag(&mut self) -> Option<&IdMap<VecDeque<u64>>> {
        if self.by_tag.is_none() && self.queued.len() > MAX_SEARCHED {
            let mut by_tag = IdMap::default();
            for (position, queued) in (self.front..).zip(&self.queued) {
                if let Some(queued) = queued {
                    index(&mut by_tag, &queued.message, position);
                }
            }
            self.by_tag = Some(by_tag);
        }
        self.by_tag.as_ref()
    }
}

fn index(by_tag: &mut IdMap<VecDeque<u64>>, message: &Message, position: u64) {
    let matchtag = message.matchtag;
    if message.matches_tag(matchtag) {
        let same_tag = by_tag.entry(matchtag.into()).or_default();
        same_tag.push_back(position);
    }
}

fn forget(by_tag: &mut IdMap<VecDeque<u64>>, message: &Message, position: u64) {
    let matchtag = message.matchtag.into();
    let Some(same_tag) = by_tag.get_mut(&matchtag) else {
        return;
    };
    // Fast path: the message is usually the first with its tag.
    if same_tag.front() == Some(&position) {
        same_tag.pop_front();
    } else {
        same_tag.retain(|other| *other != position);
    }
    if same_tag.is_empty() {
        by_tag.remove(&matchtag);
    }
}
