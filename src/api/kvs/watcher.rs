//! Watchers of a KVS key: `f:kvswatcher`. They use the broker's watch streams.

use std::cell::Cell;
use std::rc::Rc;

use crate::api::handle;
use crate::api::kvs::dir::NewDir;
use crate::api::kvs::value::push_stored;
use crate::api::reactor::builder::{Constructor, EmptyUserdata, NewWatcher, WatcherBuilder};
use crate::api::reactor::options::{self, Field, Options};
use crate::api::reactor::reference::WatcherKind;
use crate::api::reactor::watcher::Watcher;
use crate::api::wait::{Step, blocking};
use crate::backend::{self, Continuation, Future, kvs_flags};
use crate::lua::{Kind, Push, Result, State};
use crate::lua_functions;

/// Flags of the watch. `WATCH_FULL` also reports changes that come through a parent
/// directory or a symlink.
const WATCH: i32 = kvs_flags::WATCH | kvs_flags::WATCH_FULL | kvs_flags::WATCH_UNIQ;

static KIND: WatcherKind = WatcherKind {
    name: "kvswatcher",
    negative_result_stops: false,
    remove_returns_true: true,
};

static OPTIONS: Options = Options {
    fields: &[
        Field::new(c"key"),
        Field::new(c"handler"),
        Field::new(c"isdir"),
    ],
    has_alternatives: false,
    usage: "f:kvswatcher{ key = name, handler = function(w, value, errnum) ... end }",
};

/// `f:kvswatcher{ key = k, handler = f(w, value, errnum), isdir = false }`
///
/// Looks the key up once before it watches, so that an error, such as a directory
/// without `isdir`, is returned at once.
fn kvswatcher(state: State<'_>) -> Result<Step<NewWatcher>> {
    let handle = handle::check(state)?;
    let field = options::read(state, &OPTIONS)?;
    if state.kind(field) == Kind::Nil {
        return Err(options::missing("key"));
    }
    let key = options::text(state, field, "key")?.to_owned();
    options::handler(state, field + 1)?;
    let readdir = match options::boolean(state, field + 2, "isdir", false)? {
        true => kvs_flags::READDIR,
        false => 0,
    };
    let lookup = handle.backend()?.lookup(None, readdir, &key)?;
    Step::wait(lookup, move |state, lookup| {
        match lookup.payload() {
            Err(error) if error.errnum != libc::ENOENT => {
                return Err(handle.explain_read(&key, error));
            }
            _ => {}
        }
        let userdata = EmptyUserdata::push(state)?;
        let builder = WatcherBuilder::new(state, handle, &KIND, &userdata)?;
        let watched = Watched {
            key,
            readdir,
            reported_missing: Cell::new(false),
        };
        watch(builder.watcher(), &Rc::new(watched), 0)?;
        Ok(Step::Done(builder.finish(state)?))
    })
}

/// The key that is watched.
struct Watched {
    key: String,
    /// [`kvs_flags::READDIR`] to watch a directory, else 0.
    readdir: i32,
    /// Whether the last call of the handler reported that the key does not exist.
    reported_missing: Cell<bool>,
}

/// The event source that a new one replaced.
type PreviousSource = Option<Box<dyn backend::reactor::Watcher>>;

/// Begins a watch of the key. `flags` is 0, or `WAITCREATE` to wait until the key
/// exists. A watch with `WAITCREATE` ends with ENOENT at the first commit after which
/// the key still does not exist.
fn watch(watcher: &Watcher, watched: &Rc<Watched>, flags: i32) -> Result<PreviousSource> {
    let backend = watcher.handle().backend()?;
    let lookup = backend.lookup(None, WATCH | flags | watched.readdir, &watched.key)?;
    let weak = watcher.downgrade();
    let watched = Rc::clone(watched);
    let continuation: Continuation = Rc::new(move |future| {
        if let Some(watcher) = weak.upgrade() {
            handle_change(&watcher, &watched, future);
        }
    });
    Ok(watcher.set_source(lookup.then(continuation)?))
}

fn handle_change(watcher: &Watcher, watched: &Rc<Watched>, change: &dyn Future) {
    match change.payload() {
        Ok(_) => {
            watched.reported_missing.set(false);
            report_value(watcher, watched, change);
        }
        Err(error) if error.errnum == libc::ENOENT => {
            // The handler may take long, so the next watch begins before it runs. The
            // previous source lives until this function returns.
            let next = watch(watcher, watched, kvs_flags::WAITCREATE);
            if !watched.reported_missing.replace(true) {
                report_error(watcher, &error);
            }
            if next.is_err() {
                watcher.end();
            }
        }
        Err(error) => {
            report_error(watcher, &error);
            watcher.end();
        }
    }
}

/// Calls the handler with the new value or directory.
fn report_value(watcher: &Watcher, watched: &Watched, change: &dyn Future) {
    if watched.readdir != 0 {
        report_dir(watcher, watched, change);
        return;
    }
    watcher.call_handler(|writer, at| {
        writer.state().push_value(at.watcher);
        let stored = change.payload().ok().flatten().unwrap_or_default();
        push_stored(writer, stored);
        2
    });
}

fn report_dir(watcher: &Watcher, watched: &Watched, change: &dyn Future) {
    let Ok(mut dir) = NewDir::of(watcher.handle().clone(), watched.key.clone(), change) else {
        // The stream sent a malformed directory object.
        report_error(watcher, &backend::Error::new(libc::EPROTO));
        watcher.end();
        return;
    };
    watcher.call_handler(|writer, at| {
        writer.state().push_value(at.watcher);
        1 + dir.push(writer)
    });
}

/// Calls the handler with nil and the errno.
fn report_error(watcher: &Watcher, error: &backend::Error) {
    watcher.call_handler(|writer, at| {
        writer.state().push_value(at.watcher);
        writer.nil();
        writer.integer(error.errnum.into());
        3
    });
}

lua_functions! { lua_kvswatcher => blocking(kvswatcher); }

/// The constructor, a method of the handle.
pub const CONSTRUCTORS: &[Constructor] = &[(c"kvswatcher", Some(lua_kvswatcher), &OPTIONS)];
