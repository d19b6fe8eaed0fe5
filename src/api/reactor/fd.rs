//! Watchers of file descriptors: `f:fdwatcher`.

use std::os::raw::c_int;

use crate::api::handle;
use crate::api::reactor::form::{self, Field, Form};
use crate::api::reactor::making::{Made, Method, NewWatcher, WatcherObject};
use crate::api::reactor::reference::Traits;
use crate::backend::reactor::{Event, Source, poll};
use crate::lua::{Error, Kind, Result, State};
use crate::lua_functions;

/// `f:fdwatcher{ fd = n, handler = f(w, events), events = "r" | "w" | "rw" }`
fn fdwatcher(state: State<'_>, object: &mut WatcherObject) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = form::read(state, &FORM)?;
    let fd = descriptor(state, field)?;
    form::handler(state, field + 1)?;
    let events = poll_events(state, field + 2)?;
    static TRAITS: Traits = Traits {
        kind: "fdwatcher",
        is_checked: false,
        removed: true,
    };
    let watcher = NewWatcher::new(state, handle, &TRAITS)?;
    watcher.start(
        state,
        object,
        Source::Fd { fd, events },
        |watcher, event| {
            let Event::Fd(events) = event else { return };
            watcher.fire(|writer, objects| {
                writer.state().push_value(objects.watcher);
                writer.integer(events.into());
                2
            });
        },
    )
}

/// The field `fd`, which is on the stack.
pub fn descriptor(state: State<'_>, field: c_int) -> Result<i32> {
    if state.kind(field) == Kind::Nil {
        return Err(form::missing("fd"));
    }
    state
        .to_integer(field)
        .and_then(|fd| i32::try_from(fd).ok())
        .filter(|fd| *fd >= 0)
        .ok_or_else(|| form::invalid("fd", "a file descriptor"))
}

/// A string of `r` and `w`, or [`poll`] bits; both unless said.
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
        let message = "field 'events': \"r\", \"w\" or \"rw\" expected, or an or of poll bits";
        Error::argument(2, message)
    })
}

fn named_events(names: &[u8]) -> Option<i32> {
    names.iter().try_fold(0, |events, name| match name {
        b'r' => Some(events | poll::IN),
        b'w' => Some(events | poll::OUT),
        _ => None,
    })
}

lua_functions! { lua_fdwatcher(WatcherObject) => fdwatcher; }

static FORM: Form = Form {
    fields: &[
        Field::new(c"fd"),
        Field::new(c"handler"),
        Field::new(c"events"),
    ],
    has_alternatives: false,
    usage: "f:fdwatcher{ fd = number, handler = function(w, events) ... end }",
};

/// The method of the handle.
pub const WATCHERS: &[Method] = &[(c"fdwatcher", Some(lua_fdwatcher), &FORM)];
