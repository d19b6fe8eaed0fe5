//! The handle's reactor: running and stopping it, and the watchers of time,
//! files and signals.

use std::ffi::CStr;
use std::os::raw::c_int;

use super::watcher::fields::{self, Field, Form};
use super::watcher::{Made, Method, NewWatcher, Objects, Traits, Watcher, lua_watcher_functions};
use super::{arguments, handle};
use crate::backend::reactor::{Event, RunMode, Source, poll};
use crate::lua::{Error, Integer, Kind, Result, State, Writer, lua_CFunction};
use crate::lua_functions;

/// `f:reactor([mode])`
fn reactor(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let mode = match state.bytes(2) {
        None if state.is_none_or_nil(2) => RunMode::Forever,
        Some(b"once") => RunMode::Once,
        Some(b"nowait") => RunMode::NoWait,
        _ => return Err(Error::failure("flux_reactor: Invalid argument")),
    };
    let ended = handle.run_reactor(state, mode)?;
    let reason = handle.take_reason();
    handle.raise_again(state)?;
    match (ended, reason) {
        (Ok(active), _) => Ok(Integer(active.into())),
        (Err(_), Some(reason)) => Err(Error::failure(reason)),
        (Err(error), None) => Err(error.into()),
    }
}

/// `f:reactor_stop()`
fn reactor_stop(state: State<'_>) -> Result<()> {
    handle::check(state)?.backend()?.reactor_stop();
    Ok(())
}

/// `f:reactor_stop_error([reason])`
fn reactor_stop_error(state: State<'_>) -> Result<()> {
    let handle = handle::check(state)?;
    let reason = match state.kind(2) {
        Kind::None | Kind::Nil => None,
        _ => Some(String::from_utf8_lossy(arguments::bytes(state, 2)?).into_owned()),
    };
    handle.set_reason(reason);
    handle.stop_with_error();
    Ok(())
}

/// Handlers of messages and timers get the handle first.
fn push_handle_and_watcher(writer: &Writer<'_>, objects: Objects) -> c_int {
    writer.state().push_value(objects.handle);
    writer.state().push_value(objects.watcher);
    2
}

/// `f:timer{ timeout = ms, handler = f(f, timer), oneshot = true }`
fn timer(state: State<'_>) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = fields::read(state, &TIMER)?;
    if state.kind(field) == Kind::Nil {
        return Err(fields::missing("timeout"));
    }
    let what = "a number of milliseconds, 0 or more,";
    let timeout = fields::amount(state, field, "timeout", what)?;
    fields::handler(state, field + 1)?;
    // Without time between them there is nothing to repeat.
    let oneshot = fields::boolean(state, field + 2, "oneshot", true)? || timeout == 0.0;
    static TRAITS: Traits = Traits {
        kind: "timer",
        is_checked: true,
        removed: true,
    };
    let timer = NewWatcher::new(state, handle, &TRAITS)?;
    let after = timeout / 1000.0;
    let repeat = if oneshot { 0.0 } else { after };
    timer.start(state, Source::Timer { after, repeat }, move |timer, _| {
        timer.fire(push_handle_and_watcher);
        if oneshot {
            timer.end();
        }
    })
}

/// `f:fdwatcher{ fd = n, handler = f(w, events), events = "r" | "w" | "rw" }`
fn fdwatcher(state: State<'_>) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = fields::read(state, &FD)?;
    let fd = descriptor(state, field)?;
    fields::handler(state, field + 1)?;
    let events = poll_events(state, field + 2)?;
    static TRAITS: Traits = Traits {
        kind: "fdwatcher",
        is_checked: false,
        removed: true,
    };
    let watcher = NewWatcher::new(state, handle, &TRAITS)?;
    watcher.start(state, Source::Fd { fd, events }, |watcher, event| {
        let Event::Fd(events) = event else { return };
        watcher.fire(|writer, objects| {
            writer.state().push_value(objects.watcher);
            writer.integer(events.into());
            2
        });
    })
}

/// The field `fd`, which is on the stack.
pub fn descriptor(state: State<'_>, field: c_int) -> Result<i32> {
    if state.kind(field) == Kind::Nil {
        return Err(fields::missing("fd"));
    }
    state
        .to_integer(field)
        .and_then(|fd| i32::try_from(fd).ok())
        .filter(|fd| *fd >= 0)
        .ok_or_else(|| fields::invalid("fd", "a file descriptor"))
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

/// `f:statwatcher{ path = p, interval = seconds, handler = f(w, st, prev) }`
fn statwatcher(state: State<'_>) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = fields::read(state, &STAT)?;
    if state.kind(field) == Kind::Nil {
        return Err(Error::failure("Mandatory argument 'path' missing"));
    }
    let path = fields::text(state, field, "path")?;
    fields::handler(state, field + 1)?;
    let interval = match state.kind(field + 2) {
        Kind::Nil => 0.0,
        _ => {
            let what = "a number of seconds, 0 or more,";
            fields::amount(state, field + 2, "interval", what)?
        }
    };
    static TRAITS: Traits = Traits {
        kind: "statwatcher",
        is_checked: false,
        removed: true,
    };
    let watcher = NewWatcher::new(state, handle, &TRAITS)?;
    watcher.start(state, Source::Stat { path, interval }, |watcher, event| {
        let Event::Stat { now, before } = event else {
            return;
        };
        watcher.fire(|writer, objects| {
            writer.state().push_value(objects.watcher);
            push_stat(writer, &now);
            push_stat(writer, &before);
            3
        });
    })
}

// The fields' widths differ from machine to machine.
#[allow(clippy::unnecessary_cast)]
fn push_stat(writer: &Writer<'_>, stat: &libc::stat) {
    writer.table(0, 12);
    for (name, value) in [
        (c"st_dev", stat.st_dev as i64),
        (c"st_ino", stat.st_ino as i64),
        (c"st_mode", stat.st_mode.into()),
        (c"st_nlink", stat.st_nlink as i64),
        (c"st_uid", stat.st_uid.into()),
        (c"st_gid", stat.st_gid.into()),
        (c"st_size", stat.st_size),
        (c"st_atime", stat.st_atime),
        (c"st_mtime", stat.st_mtime),
        (c"st_ctime", stat.st_ctime),
        (c"st_blksize", stat.st_blksize as i64),
        (c"st_blocks", stat.st_blocks),
    ] {
        writer.integer(value);
        writer.set_field(-2, name);
    }
}

/// `f:sighandler{ sigmask = { n, … }, handler = f(f, w, signum) }`
fn sighandler(state: State<'_>) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = fields::read(state, &SIGNALS)?;
    if state.kind(field) == Kind::Nil {
        return Err(fields::missing("sigmask"));
    }
    let signals = signals(state, field)?;
    fields::handler(state, field + 1)?;
    static TRAITS: Traits = Traits {
        kind: "sighandler",
        is_checked: false,
        removed: false,
    };
    let watcher = NewWatcher::new(state, handle, &TRAITS)?;
    let mut started = Vec::with_capacity(signals.len());
    for signum in signals {
        let source = Source::Signal(signum);
        started.push(
            watcher
                .watcher()
                .listen(source, move |watcher, _| fire_signal(watcher, signum))?,
        );
    }
    watcher.watcher().wait_for(Box::new(Several(started)));
    watcher.made(state)
}

/// Watchers that end together.
struct Several(
    #[expect(dead_code, reason = "kept for its drop")]
    Vec<Box<dyn crate::backend::reactor::Watcher>>,
);

impl crate::backend::reactor::Watcher for Several {}

fn fire_signal(watcher: &Watcher, signum: i32) {
    watcher.fire(|writer, objects| {
        let count = push_handle_and_watcher(writer, objects);
        writer.integer(signum.into());
        count + 1
    });
}

/// The numbers of the table at `index`.
fn signals(state: State<'_>, index: c_int) -> Result<Vec<i32>> {
    let invalid = || Error::failure("Mandatory table argument 'sigmask' invalid");
    if state.kind(index) != Kind::Table {
        return Err(invalid());
    }
    let mut signals = Vec::new();
    state.push_nil();
    while state.next(index) {
        let signum = state
            .to_integer(-1)
            .and_then(|signum| i32::try_from(signum).ok())
            .filter(|signum| *signum > 0)
            .ok_or_else(invalid)?;
        if !signals.contains(&signum) {
            signals.push(signum);
        }
        state.pop(1);
    }
    Ok(signals)
}

lua_functions! {
    lua_reactor => reactor;
    lua_reactor_stop => reactor_stop;
    lua_reactor_stop_error => reactor_stop_error;
}

lua_watcher_functions! {
    lua_timer => timer;
    lua_fdwatcher => fdwatcher;
    lua_statwatcher => statwatcher;
    lua_sighandler => sighandler;
}

pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"reactor", Some(lua_reactor)),
    (c"reactor_stop", Some(lua_reactor_stop)),
    (c"reactor_stop_error", Some(lua_reactor_stop_error)),
];

static TIMER: Form = Form {
    fields: &[
        Field::new(c"timeout"),
        Field::new(c"handler"),
        Field::new(c"oneshot"),
    ],
    has_alternatives: false,
    usage: "f:timer{ timeout = milliseconds, handler = function(f, timer) ... end }",
};
static FD: Form = Form {
    fields: &[
        Field::new(c"fd"),
        Field::new(c"handler"),
        Field::new(c"events"),
    ],
    has_alternatives: false,
    usage: "f:fdwatcher{ fd = number, handler = function(w, events) ... end }",
};
static STAT: Form = Form {
    fields: &[
        Field::new(c"path"),
        Field::new(c"handler"),
        Field::new(c"interval"),
    ],
    has_alternatives: false,
    usage: "f:statwatcher{ path = name, handler = function(w, st, prev) ... end }",
};
static SIGNALS: Form = Form {
    fields: &[Field::new(c"sigmask"), Field::new(c"handler")],
    has_alternatives: false,
    usage: "f:sighandler{ sigmask = { number }, handler = function(f, w, signum) ... end }",
};

pub const WATCHERS: &[Method] = &[
    (c"timer", Some(lua_timer), &TIMER),
    (c"fdwatcher", Some(lua_fdwatcher), &FD),
    (c"statwatcher", Some(lua_statwatcher), &STAT),
    (c"sighandler", Some(lua_sighandler), &SIGNALS),
];
