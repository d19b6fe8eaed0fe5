//! The reactor of a handle: what is waited for, in which order it is called,
//! and when a run ends; as libflux has it over libev. Each kind of source keeps
//! its own watchers, in a file of its own; here is the loop over them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::reactor::{Callback, Continuation, Event, RunMode, Source, Watcher};
use super::super::slab::Place;
use super::super::system::{self, poll_entry};
use super::super::{self as backend, Error, Result, msgtype};
use super::future::Response;
use super::message::{Message, carried};
use super::queue::Queue;
use super::services::unknown_method;

mod descriptors;
mod futures;
mod glob;
mod handlers;
mod signals;
mod stat;
mod timers;

use descriptors::Descriptors;
use futures::Futures;
use handlers::{Handler, Handlers};
use signals::Signals;
use stat::Stat;
use timers::Timers;

pub(super) struct Reactor {
    queue: Arc<Queue>,
    /// Writes an error to the handle's log.
    log: Box<dyn Fn(&str)>,
    sources: RefCell<Sources>,
    /// What happened and is not yet called, next first.
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

/// Something that happened, in the order in which libflux calls it.
enum Pending {
    Signal(u64),
    /// A future is fulfilled.
    Continuation,
    /// The queue may have a message.
    Message,
    Timer(Place),
    Descriptor(u64, i32),
}

/// A watcher's part among the sources.
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

    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub fn run(&self, mode: RunMode) -> Result<u32> {
        self.stopped.set(false);
        self.failed.set(false);
        // Of the run that this one is nested in.
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

    pub fn stop(&self) {
        self.stopped.set(true);
        self.failed.set(false);
    }

    pub fn stop_error(&self) {
        self.stopped.set(true);
        self.failed.set(true);
    }

    pub fn watch(
        self: &Rc<Self>,
        source: Source<'_>,
        callback: Callback,
    ) -> Result<Box<dyn Watcher>> {
        // An error drops the callback, and what it owns may be a watcher: not
        // while the sources are borrowed.
        let kept = Rc::clone(&callback);
        let part = self.sources.borrow_mut().add(source, callback)?;
        drop(kept);
        Ok(self.watcher(part))
    }

    /// Call `continuation` each time the future is fulfilled, the first time
    /// with what it is fulfilled with now.
    pub fn watch_future(
        self: &Rc<Self>,
        future: Box<Response>,
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

    /// Drop a watcher's part. What its callback owns may be another watcher, so
    /// that the sources must not be borrowed when it goes.
    fn remove<T>(&self, take: impl FnOnce(&mut Sources) -> Option<T>) {
        let removed = take(&mut self.sources.borrow_mut());
        drop(removed);
    }

    /// Wait until something happens, as long as the mode allows, and make it
    /// pending.
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

    /// Wait for one of the descriptors, a message that someone is interested
    /// in, or the next timer.
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

    /// Call what is pending, until nothing is. Whether anything was called.
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

    /// Whether there was something to call, its watcher not dropped since.
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

    /// Take one message from the queue, if any watcher takes messages, for
    /// whoever it is for.
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

    /// Call the continuation of the future that has been ready longest.
    fn handle_future(&self) -> bool {
        let Some(mut call) = self.sources.borrow_mut().futures.next() else {
            return false;
        };
        self.call(|| (call.continuation)(&*call.future));
        backend::Future::reset(&mut *call.future);
        let dropped = self.sources.borrow_mut().futures.called(call);
        // Not before the sources can be borrowed again.
        drop(dropped);
        true
    }

    /// A panic ends the callback, and nothing else.
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
                let stat = Stat::new(carried(path)?)?;
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
                let topic = topic_glob.map_or(Ok(&b""[..]), carried)?;
                let handler = Handler::new(typemask, topic, rolemask, callback);
                Part::Handler(self.handlers.add(id, handler))
            }
        })
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// How many watchers something could still happen to.
    fn active(&self) -> usize {
        self.timers.active()
            + self.descriptors.active()
            + self.signals.active()
            + self.handlers.active()
            + self.futures.active()
    }

    /// Whether messages are taken from the queue: all of them, or none.
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
