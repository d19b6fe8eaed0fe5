//! Signal handlers: `f:sighandler`.

use std::os::raw::c_int;

use crate::api::handle;
use crate::api::reactor::builder::{Constructor, EmptyUserdata, NewWatcher, WatcherBuilder};
use crate::api::reactor::options::{self, Field, Options};
use crate::api::reactor::reference::WatcherKind;
use crate::api::reactor::watcher::{StackIndices, Watcher};
use crate::backend;
use crate::backend::reactor::Source;
use crate::lua::{Error, Kind, Result, State};
use crate::lua_functions;

static KIND: WatcherKind = WatcherKind {
    name: "sighandler",
    negative_result_stops: false,
    remove_returns_true: false,
};

static OPTIONS: Options = Options {
    fields: &[Field::new(c"sigmask"), Field::new(c"handler")],
    has_alternatives: false,
    usage: "f:sighandler{ sigmask = { number }, handler = function(f, w, signum) ... end }",
};

/// `f:sighandler{ sigmask = { n, … }, handler = f(f, w, signum) }`
fn sighandler(state: State<'_>, userdata: &mut EmptyUserdata) -> Result<NewWatcher> {
    let handle = handle::check(state)?;
    let field = options::read(state, &OPTIONS)?;
    if state.kind(field) == Kind::Nil {
        return Err(options::missing("sigmask"));
    }
    let signals = signals(state, field)?;
    options::handler(state, field + 1)?;
    let builder = WatcherBuilder::new(state, handle, &KIND, userdata)?;
    let mut sources = Vec::with_capacity(signals.len());
    for signum in signals {
        let callback = move |watcher: &Watcher, _| call_handler(watcher, signum);
        sources.push(builder.watcher().listen(Source::Signal(signum), callback)?);
    }
    builder.watcher().set_source(Box::new(Sources(sources)));
    builder.finish(state)
}

/// Event sources that are dropped together.
struct Sources(
    #[expect(dead_code, reason = "kept for its drop")] Vec<Box<dyn backend::reactor::Watcher>>,
);

impl backend::reactor::Watcher for Sources {}

fn call_handler(watcher: &Watcher, signum: i32) {
    watcher.call_handler(|writer, at| {
        let count = StackIndices::push_handle_and_watcher(writer, at);
        writer.integer(signum.into());
        count + 1
    });
}

/// The signal numbers in the table at `index`, each once.
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

lua_functions! { lua_sighandler(EmptyUserdata) => sighandler; }

/// The constructor, a method of the handle.
pub const CONSTRUCTORS: &[Constructor] = &[(c"sighandler", Some(lua_sighandler), &OPTIONS)];
