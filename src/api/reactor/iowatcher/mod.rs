//! I/O watchers: `f:iowatcher`. One reads lines from a file descriptor (`lines`) or
//! the blocks of a byte stream in the KVS (`blocks`).

mod blocks;
mod lines;

use std::os::raw::c_int;

use crate::api::handle;
use crate::api::kvs::stream::{Kz, Mode, NewKz};
use crate::api::reactor::builder::{Constructor, EmptyUserdata, NewWatcher, WatcherBuilder};
use crate::api::reactor::fd::descriptor;
use crate::api::reactor::options::{self, Field, Options};
use crate::api::reactor::reference::WatcherKind;
use crate::lua::{Error, Kind, Push, Result, State};
use crate::lua_functions;

static KIND: WatcherKind = WatcherKind {
    name: "iowatcher",
    negative_result_stops: false,
    remove_returns_true: true,
};

static OPTIONS: Options = Options {
    fields: &[
        Field::new(c"fd"),
        Field::new(c"key"),
        Field::new(c"handler"),
        Field::new(c"kz_flags"),
    ],
    has_alternatives: true,
    usage: "f:iowatcher{ fd = number, handler = function(w, line) ... end }",
};

/// `f:iowatcher{ fd = n | key = k, handler = …, kz_flags = { "nofollow" } }`
fn iowatcher(state: State<'_>, userdata: &mut EmptyUserdata) -> Result<NewWatcher> {
    let handle = handle::check(state)?;
    let field = options::read(state, &OPTIONS)?;
    options::handler(state, field + 2)?;
    if state.kind(field) != Kind::Nil {
        let fd = descriptor(state, field)?;
        let builder = WatcherBuilder::new(state, handle, &KIND, userdata)?;
        lines::watch(builder.watcher(), fd)?;
        return builder.finish(state);
    }
    if state.kind(field + 1) != Kind::Nil {
        let key = options::text(state, field + 1, "key")?;
        let nofollow = nofollow(state, field + 3)?;
        let kz = Kz::new(handle.clone(), key, Mode::Read);
        set_kz(state, &kz)?;
        let builder = WatcherBuilder::new(state, handle, &KIND, userdata)?;
        blocks::watch(builder.watcher(), kz, nofollow)?;
        return builder.finish(state);
    }
    Err(Error::failure("required field fd or key missing"))
}

/// Whether the field `kz_flags`, at `index`, has the flag "nofollow": the watcher then
/// reads the blocks that exist, and does not wait for more.
fn nofollow(state: State<'_>, index: c_int) -> Result<bool> {
    let unknown = || Error::failure("kz_open: unknown kz_flags");
    match state.kind(index) {
        Kind::Nil => return Ok(false),
        Kind::Table => {}
        _ => return Err(unknown()),
    }
    let mut nofollow = false;
    state.push_nil();
    // SAFETY: a table is at this index; the key is nil, or came from there.
    while unsafe { state.next(index) } {
        match state.bytes(-1) {
            Some(b"nofollow") => nofollow = true,
            _ => return Err(unknown()),
        }
        state.pop(1);
    }
    Ok(nofollow)
}

/// Sets the field `kz` of the options table, argument 2, to the stream's reader.
fn set_kz(state: State<'_>, kz: &Kz) -> Result<()> {
    let mut kz = NewKz(Some(kz.clone()));
    state.push_value(2);
    state.protect(1, |writer| {
        kz.push(writer);
        writer.set_field(1, c"kz");
        0
    })?;
    Ok(())
}

lua_functions! { lua_iowatcher(EmptyUserdata) => iowatcher; }

/// The constructor, a method of the handle.
pub const CONSTRUCTORS: &[Constructor] = &[(c"iowatcher", Some(lua_iowatcher), &OPTIONS)];
