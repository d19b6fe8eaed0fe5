//! Watchers of a file's status: `f:statwatcher`.

use crate::api::handle;
use crate::api::reactor::builder::{Constructor, EmptyUserdata, NewWatcher, WatcherBuilder};
use crate::api::reactor::options::{self, Field, Options};
use crate::api::reactor::reference::WatcherKind;
use crate::backend::reactor::{Event, Source};
use crate::lua::{Error, Kind, Result, State, Writer};
use crate::lua_functions;

static KIND: WatcherKind = WatcherKind {
    name: "statwatcher",
    negative_result_stops: false,
    remove_returns_true: true,
};

static OPTIONS: Options = Options {
    fields: &[
        Field::new(c"path"),
        Field::new(c"handler"),
        Field::new(c"interval"),
    ],
    has_alternatives: false,
    usage: "f:statwatcher{ path = name, handler = function(w, st, prev) ... end }",
};

/// `f:statwatcher{ path = p, interval = seconds, handler = f(w, st, prev) }`
fn statwatcher(state: State<'_>, userdata: &mut EmptyUserdata) -> Result<NewWatcher> {
    let handle = handle::check(state)?;
    let field = options::read(state, &OPTIONS)?;
    if state.kind(field) == Kind::Nil {
        return Err(Error::failure("Mandatory argument 'path' missing"));
    }
    let path = options::text(state, field, "path")?;
    options::handler(state, field + 1)?;
    let interval = match state.kind(field + 2) {
        Kind::Nil => 0.0,
        _ => {
            let expected = "a number of seconds, 0 or more,";
            options::amount(state, field + 2, "interval", expected)?
        }
    };
    let builder = WatcherBuilder::new(state, handle, &KIND, userdata)?;
    builder.start(state, Source::Stat { path, interval }, |watcher, event| {
        let Event::Stat { now, before } = event else {
            return;
        };
        watcher.call_handler(|writer, at| {
            writer.state().push_value(at.watcher);
            push_stat(writer, &now);
            push_stat(writer, &before);
            3
        });
    })
}

/// Pushes a table with the fields of a status.
#[allow(
    clippy::unnecessary_cast,
    reason = "the fields have other widths on other machines"
)]
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

lua_functions! { lua_statwatcher(EmptyUserdata) => statwatcher; }

/// The constructor, a method of the handle.
pub const CONSTRUCTORS: &[Constructor] = &[(c"statwatcher", Some(lua_statwatcher), &OPTIONS)];
