//! Timers: `f:timer`.

use crate::api::handle;
use crate::api::reactor::builder::{Constructor, EmptyUserdata, NewWatcher, WatcherBuilder};
use crate::api::reactor::options::{self, Field, Options};
use crate::api::reactor::reference::WatcherKind;
use crate::api::reactor::watcher::StackIndices;
use crate::backend::reactor::Source;
use crate::lua::{Kind, Result, State};
use crate::lua_functions;

static KIND: WatcherKind = WatcherKind {
    name: "timer",
    negative_result_stops: true,
    remove_returns_true: true,
};

static OPTIONS: Options = Options {
    fields: &[
        Field::new(c"timeout"),
        Field::new(c"handler"),
        Field::new(c"oneshot"),
    ],
    has_alternatives: false,
    usage: "f:timer{ timeout = milliseconds, handler = function(f, timer) ... end }",
};

/// `f:timer{ timeout = ms, handler = f(f, timer), oneshot = true }`
fn timer(state: State<'_>, userdata: &mut EmptyUserdata) -> Result<NewWatcher> {
    let handle = handle::check(state)?;
    let field = options::read(state, &OPTIONS)?;
    if state.kind(field) == Kind::Nil {
        return Err(options::missing("timeout"));
    }
    let expected = "a number of milliseconds, 0 or more,";
    let timeout = options::amount(state, field, "timeout", expected)?;
    options::handler(state, field + 1)?;
    // A timer that repeated without a pause would keep the reactor busy forever.
    let oneshot = options::boolean(state, field + 2, "oneshot", true)? || timeout == 0.0;
    let builder = WatcherBuilder::new(state, handle, &KIND, userdata)?;
    let after = timeout / 1000.0;
    let repeat = if oneshot { 0.0 } else { after };
    builder.start(state, Source::Timer { after, repeat }, move |timer, _| {
        timer.call_handler(StackIndices::push_handle_and_watcher);
        if oneshot {
            timer.end();
        }
    })
}

lua_functions! { lua_timer(EmptyUserdata) => timer; }

/// The constructor, a method of the handle.
pub const CONSTRUCTORS: &[Constructor] = &[(c"timer", Some(lua_timer), &OPTIONS)];
