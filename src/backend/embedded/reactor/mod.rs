//! The reactor of a handle: the loop that waits for events, calls watchers in
//! the order in which libflux does over libev, and decides when a run ends. Each
//! kind of source keeps its watchers in a file of its own.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::{Message, without_nul};
use super::queue::Queue;
use super::service::unknown_method;
use crate::backend::reactor::{Callback, Event, RunMode, Source, Watcher};
use crate::backend::slab::Place;
use crate::backend::system::{self, poll_entry};
use crate::backend::{Continuation, Error, Future, Result, msgtype};

mod descriptors;
mod futures;
mod glob;
mod handlers;
mod signals;
mod stat;
mod timers;

use descriptors::Descriptors;
use futures::Futures;
pub use futures::ResponseFuture;
use handlers::{Handler, Handlers};
use signals::Signals;
use stat::PathStatus;
use timers::Timers;

/// The reactor of one handle.
pub struct Reactor {
    queue: Arc<Queue>,
    /// Writes an error to the handle's log.
    log: Box<dyn Fn(&str)>,
    sources: RefCell<Sources>,
    /// Events whose watchers are not called yet, the next first.
    pending: RefCell<VecDeque<Pending>>,
    stopped: Cell<bool>,
    failed: Cell<bool>,
}

#[derive(Default)]
struct Sources {
    next_id: u64,
    timers: Timers,
    descriptors: Descriptors,
    signals: Signals,
    handlers: Handlers,
    futures: Futures,
}

/// An event. The order of the variants is the order in which libflux calls
/// watchers.
enum Pending {
    Signal(u64),
    /// A future may be fulfilled.
    Continuation,
    /// The queue may have a message.
    Message,
    Timer(Place),
    Descriptor(u64, i32),
}

/// Identifies a watcher among the sources.
enum Part {
    Timer(Place),
    Descriptor(RawFd, u64),
    Signal(i32, u64),
    Handler(Place),
    Future(u64),
}

struct Watch {
    reactor: Weak<Reactor>,
    part: Part,
}

impl Reactor {
    /// Makes a reactor for the messages of a queue. `log` writes an error to
    /// the log.
    pub fn new(queue: Arc<Queue>, log: impl Fn(&str) + 'static) -> Rc<Reactor> {
        Rc::new(Reactor {
            queue,
            log: Box::new(log),
            sources: RefCell::default(),
            pending: RefCell::default(),
            stopped: Cell::new(false),
            failed: Cell::new(false),
        })
    }

    /// The handle's queue.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// [`crate::backend::Handle::reactor_run`]
    pub fn run(&self, mode: RunMode) -> Result<u32> {
        self.stopped.set(false);
        self.failed.set(false);
        // If this run is nested in another, that run's events come first.
        self.handle_pending();
        while !self.stopped.get() {
            self.wait(mode)?;
            let handled = self.handle_pending();
            let enough = match mode {
                RunMode::Forever => false,
                RunMode::Once => handled,
                RunMode::NoWait => true,
            };
            if enough || self.sources.borrow().active() == 0 {
                break;
            }
        }
        match self.failed.get() {
            true => Err(Error::new(libc::ECANCELED)),
            false => Ok(self.sources.borrow().active() as u32),
        }
    }

    /// [`crate::backend::Handle::reactor_stop`]
    pub fn stop(&self) {
        self.stopped.set(true);
        self.failed.set(false);
    }

    /// [`crate::backend::Handle::reactor_stop_error`]
    pub fn stop_error(&self) {
        self.stopped.set(true);
        self.failed.set(true);
    }

    /// [`crate::backend::Handle::watch`]
    pub fn watch(
        self: &Rc<Self>,
        source: Source<'_>,
        callback: Callback,
    ) -> Result<Box<dyn Watcher>> {
        // On an error the callback is dropped, and it may own a watcher. That must
        // not happen while the sources are borrowed.
        let kept = Rc::clone(&callback);
        let part = self.sources.borrow_mut().add(source, callback)?;
        drop(kept);
        Ok(self.watcher(part))
    }

    /// Calls `continuation` each time the future is fulfilled. If the future
    /// has a value now, the first call is for this value.
    pub fn watch_future(
        self: &Rc<Self>,
        future: Box<dyn ResponseFuture>,
        continuation: Continuation,
    ) -> Box<dyn Watcher> {
        let mut sources = self.sources.borrow_mut();
        let id = sources.new_id();
        sources.futures.add(id, future, continuation);
        self.watcher(Part::Future(id))
    }

    fn watcher(self: &Rc<Self>, part: Part) -> Box<dyn Watcher> {
        let reactor = Rc::downgrade(self);
        Box::new(Watch { reactor, part })
    }

    /// Drops a watcher. Its callback may own another watcher, so the sources must
    /// not be borrowed meanwhile.
    fn remove<T>(&self, take: impl FnOnce(&mut Sources) -> Option<T>) {
        let removed = take(&mut self.sources.borrow_mut());
        drop(removed);
    }

    /// Waits for events, as long as the mode allows, and makes them pending.
    fn wait(&self, mode: RunMode) -> Result<()> {
        let mut polled = Vec::new();
        let signals = self.sources.borrow().signals.poll_entry();
        if let Some(signals) = signals {
            polled.push(signals);
        }
        let first = polled.len();
        self.sources.borrow().descriptors.poll_entries(&mut polled);
        self.poll(mode, &mut polled)?;

        let mut sources = self.sources.borrow_mut();
        let mut pending = self.pending.borrow_mut();
        if polled[..first].iter().any(|entry| entry.revents != 0) {
            for id in sources.signals.received() {
                pending.push_back(Pending::Signal(id));
            }
        }
        pending.push_back(Pending::Continuation);
        pending.push_back(Pending::Message);
        for id in sources.timers.expire() {
            pending.push_back(Pending::Timer(id));
        }
        sources.descriptors.ready(&polled[first..], |id, events| {
            pending.push_back(Pending::Descriptor(id, events));
        });
        Ok(())
    }

    /// Waits for one of the descriptors, the next timer, or a message, if any
    /// watcher takes messages.
    fn poll(&self, mode: RunMode, polled: &mut Vec<libc::pollfd>) -> Result<()> {
        let (may_wait, listens, next_timer) = {
            let mut sources = self.sources.borrow_mut();
            let ready = sources.futures.has_ready() || sources.active() == 0;
            let may_wait = mode != RunMode::NoWait && !ready;
            (may_wait, sources.take_messages(), sources.timers.next())
        };
        let mut timeout = match may_wait {
            true => next_timer.map(|at| at.saturating_duration_since(Instant::now())),
            false => Some(Duration::ZERO),
        };
        if !listens || timeout == Some(Duration::ZERO) {
            return poll_if_any(polled, timeout);
        }
        let Some(asleep) = self.queue.sleep()? else {
            timeout = Some(Duration::ZERO);
            return poll_if_any(polled, timeout);
        };
        if timeout.is_none() && polled.is_empty() {
            self.queue.check_senders()?;
        }
        polled.push(poll_entry(asleep.fd(), libc::POLLIN));
        let result = system::poll(polled, timeout);
        polled.pop();
        result
    }

    /// Handles pending events until there are none. Returns whether anything was
    /// called.
    fn handle_pending(&self) -> bool {
        let mut handled = false;
        loop {
            let next = self.pending.borrow_mut().pop_front();
            let Some(next) = next else {
                return handled;
            };
            handled |= self.handle(next);
        }
    }

    /// Handles one event. Returns whether its watcher still existed, and was
    /// called.
    fn handle(&self, pending: Pending) -> bool {
        let call = match pending {
            Pending::Signal(id) => self.sources.borrow().signals.call(id),
            Pending::Timer(place) => self.sources.borrow_mut().timers.call(place),
            Pending::Descriptor(id, events) => self.sources.borrow().descriptors.call(id, events),
            Pending::Message => return self.handle_message(),
            Pending::Continuation => return self.handle_future(),
        };
        match call {
            Some((callback, event)) => {
                self.call(move || callback(event));
                true
            }
            None => false,
        }
    }

    /// Takes one message from the queue, if any watcher takes messages, and calls
    /// its future or handlers.
    fn handle_message(&self) -> bool {
        if !self.sources.borrow().take_messages() {
            return false;
        }
        let Some(message) = self.queue.take() else {
            return false;
        };
        if message.msgtype == msgtype::RESPONSE
            && self.sources.borrow_mut().futures.deliver(&message)
        {
            return true;
        }
        if message.msgtype == msgtype::EVENT {
            let handlers = self.sources.borrow().handlers.all(&message);
            for place in handlers {
                self.call_handler(place, &message);
            }
            return true;
        }
        let handler = self.sources.borrow().handlers.newest(&message);
        match handler {
            Some(place) => self.call_handler(place, &message),
            None if message.msgtype == msgtype::REQUEST => {
                message.respond_error(&unknown_method(&message));
            }
            None => {}
        }
        true
    }

    fn call_handler(&self, place: Place, message: &Arc<Message>) {
        let found = self.sources.borrow().handlers.call(place, message);
        match found {
            Some(Ok(callback)) => {
                let message = Arc::clone(message);
                self.call(move || callback(Event::Message(message)));
            }
            Some(Err(refused)) if message.msgtype == msgtype::REQUEST => {
                message.respond_error(&refused);
            }
            Some(Err(_)) | None => {}
        }
    }

    /// Calls the continuation of the future that has been ready longest.
    fn handle_future(&self) -> bool {
        let Some(mut call) = self.sources.borrow_mut().futures.next() else {
            return false;
        };
        let future: &dyn Future = &*call.future;
        self.call(|| (call.continuation)(future));
        call.future.reset();
        let dropped = self.sources.borrow_mut().futures.called(call);
        // The sources must not be borrowed here.
        drop(dropped);
        true
    }

    /// Calls a callback. A panic ends the callback, and nothing else.
    fn call(&self, callback: impl FnOnce()) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(callback)) else {
            return;
        };
        (self.log)(&format!(
            "a reactor callback panicked: {}",
            text_of(&*panic)
        ));
    }
}

impl Sources {
    fn add(&mut self, source: Source<'_>, callback: Callback) -> Result<Part> {
        let id = self.new_id();
        Ok(match source {
            Source::Timer { after, repeat } => {
                Part::Timer(self.timers.add(id, after, repeat, callback)?)
            }
            Source::Stat { path, interval } => {
                let stat = PathStatus::new(without_nul(path)?)?;
                Part::Timer(self.timers.add_stat(id, interval, stat, callback)?)
            }
            Source::Fd { fd, events } => {
                self.descriptors.add(id, fd, events, callback)?;
                Part::Descriptor(fd, id)
            }
            Source::Signal(signum) => {
                self.signals.add(id, signum, callback)?;
                Part::Signal(signum, id)
            }
            Source::Message {
                typemask,
                topic_glob,
                rolemask,
            } => {
                let topic = topic_glob.map_or(Ok(&b""[..]), without_nul)?;
                let handler = Handler::new(typemask, topic, rolemask, callback);
                Part::Handler(self.handlers.add(id, handler))
            }
        })
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// How many watchers may still see an event.
    fn active(&self) -> usize {
        self.timers.active()
            + self.descriptors.active()
            + self.signals.active()
            + self.handlers.active()
            + self.futures.active()
    }

    /// Whether any watcher takes messages. Then all are taken from the queue.
    fn take_messages(&self) -> bool {
        self.handlers.active() > 0 || self.futures.expect_responses()
    }
}

impl Watcher for Watch {}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(reactor) = self.reactor.upgrade() else {
            return;
        };
        match self.part {
            Part::Timer(place) => reactor.remove(|sources| sources.timers.remove(place)),
            Part::Descriptor(fd, id) => reactor.remove(|s| s.descriptors.remove(fd, id)),
            Part::Signal(signum, id) => reactor.remove(|s| s.signals.remove(signum, id)),
            Part::Handler(place) => reactor.remove(|sources| sources.handlers.remove(place)),
            Part::Future(id) => reactor.remove(|sources| sources.futures.remove(id)),
        }
    }
}

fn poll_if_any(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> Result<()> {
    match polled.is_empty() && timeout == Some(Duration::ZERO) {
        true => Ok(()),
        false => system::poll(polled, timeout),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text")
}
