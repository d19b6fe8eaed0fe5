//! KVS watchers: `f:kvswatcher`, on the broker's watch streams.

use std::cell::Cell;
use std::rc::Rc;

use crate::api::handle;
use crate::api::kvs::dir::NewDir;
use crate::api::kvs::value::push_stored;
use crate::api::reactor::form::{self, Field, Form};
use crate::api::reactor::making::{Made, Method, NewWatcher};
use crate::api::reactor::reference::Traits;
use crate::api::reactor::watcher::Watcher;
use crate::api::wait::{Step, blocking};
use crate::backend::{self, Continuation, Future, kvs_flags};
use crate::lua::{Kind, Push, Result, State};
use crate::lua_functions;

/// Changes that come through a parent directory or a symlink count too.
const WATCH: i32 = kvs_flags::WATCH | kvs_flags::WATCH_FULL | kvs_flags::WATCH_UNIQ;

/// `f:kvswatcher{ key = k, handler = f(w, value, errnum), isdir = false }`
///
/// Looks the key up first: a directory where a value is meant is known at once.
fn kvswatcher(state: State<'_>) -> Result<Step<Made>> {
    let handle = handle::check(state)?;
    let field = form::read(state, &FORM)?;
    if state.kind(field) == Kind::Nil {
        return Err(form::missing("key"));
    }
    let key = form::text(state, field, "key")?.to_owned();
    form::handler(state, field + 1)?;
    let readdir = match form::boolean(state, field + 2, "isdir", false)? {
        true => kvs_flags::READDIR,
        false => 0,
    };
    state.set_top(2);
    let now = handle.backend()?.lookup(None, readdir, &key)?;
    Step::wait(now, move |state, now| {
        match now.payload() {
            Err(error) if error.errnum != libc::ENOENT => {
                return Err(handle.explain_read(&key, error));
            }
            _ => {}
        }
        static TRAITS: Traits = Traits {
            kind: "kvswatcher",
            is_checked: false,
            removed: true,
        };
        let watcher = NewWatcher::new(state, handle, &TRAITS)?;
        let stream = Stream {
            key,
            readdir,
            told_absent: Cell::new(false),
        };
        follow(watcher.watcher(), &Rc::new(stream), 0)?;
        Ok(Step::Done(watcher.made_with_object(state)?))
    })
}

/// What is looked up, and what the handler knows of it.
struct Stream {
    key: String,
    readdir: i32,
    /// Whether the handler was told that there is no such key.
    told_absent: Cell<bool>,
}

/// What was waited for before.
type Before = Option<Box<dyn crate::backend::reactor::Watcher>>;

/// Watch the key; `flags`: 0, or to wait for its creation. Such a watch ends
/// with the first commit after which the key is not there still.
fn follow(watcher: &Watcher, stream: &Rc<Stream>, flags: i32) -> Result<Before> {
    let backend = watcher.handle().backend()?;
    let lookup = backend.lookup(None, WATCH | flags | stream.readdir, &stream.key)?;
    let weak = watcher.downgrade();
    let stream = Rc::clone(stream);
    let continuation: Continuation = Rc::new(move |future| {
        if let Some(watcher) = weak.upgrade() {
            changed(&watcher, &stream, future);
        }
    });
    Ok(watcher.wait_for(lookup.then(continuation)?))
}

fn changed(watcher: &Watcher, stream: &Rc<Stream>, change: &dyn Future) {
    match change.payload() {
        Ok(_) => {
            stream.told_absent.set(false);
            fire(watcher, stream, change);
        }
        Err(error) if error.errnum == libc::ENOENT => {
            // The next stream begins before the handler runs, which may take long.
            let going_on = follow(watcher, stream, kvs_flags::WAITCREATE);
            if !stream.told_absent.replace(true) {
                fire_error(watcher, &error);
            }
            if going_on.is_err() {
                watcher.end();
            }
        }
        Err(error) => {
            fire_error(watcher, &error);
            watcher.end();
        }
    }
}

fn fire(watcher: &Watcher, stream: &Stream, change: &dyn Future) {
    if stream.readdir != 0 {
        fire_dir(watcher, stream, change);
        return;
    }
    watcher.fire(|writer, objects| {
        writer.state().push_value(objects.watcher);
        let stored = change.payload().ok().flatten().unwrap_or_default();
        push_stored(writer, stored);
        2
    });
}

fn fire_dir(watcher: &Watcher, stream: &Stream, change: &dyn Future) {
    let Ok(mut dir) = NewDir::of(watcher.handle().clone(), stream.key.clone(), change) else {
        // What the stream holds is no directory, and nothing better follows.
        fire_error(watcher, &backend::Error::new(libc::EPROTO));
        watcher.end();
        return;
    };
    watcher.fire(|writer, objects| {
        writer.state().push_value(objects.watcher);
        1 + dir.push(writer)
    });
}

fn fire_error(watcher: &Watcher, error: &backend::Error) {
    watcher.fire(|writer, objects| {
        writer.state().push_value(objects.watcher);
        writer.nil();
        writer.integer(error.errnum.into());
        3
    });
}

lua_functions! { lua_kvswatcher => blocking(kvswatcher); }

static FORM: Form = Form {
    fields: &[
        Field::new(c"key"),
        Field::new(c"handler"),
        Field::new(c"isdir"),
    ],
    has_alternatives: false,
    usage: "f:kvswatcher{ key = name, handler = function(w, value, errnum) ... end }",
};

pub const WATCHERS: &[Method] = &[(c"kvswatcher", Some(lua_kvswatcher), &FORM)];
