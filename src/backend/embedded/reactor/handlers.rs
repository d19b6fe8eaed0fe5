//! Keeps the message handlers, and finds those that match a message. Handlers
//! of a plain topic are indexed by the topic. Handlers with a pattern are
//! indexed by the text at the pattern's start.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use super::glob;
use crate::backend::embedded::message::Message;
use crate::backend::ids::TopicMap;
use crate::backend::reactor::Callback;
use crate::backend::slab::{Place, Slab};
use crate::backend::{Error, ROLE_OWNER, Result, msgtype};

/// The message handlers of a handle.
#[derive(Default)]
pub struct Handlers {
    handlers: Slab<Handler>,
    /// Handlers of requests alone, with a plain topic. They come before others.
    methods: NewestByTopic,
    /// Handlers of other types, with a plain topic.
    plain: NewestByTopic,
    /// Handlers with a pattern, or for any topic, by the text that it begins
    /// with. A topic is matched only against patterns that begin as it does.
    patterns: NewestByTopic,
    /// The number of keys in `patterns`, by their length.
    lengths: BTreeMap<usize, usize>,
}

/// The newest handler of each topic, or of each beginning of patterns.
type NewestByTopic = TopicMap<Place>;

/// The index that contains a handler.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Index {
    Method,
    Plain,
    Pattern,
}

/// One handler.
pub struct Handler {
    typemask: i32,
    /// A topic or pattern, empty for any topic.
    topic: Rc<[u8]>,
    index: Index,
    rolemask: u32,
    callback: Callback,
    /// The handler's neighbours among those with the same key in the index.
    older: Option<Place>,
    newer: Option<Place>,
}

impl Handlers {
    /// Adds a handler, as the newest.
    pub fn add(&mut self, id: u64, handler: Handler) -> Place {
        let (index, key) = (handler.index, handler.key());
        let len = key.len();
        let place = self.handlers.insert(id, handler);
        match self.index(index).entry(key) {
            Entry::Occupied(mut newest) => {
                let older = newest.insert(place);
                self.link(Some(older), Some(place));
            }
            Entry::Vacant(none) => {
                none.insert(place);
                if index == Index::Pattern {
                    *self.lengths.entry(len).or_default() += 1;
                }
            }
        }
        place
    }

    /// Removes a handler.
    pub fn remove(&mut self, place: Place) -> Option<Handler> {
        let handler = self.handlers.remove(place)?;
        self.link(handler.older, handler.newer);
        if handler.newer.is_some() {
            return Some(handler);
        }
        let key = handler.key();
        let topics = self.index(handler.index);
        match handler.older {
            Some(older) => {
                topics.insert(key, older);
            }
            None => {
                topics.remove(&key);
                if handler.index == Index::Pattern {
                    self.forget_length(key.len());
                }
            }
        }
        Some(handler)
    }

    fn forget_length(&mut self, len: usize) {
        if let Some(count) = self.lengths.get_mut(&len) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&len);
            }
        }
    }

    /// Makes two handlers neighbours.
    fn link(&mut self, older: Option<Place>, newer: Option<Place>) {
        if let Some(handler) = older.and_then(|older| self.handlers.get_mut(older)) {
            handler.newer = newer;
        }
        if let Some(handler) = newer.and_then(|newer| self.handlers.get_mut(newer)) {
            handler.older = older;
        }
    }

    fn index(&mut self, kind: Index) -> &mut NewestByTopic {
        match kind {
            Index::Method => &mut self.methods,
            Index::Plain => &mut self.plain,
            Index::Pattern => &mut self.patterns,
        }
    }

    /// How many handlers there are.
    pub fn active(&self) -> usize {
        self.handlers.len()
    }

    /// Returns the newest handler that matches a request or response.
    pub fn newest(&self, message: &Message) -> Option<Place> {
        if message.msgtype == msgtype::REQUEST
            && let Some(&newest) = self.methods.get(&message.topic[..])
        {
            return Some(newest);
        }
        self.plain(message).next().max(self.newest_pattern(message))
    }

    /// Returns the handlers that match an event, newest first.
    pub fn all(&self, event: &Message) -> Vec<Place> {
        let patterns = self
            .starts(event)
            .flat_map(|newest| self.matching(newest, event));
        let mut all: Vec<Place> = self.plain(event).chain(patterns).collect();
        all.sort_unstable_by_key(|place| Reverse(place.id));
        all
    }

    fn plain(&self, message: &Message) -> impl Iterator<Item = Place> {
        let newest = self.plain.get(&message.topic[..]);
        newest
            .into_iter()
            .flat_map(|&newest| self.matching(newest, message))
    }

    fn newest_pattern(&self, message: &Message) -> Option<Place> {
        let starts = self.starts(message);
        starts
            .filter_map(|newest| self.matching(newest, message).next())
            .max()
    }

    /// For each indexed text that the topic begins with, returns the newest
    /// handler.
    fn starts(&self, message: &Message) -> impl Iterator<Item = Place> {
        let lengths = self.lengths.range(..=message.topic.len());
        lengths.filter_map(|(&len, _)| self.patterns.get(&message.topic[..len]).copied())
    }

    /// Returns the matching handlers among `newest` and the older ones with the
    /// same key.
    fn matching(&self, newest: Place, message: &Message) -> impl Iterator<Item = Place> {
        let older = |place: &Place| self.handlers.get(*place)?.older;
        std::iter::successors(Some(newest), older).filter(|place| {
            let handler = self.handlers.get(*place);
            handler.is_some_and(|handler| handler.matches(message))
        })
    }

    /// The callback of a handler, or the error if the sender lacks the roles for
    /// it. None if the handler is gone.
    pub fn call(&self, place: Place, message: &Message) -> Option<Result<Callback>> {
        let handler = self.handlers.get(place)?;
        if message.rolemask & handler.rolemask != 0 {
            return Some(Ok(handler.callback.clone()));
        }
        let text = match handler.rolemask {
            ROLE_OWNER => "Request requires owner credentials",
            _ => "Request rejected due to insufficient privilege",
        };
        Some(Err(Error::with_detail(libc::EPERM, text)))
    }
}

impl Handler {
    /// Makes a handler. `topic` is a topic or pattern, empty for any topic.
    pub fn new(typemask: i32, topic: &[u8], rolemask: u32, callback: Callback) -> Handler {
        let index = match typemask {
            _ if topic.is_empty() || glob::is_glob(topic) => Index::Pattern,
            msgtype::REQUEST => Index::Method,
            _ => Index::Plain,
        };
        Handler {
            typemask,
            topic: topic.into(),
            index,
            // The owner is always allowed.
            rolemask: rolemask | ROLE_OWNER,
            callback,
            older: None,
            newer: None,
        }
    }

    /// The handler's key in the index.
    fn key(&self) -> Rc<[u8]> {
        match self.index {
            Index::Pattern => glob::start(&self.topic).into(),
            Index::Method | Index::Plain => Rc::clone(&self.topic),
        }
    }

    fn matches(&self, message: &Message) -> bool {
        // No type at all means any type.
        if self.typemask != 0 && self.typemask & message.msgtype == 0 {
            return false;
        }
        match self.index {
            Index::Pattern => self.topic.is_empty() || glob::matches(&self.topic, &message.topic),
            Index::Method | Index::Plain => *self.topic == *message.topic,
        }
    }
}
