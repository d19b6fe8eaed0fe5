//! Message handlers: `f:msghandler`.

use std::os::raw::c_int;
use std::sync::Arc;

use crate::api::handle;
use crate::api::message::Message;
use crate::api::reactor::builder::{Constructor, EmptyUserdata, NewWatcher, WatcherBuilder};
use crate::api::reactor::options::{self, Field, Options};
use crate::api::reactor::reference::WatcherKind;
use crate::api::reactor::watcher::Watcher;
use crate::backend::reactor::{Event, Source};
use crate::backend::{self, ROLE_OWNER, msgtype};
use crate::lua::{Error, Kind, Result, State};
use crate::lua_functions;

static KIND: WatcherKind = WatcherKind {
    name: "msghandler",
    negative_result_stops: true,
    remove_returns_true: false,
};

static OPTIONS: Options = Options {
    fields: &[
        Field::new(c"pattern"),
        Field::new(c"handler"),
        Field::new(c"msgtypes"),
        Field::new(c"rolemask"),
    ],
    has_alternatives: false,
    usage: "f:msghandler{ pattern = topic, handler = function(f, msg, mh) ... end }",
};

/// `f:msghandler{ pattern = glob, handler = f(f, msg, mh), msgtypes = {…}, rolemask = n }`
fn msghandler(state: State<'_>, userdata: &mut EmptyUserdata) -> Result<NewWatcher> {
    let handle = handle::check(state)?;
    let field = options::read(state, &OPTIONS)?;
    if state.kind(field) == Kind::Nil {
        return Err(options::missing("pattern"));
    }
    let pattern = options::text(state, field, "pattern")?;
    options::handler(state, field + 1)?;
    let typemask = typemask(state, field + 2)?;
    let rolemask = rolemask(state, field + 3)?;
    let builder = WatcherBuilder::new(state, handle, &KIND, userdata)?;
    let source = Source::Message {
        typemask,
        topic_glob: Some(pattern),
        rolemask,
    };
    builder.start(state, source, |watcher, event| {
        if let Event::Message(message) = event {
            call_handler(watcher, message);
        }
    })
}

fn call_handler(watcher: &Watcher, message: Arc<dyn backend::Message>) {
    let mut message = Some(Message::new(watcher.handle().clone(), message));
    watcher.call_handler(|writer, at| {
        writer.state().push_value(at.handle);
        writer.new_object(&mut message);
        writer.state().push_value(at.watcher);
        3
    });
}

/// The message types in the table at `index`, as one mask. All types if the field is
/// absent.
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
        let bits = state
            .to_integer(-1)
            .filter(|bits| *bits > 0 && *bits <= msgtype::ANY.into())
            .ok_or_else(invalid)?;
        typemask |= bits as i32;
        state.pop(1);
    }
    if typemask == 0 {
        return Err(invalid());
    }
    Ok(typemask)
}

/// The roles whose messages the handler receives. The default is the instance owner.
fn rolemask(state: State<'_>, index: c_int) -> Result<u32> {
    match state.kind(index) {
        Kind::Nil => Ok(ROLE_OWNER),
        _ => state
            .to_integer(index)
            .and_then(|roles| u32::try_from(roles).ok())
            .ok_or_else(|| options::invalid("rolemask", "a bit mask of roles")),
    }
}

lua_functions! { lua_msghandler(EmptyUserdata) => msghandler; }

/// The constructor, a method of the handle.
pub const CONSTRUCTORS: &[Constructor] = &[(c"msghandler", Some(lua_msghandler), &OPTIONS)];
