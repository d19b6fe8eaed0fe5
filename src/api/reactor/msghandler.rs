//! Message handlers: `f:msghandler`.

use std::os::raw::c_int;
use std::sync::Arc;

use crate::api::handle;
use crate::api::message::Message;
use crate::api::reactor::form::{self, Field, Form};
use crate::api::reactor::making::{Made, Method, NewWatcher, WatcherObject};
use crate::api::reactor::reference::Traits;
use crate::api::reactor::watcher::Watcher;
use crate::backend::reactor::{Event, Source};
use crate::backend::{ROLE_OWNER, msgtype};
use crate::lua::{Error, Kind, Result, State};
use crate::lua_functions;

/// `f:msghandler{ pattern = glob, handler = f(f, msg, mh), msgtypes = {…}, rolemask = n }`
fn msghandler(state: State<'_>, object: &mut WatcherObject) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = form::read(state, &FORM)?;
    if state.kind(field) == Kind::Nil {
        return Err(form::missing("pattern"));
    }
    let pattern = form::text(state, field, "pattern")?;
    form::handler(state, field + 1)?;
    let typemask = typemask(state, field + 2)?;
    let rolemask = rolemask(state, field + 3)?;
    static TRAITS: Traits = Traits {
        kind: "msghandler",
        is_checked: true,
        removed: false,
    };
    let watcher = NewWatcher::new(state, handle, &TRAITS)?;
    let source = Source::Message {
        typemask,
        topic_glob: Some(pattern),
        rolemask,
    };
    watcher.start(state, object, source, |watcher, event| {
        if let Event::Message(message) = event {
            fire(watcher, message);
        }
    })
}

fn fire(watcher: &Watcher, message: Arc<dyn crate::backend::Message>) {
    let mut message = Some(Message::new(watcher.handle().clone(), message));
    watcher.fire(|writer, objects| {
        writer.state().push_value(objects.handle);
        writer.new_object(&mut message);
        writer.state().push_value(objects.watcher);
        3
    });
}

/// An or of the numbers in the table at `index`; all types where it is absent.
fn typemask(state: State<'_>, index: c_int) -> Result<i32> {
    let invalid = || Error::failure("Invalid typemask in msghandler");
    let types = match state.kind(index) {
        Kind::Nil => return Ok(msgtype::ANY),
        Kind::Table => index,
        _ => return Err(invalid()),
    };
    let mut typemask = 0;
    state.push_nil();
    // SAFETY: a table is at this index; the key is nil, or came from there.
    while unsafe { state.next(types) } {
        let bit = state
            .to_integer(-1)
            .filter(|bit| *bit > 0 && *bit <= msgtype::ANY.into())
            .ok_or_else(invalid)?;
        typemask |= bit as i32;
        state.pop(1);
    }
    if typemask == 0 {
        return Err(invalid());
    }
    Ok(typemask)
}

/// Whose messages reach the handler: the instance owner's unless said.
fn rolemask(state: State<'_>, index: c_int) -> Result<u32> {
    match state.kind(index) {
        Kind::Nil => Ok(ROLE_OWNER),
        _ => state
            .to_integer(index)
            .and_then(|roles| u32::try_from(roles).ok())
            .ok_or_else(|| form::invalid("rolemask", "an or of roles")),
    }
}

lua_functions! { lua_msghandler(WatcherObject) => msghandler; }

static FORM: Form = Form {
    fields: &[
        Field::new(c"pattern"),
        Field::new(c"handler"),
        Field::new(c"msgtypes"),
        Field::new(c"rolemask"),
    ],
    has_alternatives: false,
    usage: "f:msghandler{ pattern = topic, handler = function(f, msg, mh) ... end }",
};

pub const WATCHERS: &[Method] = &[(c"msghandler", Some(lua_msghandler), &FORM)];
