//! The signals that a handle's watchers wait for. One listener hears of all.

use std::rc::Rc;

use super::super::super::Result;
use super::super::super::ids::{IdMap, Order};
use super::super::super::reactor::{Callback, Event};
use super::super::super::system::poll_entry;
use super::super::super::system::signals::{Listener, Subscription};

#[derive(Default)]
pub(super) struct Signals {
    /// There while a watcher is.
    listener: Option<Rc<Listener>>,
    watchers: IdMap<Box<Signal>>,
    /// By signal.
    order: Order,
}

pub(super) struct Signal {
    callback: Callback,
    _subscription: Subscription,
}

impl Signals {
    pub fn add(&mut self, id: u64, signum: i32, callback: Callback) -> Result<()> {
        let listener = match &self.listener {
            Some(listener) => Rc::clone(listener),
            None => Listener::new()?,
        };
        let signal = Signal {
            callback,
            _subscription: listener.subscribe(signum)?,
        };
        self.listener = Some(listener);
        self.watchers.insert(id, Box::new(signal));
        self.order.insert((signum as u64, id));
        Ok(())
    }

    pub fn remove(&mut self, signum: i32, id: u64) -> Option<Box<Signal>> {
        let signal = self.watchers.remove(&id)?;
        self.order.remove(&(signum as u64, id));
        if self.watchers.is_empty() {
            self.listener = None;
        }
        Some(signal)
    }

    pub fn active(&self) -> usize {
        self.watchers.len()
    }

    pub fn poll_entry(&self) -> Option<libc::pollfd> {
        let listener = self.listener.as_ref()?;
        Some(poll_entry(listener.fd(), libc::POLLIN))
    }

    /// The watchers whose signal was received since the last time.
    pub fn received(&self) -> impl Iterator<Item = u64> + '_ {
        let received = self.listener.as_ref().map(|listener| listener.take());
        let watchers = self.order.iter();
        watchers.filter_map(move |&(signum, id)| {
            let is_received = received.as_ref().is_some_and(|r| r(signum as i32));
            is_received.then_some(id)
        })
    }

    pub fn call(&self, id: u64) -> Option<(Callback, Event)> {
        let signal = self.watchers.get(&id)?;
        Some((signal.callback.clone(), Event::Signal))
    }
}
