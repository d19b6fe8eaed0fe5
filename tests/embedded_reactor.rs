//! Tests of the reactor of embedded and loopback handles: it must behave as
//! libflux's reactor does. The tests are in the modules below, one for each kind
//! of watcher; this file has the helpers that they share.

#[path = "embedded_reactor/descriptors.rs"]
mod descriptors;
#[path = "embedded_reactor/futures.rs"]
mod futures;
#[path = "embedded_reactor/glob.rs"]
mod glob;
#[path = "embedded_reactor/growth.rs"]
mod growth;
mod measure;
#[path = "embedded_reactor/messages.rs"]
mod messages;
#[path = "embedded_reactor/runs.rs"]
mod runs;
#[path = "embedded_reactor/signals.rs"]
mod signals;
#[path = "embedded_reactor/stat.rs"]
mod stat;
#[path = "embedded_reactor/timers.rs"]
mod timers;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use flux::backend::embedded;
use flux::backend::reactor::{Event, RunMode, Source, Watcher};
use flux::backend::{Handle, Match, Message, NODEID_ANY, ROLE_OWNER, Result, msgtype};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Opens a handle that callbacks can share. Each test names its own instance.
fn open(uri: &str) -> Rc<dyn Handle> {
    embedded::open(uri).unwrap().into()
}

/// A list of what callbacks recorded, in order.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    fn push(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }

    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Returns the list and empties it.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}

/// Watchers that callbacks can drop.
#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<Box<dyn Watcher>>>>);

impl Kept {
    fn keep(&self, watcher: Box<dyn Watcher>) {
        self.0.borrow_mut().push(watcher);
    }

    fn drop_all(&self) {
        let watchers = std::mem::take(&mut *self.0.borrow_mut());
        drop(watchers);
    }
}

/// Makes a watcher, which may be refused.
fn try_watch(
    f: &dyn Handle,
    source: Source<'_>,
    callback: impl Fn(Event) + 'static,
) -> Result<Box<dyn Watcher>> {
    f.watch(source, Rc::new(callback))
}

/// Makes a watcher.
fn watch(
    f: &dyn Handle,
    source: Source<'_>,
    callback: impl Fn(Event) + 'static,
) -> Box<dyn Watcher> {
    try_watch(f, source, callback).unwrap()
}

/// Makes a timer that fires once, after so many seconds.
fn timer(f: &dyn Handle, after: f64, callback: impl Fn() + 'static) -> Box<dyn Watcher> {
    repeating(f, after, 0.0, callback)
}

/// Makes a timer that fires again and again. Times are in seconds.
fn repeating(
    f: &dyn Handle,
    after: f64,
    repeat: f64,
    callback: impl Fn() + 'static,
) -> Box<dyn Watcher> {
    watch(f, Source::Timer { after, repeat }, move |_| callback())
}

/// Makes a handler of messages with these types and topics, sent by the owner.
fn handler(
    f: &dyn Handle,
    typemask: i32,
    topic: &str,
    callback: impl Fn(&dyn Message) + 'static,
) -> Box<dyn Watcher> {
    let source = Source::Message {
        typemask,
        topic_glob: Some(topic),
        rolemask: ROLE_OWNER,
    };
    watch(f, source, move |event| match event {
        Event::Message(message) => callback(&*message),
        _ => panic!("not a message"),
    })
}

/// Makes a handler that adds `name` to the list.
fn noting(f: &dyn Handle, typemask: i32, topic: &str, seen: &Seen, name: &str) -> Box<dyn Watcher> {
    let (seen, name) = (seen.clone(), name.to_owned());
    handler(f, typemask, topic, move |_| seen.push(&name))
}

fn topic(message: &dyn Message) -> String {
    String::from_utf8(message.topic().unwrap().to_vec()).unwrap()
}

fn errnum<T>(result: Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("the call succeeded, but it must fail"),
        Err(error) => error.errnum,
    }
}

/// Runs so many iterations of the reactor, without waiting.
fn turns(f: &dyn Handle, count: usize) {
    for _ in 0..count {
        f.reactor_run(RunMode::NoWait).unwrap();
    }
}
