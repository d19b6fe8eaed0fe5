//! Watchers of a file's status: `f:statwatcher`.

use crate::api::handle;
use crate::api::reactor::form::{self, Field, Form};
use crate::api::reactor::making::{Made, Method, NewWatcher, WatcherObject};
use crate::api::reactor::reference::Traits;
use crate::backend::reactor::{Event, Source};
use crate::lua::{Error, Kind, Result, State, Writer};
use crate::lua_functions;

/// `f:statwatcher{ path = p, interval = seconds, handler = f(w, st, prev) }`
fn statwatcher(state: State<'_>, object: &mut WatcherObject) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = form::read(state, &FORM)?;
    if state.kind(field) == Kind::Nil {
        return Err(Error::failure("Mandatory argument 'path' missing"));
    }
    let path = form::text(state, field, "path")?;
    form::handler(state, field + 1)?;
    let interval = match state.kind(field + 2) {
        Kind::Nil => 0.0,
        _ => {
            let what = "a number of seconds, 0 or more,";
            form::amount(state, field + 2, "interval", what)?
        }
    };
    static TRAITS: Traits = Traits {
        kind: "statwatcher",
        is_checked: false,
        removed: true,
    };
    let watcher = NewWatcher::new(state, handle, &TRAITS)?;
    watcher.start(
        state,
        object,
        Source::Stat { path, interval },
        |watcher, event| {
            let Event::Stat { now, before } = event else {
                return;
            };
            watcher.fire(|writer, objects| {
                writer.state().push_value(objects.watcher);
                push_stat(writer, &now);
                push_stat(writer, &before);
                3
            });
        },
    )
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

lua_functions! { lua_statwatcher(WatcherObject) => statwatcher; }

static FORM: Form = Form {
    fields: &[
        Field::new(c"path"),
        Field::new(c"handler"),
        Field::new(c"interval"),
    ],
    has_alternatives: false,
    usage: "f:statwatcher{ path = name, handler = function(w, st, prev) ... end }",
};

/// The method of the handle.
pub const WATCHERS: &[Method] = &[(c"statwatcher", Some(lua_statwatcher), &FORM)];
