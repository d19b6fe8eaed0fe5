//! What a reactor asks of the system, as safe calls: waiting on descriptors,
//! waking a waiter on another thread, a path's status; `signals` does the same
//! for signals. Knows neither Flux nor back ends.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use super::{Error, Result};

pub mod signals;

/// A descriptor that becomes readable when someone, on any thread, says so.
pub struct EventFd(File);

impl EventFd {
    pub fn new() -> Result<EventFd> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd(File::from(fd)))
    }

    /// Make it readable.
    pub fn signal(&self) {
        // The one possible failure is a counter at its end, which is readable.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Make it unreadable again.
    pub fn drain(&self) {
        // It fails where there is nothing to drain.
        let _ = (&self.0).read(&mut [0; 8]);
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// An entry of [`poll`]'s list: wait for these `libc::POLL*` events.
pub fn poll_entry(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd {
        fd,
        events,
        revents: 0,
    }
}

/// poll(2), to the nanosecond. Without a timeout it waits for ever. A signal
/// ends it early, with no descriptor ready.
pub fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> Result<()> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the list is ours, with its length; the timeout is null or lives
    // until the call returns; no signal mask is given.
    let rc = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as _, timeout, ptr::null()) };
    if rc >= 0 {
        return Ok(());
    }
    let error = Error::last_os_error();
    if error.errnum != libc::EINTR {
        return Err(error);
    }
    for entry in fds {
        entry.revents = 0;
    }
    Ok(())
}

/// The user id of this process.
pub fn userid() -> u32 {
    static USERID: OnceLock<u32> = OnceLock::new();
    // SAFETY: getuid has no preconditions, and cannot fail.
    *USERID.get_or_init(|| unsafe { libc::getuid() })
}

/// `EBADF` for what is not an open descriptor.
pub fn check_descriptor(fd: RawFd) -> Result<()> {
    // SAFETY: the call takes no pointer, and changes nothing.
    match unsafe { libc::fcntl(fd, libc::F_GETFD) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A path's status; of a symbolic link, its own.
pub fn lstat(path: &CStr) -> Result<libc::stat> {
    let mut status = MaybeUninit::uninit();
    // SAFETY: the path is terminated, and the buffer is of the type asked for.
    if unsafe { libc::lstat(path.as_ptr(), status.as_mut_ptr()) } < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: lstat succeeded, so that it filled the buffer in.
    Ok(unsafe { status.assume_init() })
}

/// The status that stands for "nothing known": all zero.
pub fn no_status() -> libc::stat {
    // SAFETY: the structure holds integers only, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
