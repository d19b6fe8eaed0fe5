//! Waiting for a signal. libev can do that in one reactor of the process only,
//! and aborts over a second; so it waits for `system`'s listener, of which
//! there may be any number.

use std::fs;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::backend::system::signals::{self, Listener, Subscription};
use crate::backend::{Error, Result};

pub struct Signal {
    listener: Rc<Listener>,
    _subscription: Subscription,
    signum: i32,
}

impl Signal {
    /// `EINVAL` for what cannot be handled; `EBUSY` for a signal that C code
    /// waits for, in this reactor or another: it would not see it any more.
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

    /// Readable when there is something to take.
    pub fn fd(&self) -> RawFd {
        self.listener.fd()
    }

    /// Whether the signal came since the last time.
    pub fn take(&self) -> bool {
        self.listener.take()(self.signum)
    }
}

/// Whether some signalfd, as libev uses, has this signal, and none of ours.
/// Where `/proc` does not tell, none has.
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

fn mask_of(fd: &str) -> u64 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let mask = info.lines().find_map(|line| line.strip_prefix("sigmask:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
