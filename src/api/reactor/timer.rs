//! Timers: `f:timer`.

use crate::api::handle;
use crate::api::reactor::form::{self, Field, Form};
use crate::api::reactor::making::{Made, Method, NewWatcher, WatcherObject};
use crate::api::reactor::reference::Traits;
use crate::api::reactor::watcher::Objects;
use crate::backend::reactor::Source;
use crate::lua::{Kind, Result, State};
use crate::lua_functions;

/// `f:timer{ timeout = ms, handler = f(f, timer), oneshot = true }`
fn timer(state: State<'_>, object: &mut WatcherObject) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = form::read(state, &FORM)?;
    if state.kind(field) == Kind::Nil {
        return Err(form::missing("timeout"));
    }
    let what = "a number of milliseconds, 0 or more,";
    let timeout = form::amount(state, field, "timeout", what)?;
    form::handler(state, field + 1)?;
    // Without time between them there is nothing to repeat.
    let oneshot = form::boolean(state, field + 2, "oneshot", true)? || timeout == 0.0;
    static TRAITS: Traits = Traits {
        kind: "timer",
        is_checked: true,
        removed: true,
    };
    let timer = NewWatcher::new(state, handle, &TRAITS)?;
    let after = timeout / 1000.0;
    let repeat = if oneshot { 0.0 } else { after };
    timer.start(
        state,
        object,
        Source::Timer { after, repeat },
        move |timer, _| {
            timer.fire(Objects::push_handle_and_watcher);
            if oneshot {
                timer.end();
            }
        },
    )
}

lua_functions! { lua_timer(WatcherObject) => timer; }

static FORM: Form = Form {
    fields: &[
        Field::new(c"timeout"),
        Field::new(c"handler"),
        Field::new(c"oneshot"),
    ],
    has_alternatives: false,
    usage: "f:timer{ timeout = milliseconds, handler = function(f, timer) ... end }",
};

/// The method of the handle.
pub const WATCHERS: &[Method] = &[(c"timer", Some(lua_timer), &FORM)];
