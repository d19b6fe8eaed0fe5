//! I/O watchers of a file descriptor. Each line becomes a call of the handler.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::raw::c_int;

use crate::api::kvs::stream::Block;
use crate::api::reactor::watcher::Watcher;
use crate::backend;
use crate::backend::reactor::{Source, poll};
use crate::lua::{Push, Result};

/// Bytes after which a line without a newline is passed on as it is, so that no line
/// can fill the memory.
const MAX_LINE: usize = 1 << 20;

/// Calls the handler with each line, including its newline. The last line may lack one.
///
/// The descriptor is duplicated, so the script may close its own. EBADF if it is not
/// open.
pub fn watch(watcher: &Watcher, fd: c_int) -> Result<()> {
    let lines = Lines {
        file: duplicate(fd)?,
        unfinished: RefCell::default(),
        has_ended: Cell::new(false),
    };
    let source = Source::Fd {
        fd: lines.file.as_raw_fd(),
        events: poll::IN,
    };
    watcher.set_source(watcher.listen(source, move |watcher, _| lines.read(watcher))?);
    Ok(())
}

/// A new descriptor for the same open file.
fn duplicate(fd: c_int) -> backend::Result<File> {
    /// The lowest number to use: the three below are the standard streams.
    const LOWEST: c_int = 3;
    // SAFETY: fcntl accepts any number, and fails if it is not an open descriptor.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, LOWEST) };
    if copy < 0 {
        return Err(backend::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nothing else owns it.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// Cuts what is read from a descriptor into lines.
struct Lines {
    file: File,
    /// The bytes of the line that is not complete yet.
    unfinished: RefCell<Vec<u8>>,
    has_ended: Cell<bool>,
}

impl Lines {
    /// Reads once, and calls the handler with each complete line.
    fn read(&self, watcher: &Watcher) {
        let mut bytes = [0; 16 * 1024];
        match (&self.file).read(&mut bytes) {
            Ok(0) => self.has_ended.set(true),
            Ok(count) => self
                .unfinished
                .borrow_mut()
                .extend_from_slice(&bytes[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            // The descriptor has failed: it may be a terminal that hung up.
            Err(_) => self.has_ended.set(true),
        }
        while let Some(line) = self.next_line() {
            call_handler(watcher, line, false);
        }
        if self.has_ended.get() {
            let rest = self.unfinished.take();
            call_handler(watcher, rest, true);
            watcher.end();
        }
    }

    /// Takes a complete line, or the start of one that is too long.
    fn next_line(&self) -> Option<Vec<u8>> {
        let mut unfinished = self.unfinished.borrow_mut();
        let newline = unfinished.iter().position(|byte| *byte == b'\n');
        let len = newline
            .map(|at| at + 1)
            .or((unfinished.len() >= MAX_LINE).then_some(MAX_LINE))?;
        Some(unfinished.drain(..len).collect())
    }
}

/// Calls the handler with `{ data = …, eof = … }`.
fn call_handler(watcher: &Watcher, data: Vec<u8>, eof: bool) {
    let mut block = Block { data, eof };
    watcher.call_handler(|writer, at| {
        writer.state().push_value(at.watcher);
        1 + block.push(writer)
    });
}
