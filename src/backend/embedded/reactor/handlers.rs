//! Message handlers, and which of them a message is for. Those of one plain
//! topic are found by it, those with a pattern by what that begins with.

use std::collections::BTreeMap;

use super::super::super::ids::{IdMap, Order, TopicMap, by_age};
use super::super::super::reactor::{Callback, ROLE_OWNER};
use super::super::super::{Error, Result, msgtype};
use super::super::message::Message;
use super::glob;

#[derive(Default)]
pub(super) struct Handlers {
    handlers: IdMap<Handler>,
    /// Of requests alone, for one topic: they come before all others.
    methods: Topics,
    /// Of other types, for one topic.
    plain: Topics,
    /// Those with a pattern, or for any topic.
    patterns: Patterns,
}

/// The handlers of each topic, older first.
type Topics = TopicMap<Order>;

/// Handlers by the text that their patterns begin with: a topic is held only
/// against patterns that begin as it does.
#[derive(Default)]
struct Patterns {
    starts: Topics,
    /// How many starts have that many bytes.
    lengths: BTreeMap<usize, usize>,
}

impl Patterns {
    fn add(&mut self, id: u64, pattern: &[u8]) {
        let start = glob::start(pattern);
        let same_start = self.starts.entry(start.into()).or_default();
        if same_start.is_empty() {
            *self.lengths.entry(start.len()).or_default() += 1;
        }
        same_start.insert(by_age(id));
    }

    fn remove(&mut self, id: u64, pattern: &[u8]) {
        let start = glob::start(pattern);
        let Some(same_start) = self.starts.get_mut(start) else {
            return;
        };
        same_start.remove(&by_age(id));
        if !same_start.is_empty() {
            return;
        }
        self.starts.remove(start);
        if let Some(count) = self.lengths.get_mut(&start.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&start.len());
            }
        }
    }

    /// Those that may be for the topic, older first, by starts.
    fn candidates(&self, topic: &[u8]) -> impl Iterator<Item = &Order> {
        let lengths = self.lengths.range(..=topic.len());
        lengths.filter_map(|(&length, _)| self.starts.get(&topic[..length]))
    }
}

pub(super) struct Handler {
    typemask: i32,
    /// Empty for any.
    topic: Box<[u8]>,
    rolemask: u32,
    callback: Callback,
}

impl Handlers {
    pub fn add(&mut self, id: u64, handler: Handler) {
        if handler.is_for_many_topics() {
            self.patterns.add(id, &handler.topic);
        } else {
            let topics = self.topics(&handler);
            let same_topic = topics.entry(handler.topic.clone()).or_default();
            same_topic.insert(by_age(id));
        }
        self.handlers.insert(id, handler);
    }

    pub fn remove(&mut self, id: u64) -> Option<Handler> {
        let handler = self.handlers.remove(&id)?;
        if handler.is_for_many_topics() {
            self.patterns.remove(id, &handler.topic);
            return Some(handler);
        }
        let topics = self.topics(&handler);
        if let Some(same_topic) = topics.get_mut(&handler.topic) {
            same_topic.remove(&by_age(id));
            if same_topic.is_empty() {
                topics.remove(&handler.topic);
            }
        }
        Some(handler)
    }

    fn topics(&mut self, handler: &Handler) -> &mut Topics {
        match handler.typemask {
            msgtype::REQUEST => &mut self.methods,
            _ => &mut self.plain,
        }
    }

    pub fn active(&self) -> usize {
        self.handlers.len()
    }

    /// Whom a message that is no event is for: the newest whose it is.
    pub fn newest(&self, message: &Message) -> Option<u64> {
        if message.msgtype == msgtype::REQUEST {
            let method = self.methods.get(&message.topic[..]);
            if let Some(&(_, newest)) = method.and_then(Order::last) {
                return Some(newest);
            }
        }
        self.plain(message).next().max(self.newest_pattern(message))
    }

    /// Whom an event is for, newest first.
    pub fn all(&self, event: &Message) -> Vec<u64> {
        let mut all: Vec<u64> = self.plain(event).chain(self.patterns(event)).collect();
        all.sort_unstable();
        all.reverse();
        all
    }

    fn plain(&self, message: &Message) -> impl Iterator<Item = u64> {
        let same_topic = self.plain.get(&message.topic[..]).into_iter().flatten();
        self.matching(same_topic.rev(), message)
    }

    fn patterns(&self, message: &Message) -> impl Iterator<Item = u64> {
        let candidates = self.patterns.candidates(&message.topic).flatten();
        self.matching(candidates, message)
    }

    fn newest_pattern(&self, message: &Message) -> Option<u64> {
        let candidates = self.patterns.candidates(&message.topic);
        let newest = candidates.filter_map(|ids| self.matching(ids.iter().rev(), message).next());
        newest.max()
    }

    fn matching<'a>(
        &self,
        ids: impl Iterator<Item = &'a (u64, u64)>,
        message: &Message,
    ) -> impl Iterator<Item = u64> {
        ids.map(|&(_, id)| id).filter(|id| {
            let handler = self.handlers.get(id);
            handler.is_some_and(|handler| handler.matches(message))
        })
    }

    /// The callback to give the message to, or why its sender may not have it.
    /// `None` where the handler is gone.
    pub fn call(&self, id: u64, message: &Message) -> Option<Result<Callback>> {
        let handler = self.handlers.get(&id)?;
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
        Handler {
            typemask,
            topic: topic.into(),
            // The owner is never shut out.
            rolemask: rolemask | ROLE_OWNER,
            callback,
        }
    }

    fn is_for_many_topics(&self) -> bool {
        self.topic.is_empty() || glob::is_glob(&self.topic)
    }

    fn matches(&self, message: &Message) -> bool {
        // No type at all stands for any.
        if self.typemask != 0 && self.typemask & message.msgtype == 0 {
            return false;
        }
        match self.is_for_many_topics() {
            true => self.topic.is_empty() || glob::matches(&self.topic, &message.topic),
            false => *self.topic == *message.topic,
        }
    }
}
