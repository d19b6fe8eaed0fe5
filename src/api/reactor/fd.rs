//! Watchers of file descriptors: `f:fdwatcher`.

use std::os::raw::c_int;

use crate::api::handle;
use crate::api::reactor::builder::{Constructor, EmptyUserdata, NewWatcher, WatcherBuilder};
use crate::api::reactor::options::{self, Field, Options};
use crate::api::reactor::reference::WatcherKind;
use crate::backend::reactor::{Event, Source, poll};
use crate::lua::{Kind, Result, State};
use crate::lua_functions;

static KIND: WatcherKind = WatcherKind {
    name: "fdwatcher",
    negative_result_stops: false,
    remove_returns_true: true,
};

static OPTIONS: Options = Options {
    fields: &[
        Field::new(c"fd"),
        Field::new(c"handler"),
        Field::new(c"events"),
    ],
    has_alternatives: false,
    usage: "f:fdwatcher{ fd = number, handler = function(w, events) ... end }",
};

/// `f:fdwatcher{ fd = n, handler = f(w, events), events = "r" | "w" | "rw" }`
fn fdwatcher(state: State<'_>, userdata: &mut EmptyUserdata) -> Result<NewWatcher> {
    let handle = handle::check(state)?;
    let field = options::read(state, &OPTIONS)?;
    let fd = descriptor(state, field)?;
    options::handler(state, field + 1)?;
    let events = poll_events(state, field + 2)?;
    let builder = WatcherBuilder::new(state, handle, &KIND, userdata)?;
    builder.start(state, Source::Fd { fd, events }, |watcher, event| {
        let Event::Fd(events) = event else { return };
        watcher.call_handler(|writer, at| {
            writer.state().push_value(at.watcher);
            writer.integer(events.into());
            2
        });
    })
}

/// The value of the field `fd`, which is at index `field`.
pub fn descriptor(state: State<'_>, field: c_int) -> Result<i32> {
    if state.kind(field) == Kind::Nil {
        return Err(options::missing("fd"));
    }
    state
        .to_integer(field)
        .and_then(|fd| i32::try_from(fd).ok())
        .filter(|fd| *fd >= 0)
        .ok_or_else(|| options::invalid("fd", "a file descriptor"))
}

/// The [`poll`] bits of the field `events`: a string of `r` and `w`, or the bits as a
/// number. Reading and writing if the field is absent.
fn poll_events(state: State<'_>, field: c_int) -> Result<i32> {
    let all = i64::from(poll::IN | poll::OUT | poll::ERR);
    let events = match state.kind(field) {
        Kind::Nil => Some(poll::IN | poll::OUT),
        _ => state.bytes(field).and_then(named_events).or_else(|| {
            let bits = state.to_integer(field)?;
            (bits & !all == 0).then_some(bits as i32)
        }),
    };
    events.filter(|events| *events != 0).ok_or_else(|| {
        options::invalid(
            "events",
            "\"r\", \"w\", \"rw\" or a sum of poll bits (1, 2, 4)",
        )
    })
}

fn named_events(names: &[u8]) -> Option<i32> {
    names.iter().try_fold(0, |events, name| match name {
        b'r' => Some(events | poll::IN),
        b'w' => Some(events | poll::OUT),
        _ => None,
    })
}

lua_functions! { lua_fdwatcher(EmptyUserdata) => fdwatcher; }

/// The constructor, a method of the handle.
pub const CONSTRUCTORS: &[Constructor] = &[(c"fdwatcher", Some(lua_fdwatcher), &OPTIONS)];
