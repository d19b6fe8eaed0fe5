//! System calls as safe functions: waiting for descriptors, waking a thread,
//! the status of a path, the user id. Signals are in `signals`. Nothing here
//! depends on Flux or the back ends.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use super::error::{Error, Result};

pub mod signals;

/// A descriptor that any thread can make readable.
pub struct EventFd(File);

impl EventFd {
    /// A descriptor that is not readable yet.
    pub fn new() -> Result<EventFd> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd(File::from(fd)))
    }

    /// Makes it readable.
    pub fn signal(&self) {
        // It can fail only if the counter is at its maximum, and then it is readable.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Makes it not readable.
    pub fn drain(&self) {
        // It fails if it is not readable.
        let _ = (&self.0).read(&mut [0; 8]);
    }

    /// The descriptor, which stays open as long as this lives.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// An entry for [`poll`]: a descriptor, and the `libc::POLL*` events to wait for.
pub fn poll_entry(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd {
        fd,
        events,
        revents: 0,
    }
}

/// Waits for descriptors like poll(2), but with a timeout in nanoseconds. None
/// waits forever. A signal ends the wait early, with no descriptor ready.
pub fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> Result<()> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the list is passed with its length; the timeout is null or outlives
    // the call; the null signal mask changes nothing.
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

/// Fails with `EBADF` if `fd` is not an open descriptor.
pub fn check_descriptor(fd: RawFd) -> Result<()> {
    // SAFETY: the call takes no pointer and changes nothing.
    match unsafe { libc::fcntl(fd, libc::F_GETFD) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The status of a path. A symbolic link is not followed.
pub fn lstat(path: &CStr) -> Result<libc::stat> {
    let mut status = MaybeUninit::uninit();
    // SAFETY: the path is terminated, and the buffer has the right type.
    if unsafe { libc::lstat(path.as_ptr(), status.as_mut_ptr()) } < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: lstat succeeded, so it has filled in the buffer.
    Ok(unsafe { status.assume_init() })
}

/// A status in which everything is zero, for a path that was never seen.
pub fn no_status() -> libc::stat {
    // SAFETY: the structure has only integers, and zero is valid for them.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
