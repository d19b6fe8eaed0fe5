//! Message handlers, and which of them a message is for. Those of one plain
//! topic are found by it, those with a pattern by what that begins with.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use super::super::super::ids::TopicMap;
use super::super::super::reactor::{Callback, ROLE_OWNER};
use super::super::super::slab::{Place, Slab};
use super::super::super::{Error, Result, msgtype};
use super::super::message::Message;
use super::glob;

#[derive(Default)]
pub(super) struct Handlers {
    handlers: Slab<Handler>,
    /// Of requests alone, for one topic: they come before all others.
    methods: Topics,
    /// Of other types, for one topic.
    plain: Topics,
    /// Those with a pattern, or for any topic, by the text that it begins with:
    /// a topic is held only against patterns that begin as it does.
    patterns: Topics,
    /// How many of those texts have that many bytes.
    lengths: BTreeMap<usize, usize>,
}

/// The newest handler of each topic, or start of a pattern.
type Topics = TopicMap<Place>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Method,
    Plain,
    Pattern,
}

pub(super) struct Handler {
    typemask: i32,
    /// Empty for any.
    topic: Rc<[u8]>,
    found: Found,
    rolemask: u32,
    callback: Callback,
    /// Of those that are found under the same text.
    older: Option<Place>,
    newer: Option<Place>,
}

impl Handlers {
    pub fn add(&mut self, id: u64, handler: Handler) -> Place {
        let (found, key) = (handler.found, handler.key());
        let len = key.len();
        let place = self.handlers.insert(id, handler);
        match self.topics(found).entry(key) {
            Entry::Occupied(mut newest) => {
                let older = newest.insert(place);
                self.link(Some(older), Some(place));
            }
            Entry::Vacant(none) => {
                none.insert(place);
                if found == Found::Pattern {
                    *self.lengths.entry(len).or_default() += 1;
                }
            }
        }
        place
    }

    pub fn remove(&mut self, place: Place) -> Option<Handler> {
        let handler = self.handlers.remove(place)?;
        self.link(handler.older, handler.newer);
        if handler.newer.is_some() {
            return Some(handler);
        }
        let key = handler.key();
        let topics = self.topics(handler.found);
        match handler.older {
            Some(older) => {
                topics.insert(key, older);
            }
            None => {
                topics.remove(&key);
                if handler.found == Found::Pattern {
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

    /// Those two follow one another now.
    fn link(&mut self, older: Option<Place>, newer: Option<Place>) {
        if let Some(handler) = older.and_then(|older| self.handlers.get_mut(older)) {
            handler.newer = newer;
        }
        if let Some(handler) = newer.and_then(|newer| self.handlers.get_mut(newer)) {
            handler.older = older;
        }
    }

    fn topics(&mut self, found: Found) -> &mut Topics {
        match found {
            Found::Method => &mut self.methods,
            Found::Plain => &mut self.plain,
            Found::Pattern => &mut self.patterns,
        }
    }

    pub fn active(&self) -> usize {
        self.handlers.len()
    }

    /// Whom a message that is no event is for: the newest whose it is.
    pub fn newest(&self, message: &Message) -> Option<Place> {
        if message.msgtype == msgtype::REQUEST
            && let Some(&newest) = self.methods.get(&message.topic[..])
        {
            return Some(newest);
        }
        self.plain(message).next().max(self.newest_pattern(message))
    }

    /// Whom an event is for, newest first.
    pub fn all(&self, event: &Message) -> Vec<Place> {
        let patterns = self
            .starts(event)
            .flat_map(|newest| self.matching(newest, event));
        // Of the same type as the timers' order: one sort of code for both.
        let mut all = BinaryHeap::new();
        for place in self.plain(event).chain(patterns) {
            all.push(Reverse((!place.id, place)));
        }
        let next = || all.pop().map(|Reverse((_, place))| place);
        std::iter::from_fn(next).collect()
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

    /// The newest of each pattern that begins as the topic does.
    fn starts(&self, message: &Message) -> impl Iterator<Item = Place> {
        let lengths = self.lengths.range(..=message.topic.len());
        lengths.filter_map(|(&len, _)| self.patterns.get(&message.topic[..len]).copied())
    }

    /// Those that the message is for, of `newest` and what is found with it.
    fn matching(&self, newest: Place, message: &Message) -> impl Iterator<Item = Place> {
        let older = |place: &Place| self.handlers.get(*place)?.older;
        std::iter::successors(Some(newest), older).filter(|place| {
            let handler = self.handlers.get(*place);
            handler.is_some_and(|handler| handler.matches(message))
        })
    }

    /// The callback to give the message to, or why its sender may not have it.
    /// `None` where the handler is gone.
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
    pub fn new(typemask: i32, topic: &[u8], rolemask: u32, callback: Callback) -> Handler {
        let found = match typemask {
            _ if topic.is_empty() || glob::is_glob(topic) => Found::Pattern,
            msgtype::REQUEST => Found::Method,
            _ => Found::Plain,
        };
        Handler {
            typemask,
            topic: topic.into(),
            found,
            // The owner is never shut out.
            rolemask: rolemask | ROLE_OWNER,
            callback,
            older: None,
            newer: None,
        }
    }

    /// What it is found under.
    fn key(&self) -> Rc<[u8]> {
        match self.found {
            Found::Pattern => glob::start(&self.topic).into(),
            Found::Method | Found::Plain => Rc::clone(&self.topic),
        }
    }

    fn matches(&self, message: &Message) -> bool {
        // No type at all stands for any.
        if self.typemask != 0 && self.typemask & message.msgtype == 0 {
            return false;
        }
        match self.found {
            Found::Pattern => self.topic.is_empty() || glob::matches(&self.topic, &message.topic),
            Found::Method | Found::Plain => *self.topic == *message.topic,
        }
    }
}
