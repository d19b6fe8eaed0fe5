//! Signal handlers: `f:sighandler`.

use std::os::raw::c_int;

use crate::api::handle;
use crate::api::reactor::form::{self, Field, Form};
use crate::api::reactor::making::{Made, Method, NewWatcher, WatcherObject};
use crate::api::reactor::reference::Traits;
use crate::api::reactor::watcher::{Objects, Watcher};
use crate::backend::reactor::Source;
use crate::lua::{Error, Kind, Result, State};
use crate::lua_functions;

/// `f:sighandler{ sigmask = { n, … }, handler = f(f, w, signum) }`
fn sighandler(state: State<'_>, object: &mut WatcherObject) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = form::read(state, &FORM)?;
    if state.kind(field) == Kind::Nil {
        return Err(form::missing("sigmask"));
    }
    let signals = signals(state, field)?;
    form::handler(state, field + 1)?;
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
    watcher.made(state, object)
}

/// Watchers that end together.
struct Several(
    #[expect(dead_code, reason = "kept for its drop")]
    Vec<Box<dyn crate::backend::reactor::Watcher>>,
);

impl crate::backend::reactor::Watcher for Several {}

fn fire_signal(watcher: &Watcher, signum: i32) {
    watcher.fire(|writer, objects| {
        let count = Objects::push_handle_and_watcher(writer, objects);
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
    // SAFETY: a table is at this index; the key is nil, or came from there.
    while unsafe { state.next(index) } {
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

lua_functions! { lua_sighandler(WatcherObject) => sighandler; }

static FORM: Form = Form {
    fields: &[Field::new(c"sigmask"), Field::new(c"handler")],
    has_alternatives: false,
    usage: "f:sighandler{ sigmask = { number }, handler = function(f, w, signum) ... end }",
};

/// The method of the handle.
pub const WATCHERS: &[Method] = &[(c"sighandler", Some(lua_sighandler), &FORM)];
