//! I/O watchers: lines of a file descriptor, and what is written to a stream
//! in the KVS. `f:iowatcher`.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::raw::c_int;
use std::rc::Rc;

use crate::api::handle;
use crate::api::kvs::stream::{self, Kz, Mode, NewKz};
use crate::api::reactor::fd::descriptor;
use crate::api::reactor::form::{self, Field, Form};
use crate::api::reactor::making::{Made, Method, NewWatcher, WatcherObject};
use crate::api::reactor::reference::Traits;
use crate::api::reactor::watcher::Watcher;
use crate::backend::reactor::{Source, poll};
use crate::backend::{self, Continuation, Future};
use crate::lua::{Error, Kind, Push, Result, State};
use crate::lua_functions;

/// `f:iowatcher{ fd = n | key = k, handler = … , kz_flags = { "nofollow" } }`
fn iowatcher(state: State<'_>, object: &mut WatcherObject) -> Result<Made> {
    let handle = handle::check(state)?;
    let field = form::read(state, &FORM)?;
    form::handler(state, field + 2)?;
    static TRAITS: Traits = Traits {
        kind: "iowatcher",
        is_checked: false,
        removed: true,
    };
    if state.kind(field) != Kind::Nil {
        let fd = descriptor(state, field)?;
        let watcher = NewWatcher::new(state, handle, &TRAITS)?;
        watch_fd(watcher.watcher(), fd)?;
        return watcher.made(state, object);
    }
    if state.kind(field + 1) != Kind::Nil {
        let key = form::text(state, field + 1, "key")?;
        let nofollow = nofollow(state, field + 3)?;
        let kz = Kz::new(handle.clone(), key, Mode::Read);
        set_kz(state, &kz)?;
        let watcher = NewWatcher::new(state, handle, &TRAITS)?;
        begin_stream(watcher.watcher(), kz, nofollow)?;
        return watcher.made(state, object);
    }
    Err(Error::failure("required field fd or key missing"))
}

/// Call the handler with each line that comes, the newline with it; the last
/// may lack one. The descriptor is duplicated, so the script may close its own.
fn watch_fd(watcher: &Watcher, fd: c_int) -> Result<()> {
    // SAFETY: only borrowed to be duplicated, which fails with EBADF if the
    // number is no open descriptor's.
    let owned = unsafe { BorrowedFd::borrow_raw(fd) }
        .try_clone_to_owned()
        .map_err(|error| backend::Error::new(error.raw_os_error().unwrap_or(libc::EBADF)))?;
    let lines = Lines {
        file: File::from(owned),
        pending: RefCell::default(),
        ended: Cell::new(false),
    };
    let source = Source::Fd {
        fd: lines.file.as_raw_fd(),
        events: poll::IN,
    };
    watcher.wait_for(watcher.listen(source, move |watcher, _| lines.readable(watcher))?);
    Ok(())
}

/// What is read of a descriptor, cut into lines.
struct Lines {
    file: File,
    pending: RefCell<Vec<u8>>,
    ended: Cell<bool>,
}

/// Without a newline so much is given as it is, so that no line fills the memory.
const MAX_LINE: usize = 1 << 20;

impl Lines {
    fn readable(&self, watcher: &Watcher) {
        let mut bytes = [0; 16 * 1024];
        match (&self.file).read(&mut bytes) {
            Ok(0) => self.ended.set(true),
            Ok(count) => self.pending.borrow_mut().extend_from_slice(&bytes[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            // A terminal that hung up, and what else cannot be read, has ended.
            Err(_) => self.ended.set(true),
        }
        while let Some(line) = self.next_line() {
            fire_io(watcher, line, false);
        }
        if self.ended.get() {
            let rest = self.pending.take();
            fire_io(watcher, rest, true);
            watcher.end();
        }
    }

    /// A line, or as much as a line may have.
    fn next_line(&self) -> Option<Vec<u8>> {
        let mut pending = self.pending.borrow_mut();
        let newline = pending.iter().position(|byte| *byte == b'\n');
        let len = newline
            .map(|at| at + 1)
            .or((pending.len() >= MAX_LINE).then_some(MAX_LINE))?;
        Some(pending.drain(..len).collect())
    }
}

fn fire_io(watcher: &Watcher, data: Vec<u8>, eof: bool) {
    let mut block = stream::Block { data, eof };
    watcher.fire(|writer, objects| {
        writer.state().push_value(objects.watcher);
        1 + block.push(writer)
    });
}

/// Whether the field `kz_flags` says that what is there is all.
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

/// The stream's reader is the field `kz` of the table that is argument 2.
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

/// A key that is no directory will not have blocks.
fn begin_stream(watcher: &Watcher, kz: Kz, nofollow: bool) -> Result<()> {
    let lookup = kz.lookup_dir()?;
    let weak = watcher.downgrade();
    let continuation: Continuation = Rc::new(move |dir| {
        let Some(watcher) = weak.upgrade() else {
            return;
        };
        let begun = match dir.payload() {
            Err(error) if error.errnum != libc::ENOENT => {
                fire_stream(&watcher, None, Some(&error.text()));
                watcher.end();
                return;
            }
            _ => watch_stream(&watcher, kz.clone(), nofollow),
        };
        if begun.is_err() {
            // Only a handle that was closed has no next block to wait for.
            watcher.end();
        }
    });
    let _before = watcher.wait_for(lookup.then(continuation)?);
    Ok(())
}

/// Call the handler with each block's data, and at the end with nil.
fn watch_stream(watcher: &Watcher, kz: Kz, nofollow: bool) -> Result<()> {
    let flags = if nofollow { 0 } else { stream::WAIT };
    let lookup = kz.lookup_next(flags)?;
    let weak = watcher.downgrade();
    let continuation: Continuation = Rc::new(move |block| {
        if let Some(watcher) = weak.upgrade() {
            stream_readable(&watcher, &kz, nofollow, block);
        }
    });
    // What was waited for before is over, and may go with its last caller.
    let _before = watcher.wait_for(lookup.then(continuation)?);
    Ok(())
}

fn stream_readable(watcher: &Watcher, kz: &Kz, nofollow: bool, lookup: &dyn Future) {
    match kz.take(lookup) {
        Ok(block) => {
            if !block.data.is_empty() {
                fire_stream(watcher, Some(&block.data), None);
            }
            if block.eof {
                fire_stream(watcher, None, None);
                watcher.end();
            } else if watch_stream(watcher, kz.clone(), nofollow).is_err() {
                // Only a handle that was closed has no next block to wait for.
                watcher.end();
            }
        }
        Err(error) if nofollow && error.errnum == libc::ENOENT => {
            fire_stream(watcher, None, None);
            watcher.end();
        }
        Err(error) if error.errnum == libc::ENOENT => {
            if watch_stream(watcher, kz.clone(), nofollow).is_err() {
                watcher.end();
            }
        }
        Err(error) => {
            fire_stream(watcher, None, Some(&error.text()));
            watcher.end();
        }
    }
}

fn fire_stream(watcher: &Watcher, data: Option<&[u8]>, error: Option<&str>) {
    watcher.fire(|writer, objects| {
        writer.state().push_value(objects.watcher);
        for text in [data, error.map(str::as_bytes)] {
            match text {
                Some(text) => writer.bytes(text),
                None => writer.nil(),
            }
        }
        3
    });
}

lua_functions! { lua_iowatcher(WatcherObject) => iowatcher; }

static FORM: Form = Form {
    fields: &[
        Field::new(c"fd"),
        Field::new(c"key"),
        Field::new(c"handler"),
        Field::new(c"kz_flags"),
    ],
    has_alternatives: true,
    usage: "f:iowatcher{ fd = number, handler = function(w, line) ... end }",
};

pub const WATCHERS: &[Method] = &[(c"iowatcher", Some(lua_iowatcher), &FORM)];
