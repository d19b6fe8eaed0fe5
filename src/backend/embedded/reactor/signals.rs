//! The signals that a handle's watchers wait for, through one listener.

use std::rc::Rc;

use crate::backend::Result;
use crate::backend::ids::{IdMap, Order};
use crate::backend::reactor::{Callback, Event};
use crate::backend::system::poll_entry;
use crate::backend::system::signals::{Listener, Subscription};

/// The watchers of signals.
#[derive(Default)]
pub struct Signals {
    /// None while there are no watchers.
    listener: Option<Rc<Listener>>,
    watchers: IdMap<Box<Signal>>,
    /// The ids of the watchers, by signal number.
    order: Order,
}

/// One watcher.
pub struct Signal {
    callback: Callback,
    _subscription: Subscription,
}

impl Signals {
    /// Adds a watcher. Fails with EINVAL if the signal cannot be handled.
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

    /// Removes a watcher.
    pub fn remove(&mut self, signum: i32, id: u64) -> Option<Box<Signal>> {
        let signal = self.watchers.remove(&id)?;
        self.order.remove(&(signum as u64, id));
        if self.watchers.is_empty() {
            self.listener = None;
        }
        Some(signal)
    }

    /// How many watchers there are.
    pub fn active(&self) -> usize {
        self.watchers.len()
    }

    /// The listener's descriptor to poll. None if there are no watchers.
    pub fn poll_entry(&self) -> Option<libc::pollfd> {
        let listener = self.listener.as_ref()?;
        Some(poll_entry(listener.fd(), libc::POLLIN))
    }

    /// The watchers whose signal was received since the last call.
    pub fn received(&self) -> impl Iterator<Item = u64> + '_ {
        let received = self.listener.as_ref().map(|listener| listener.take());
        let watchers = self.order.iter();
        watchers.filter_map(move |&(signum, id)| {
            let is_received = received.as_ref().is_some_and(|r| r(signum as i32));
            is_received.then_some(id)
        })
    }

    /// The callback of a watcher and the event to pass to it. None if the
    /// watcher is gone.
    pub fn call(&self, id: u64) -> Option<(Callback, Event)> {
        let signal = self.watchers.get(&id)?;
        Some((signal.callback.clone(), Event::Signal))
    }
}
