//! Waits for a signal. libev can wait for a signal in only one reactor of the
//! process, and aborts if a second one waits. So it waits for a descriptor of a
//! `system::signals` listener, of which there may be any number.

use std::fs;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::backend::system::signals::{self, Listener, Subscription};
use crate::backend::{Error, Result};

/// A signal that a watcher waits for.
pub struct Signal {
    listener: Rc<Listener>,
    _subscription: Subscription,
    signum: i32,
}

impl Signal {
    /// `EINVAL` for a signal that cannot be handled; `EBUSY` for one that C code
    /// waits for, in this reactor or another, which would not see it any more.
    pub fn new(signum: i32) -> Result<Signal> {
        if is_taken(signum) {
            return Err(Error::with_detail(
                libc::EBUSY,
                format!("another part of this process waits for signal {signum}"),
            ));
        }
        let listener = Listener::new()?;
        let subscription = listener.subscribe(signum)?;
        Ok(Signal {
            listener,
            _subscription: subscription,
            signum,
        })
    }

    /// A descriptor that is readable when the signal was received.
    pub fn fd(&self) -> RawFd {
        self.listener.fd()
    }

    /// Whether the signal was received since the last call.
    pub fn take(&self) -> bool {
        self.listener.take()(self.signum)
    }
}

/// Whether a signalfd of other code, as libev uses it, has this signal. False if
/// `/proc` does not tell.
fn is_taken(signum: i32) -> bool {
    if !(1..=64).contains(&signum) || signals::is_heard(signum) {
        return false;
    }
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        let file = fs::read_link(descriptor.path());
        file.is_ok_and(|file| file.as_os_str() == "anon_inode:[signalfd]")
            && mask_of(&descriptor.file_name().to_string_lossy()) & (1 << (signum - 1)) != 0
    })
}

/// The signals of a signalfd, as bits.
fn mask_of(fd: &str) -> u64 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let mask = info.lines().find_map(|line| line.strip_prefix("sigmask:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
