//! Closes a `flux_t` without leaking a descriptor. Before 0.79, `flux_close`
//! does not close the descriptor of `flux_pollfd`.

use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::sys::{Api, flux_t};
use super::text;
use crate::backend::system::EventFd;

/// The first version whose `flux_close` closes the descriptor.
const FIXED: (u32, u32) = (0, 79);

/// Gives up a reference on `h`, and closes the descriptor that would leak.
///
/// # Safety
///
/// `h` is a valid handle, and the caller owns a reference on it.
pub unsafe fn close(api: &Api, h: *mut flux_t) {
    // SAFETY: valid by the contract, until the reference is given up.
    unsafe {
        let leftover = Leftover::find(api, h);
        (api.flux_close)(h);
        if let Some(leftover) = leftover {
            leftover.close();
        }
    }
}

/// The descriptor of a handle that is about to be closed, and that would leak.
struct Leftover {
    fd: RawFd,
    /// Set when libflux destroys the handle. C code may hold another reference.
    is_destroyed: Arc<AtomicBool>,
}

impl Leftover {
    /// None if nothing would leak.
    ///
    /// # Safety
    ///
    /// `h` is a valid handle.
    unsafe fn find(api: &Api, h: *mut flux_t) -> Option<Leftover> {
        let flux_aux_set = api.flux_aux_set?;
        if !leaves_descriptor(api) {
            return None;
        }
        // SAFETY: the handle is valid by the contract. If it has no descriptor yet,
        // this makes the one that is closed below.
        let fd = unsafe { (api.flux_pollfd)(h) };
        if fd < 0 {
            return None;
        }
        let is_destroyed = Arc::new(AtomicBool::new(false));
        let flag = Arc::into_raw(Arc::clone(&is_destroyed));
        // SAFETY: the handle is valid; `on_destroy` takes over the reference, or
        // it is taken back here.
        unsafe {
            let name = c"flux-lua::is_destroyed".as_ptr();
            if flux_aux_set(h, name, flag.cast_mut().cast(), on_destroy) < 0 {
                drop(Arc::from_raw(flag));
                return None;
            }
        }
        Some(Leftover { fd, is_destroyed })
    }

    /// Closes the descriptor, if giving up the reference destroyed the handle.
    fn close(self) {
        if self.is_destroyed.load(Ordering::Acquire) {
            // SAFETY: the handle that owned the descriptor is gone and has not closed
            // it, so nothing else will.
            unsafe { libc::close(self.fd) };
        }
    }
}

/// libflux calls this while it destroys the handle.
unsafe extern "C" fn on_destroy(flag: *mut c_void) {
    // SAFETY: `find` made the pointer from a reference, which is given up here,
    // once.
    let flag = unsafe { Arc::from_raw(flag.cast_const().cast::<AtomicBool>()) };
    flag.store(true, Ordering::Release);
}

/// Whether this libflux leaks the descriptor. The version alone does not tell,
/// because an old one may have been patched, and closing a descriptor twice could
/// close another thread's file.
fn leaves_descriptor(api: &Api) -> bool {
    static LEAVES: OnceLock<bool> = OnceLock::new();
    if let Some(leaves) = LEAVES.get() {
        return *leaves;
    }
    let tried = match is_old(api) {
        true => try_out(api),
        false => Some(false),
    };
    match tried {
        Some(leaves) => *LEAVES.get_or_init(|| leaves),
        // No descriptor was free. The next call tries again.
        None => false,
    }
}

/// Whether the version may leak. False if the version cannot be read.
fn is_old(api: &Api) -> bool {
    // SAFETY: the call returns a string that is valid for ever.
    let version = unsafe { text::copied((api.flux_core_version_string)()) };
    let version = version.as_deref().and_then(parse);
    version.is_some_and(|version| version < FIXED)
}

/// The major and minor number of "0.78.0-12-g0123abc".
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.');
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}

/// Closes a loopback, and checks whether its descriptor is still open. None if
/// the check is not possible.
fn try_out(api: &Api) -> Option<bool> {
    // SAFETY: the name is terminated, and the handle valid until it is closed. If
    // the descriptor is left, nothing else closes it.
    unsafe {
        let h = (api.flux_open)(c"loop://".as_ptr(), 0);
        if h.is_null() {
            return None;
        }
        let epoll = (api.flux_pollfd)(h);
        // If `member` is still in it afterwards, it is the same epoll instance, and
        // not a file of another thread that got the same number.
        let member = EventFd::new().ok();
        let member = member.filter(|member| change(epoll, libc::EPOLL_CTL_ADD, member));
        (api.flux_close)(h);
        let is_left = change(epoll, libc::EPOLL_CTL_DEL, &member?);
        if is_left {
            libc::close(epoll);
        }
        Some(is_left)
    }
}

/// Adds `member` to an epoll instance, or removes it. Returns whether it did.
fn change(epoll: RawFd, operation: c_int, member: &EventFd) -> bool {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: the event is valid; numbers that are not descriptors are refused.
    unsafe { libc::epoll_ctl(epoll, operation, member.fd(), ptr::from_mut(&mut event)) == 0 }
}
