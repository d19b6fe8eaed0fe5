//! The messages of one type in a handle's queue, in the order of their arrival.
//! Where many wait, one is found by its matchtag without a search.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::ids::IdMap;
use super::message::Message;

pub(super) struct Queued {
    pub arrival: u64,
    pub message: Arc<Message>,
}

#[derive(Default)]
pub(super) struct Lane {
    /// None where one was taken from between others; the first is there.
    queued: VecDeque<Option<Queued>>,
    /// The place of the first: how many places there were before it.
    first: u64,
    /// By matchtag the places of those that match it, in their order. None
    /// while a search is as cheap.
    places: Option<IdMap<VecDeque<u64>>>,
}

/// So many are searched.
const MAX_SEARCHED: usize = 64;

impl Lane {
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    #[inline]
    pub fn push(&mut self, queued: Queued) {
        let place = self.first + self.queued.len() as u64;
        if let Some(places) = &mut self.places {
            note(places, &queued.message, place);
        }
        self.queued.push_back(Some(queued));
    }

    /// The arrival of the first.
    #[inline]
    pub fn arrival(&self) -> Option<u64> {
        let first = self.queued.front()?.as_ref()?;
        Some(first.arrival)
    }

    pub fn pop(&mut self) -> Option<Arc<Message>> {
        self.take(self.first)
    }

    /// The place of the first that matches, and its arrival.
    pub fn find(&mut self, matchtag: u32) -> Option<(u64, u64)> {
        let matches = |queued: &Queued| queued.message.matches_tag(matchtag);
        let place = match self.places() {
            Some(places) => *places.get(&matchtag.into())?.front()?,
            None => {
                let mut queued = self.queued.iter();
                let position = queued.position(|queued| queued.as_ref().is_some_and(matches))?;
                self.first + position as u64
            }
        };
        let queued = self.queued.get((place - self.first) as usize)?;
        Some((place, queued.as_ref()?.arrival))
    }

    pub fn take(&mut self, place: u64) -> Option<Arc<Message>> {
        let position = place.checked_sub(self.first)? as usize;
        let taken = self.queued.get_mut(position)?.take()?;
        if let Some(places) = &mut self.places {
            forget(places, &taken.message, place);
        }
        while let Some(None) = self.queued.front() {
            self.queued.pop_front();
            self.first += 1;
        }
        if self.queued.is_empty() {
            self.places = None;
        }
        Some(taken.message)
    }

    /// The places by matchtag, noted first where there are enough of them.
    fn places(&mut self) -> Option<&IdMap<VecDeque<u64>>> {
        if self.places.is_none() && self.queued.len() > MAX_SEARCHED {
            let mut places = IdMap::default();
            for (place, queued) in (self.first..).zip(&self.queued) {
                if let Some(queued) = queued {
                    note(&mut places, &queued.message, place);
                }
            }
            self.places = Some(places);
        }
        self.places.as_ref()
    }
}

fn note(places: &mut IdMap<VecDeque<u64>>, message: &Message, place: u64) {
    let matchtag = message.matchtag;
    if message.matches_tag(matchtag) {
        places.entry(matchtag.into()).or_default().push_back(place);
    }
}

fn forget(places: &mut IdMap<VecDeque<u64>>, message: &Message, place: u64) {
    let matchtag = message.matchtag.into();
    let Some(same_tag) = places.get_mut(&matchtag) else {
        return;
    };
    // It is nearly always the first of its tag.
    if same_tag.front() == Some(&place) {
        same_tag.pop_front();
    } else {
        same_tag.retain(|other| *other != place);
    }
    if same_tag.is_empty() {
        places.remove(&matchtag);
    }
}
