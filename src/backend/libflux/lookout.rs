//! Noticing that the broker is gone while the reactor runs and reads no
//! messages. Where it reads some, libflux notices.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use super::connection::Connection;
use super::sys::{self, Api, flux_reactor_t, flux_watcher_t};

/// Watches the handle during the runs that nothing else watches it in. It
/// keeps none of them going.
#[derive(Default)]
pub struct Lookout {
    w: Cell<Option<NonNull<flux_watcher_t>>>,
}

impl Lookout {
    /// The handle is about to be closed.
    pub fn close(&self, api: &Api) {
        if let Some(w) = self.w.take() {
            // SAFETY: ours, destroyed once, while its handle is alive.
            unsafe { (api.flux_watcher_destroy)(w.as_ptr()) };
        }
    }
}

impl Connection {
    /// Watch the handle if that `is_needed`, and no more if not.
    pub fn look_out(&self, is_needed: bool) {
        let lookout = &self.lookout;
        if is_needed && lookout.w.get().is_none() {
            lookout.w.set(self.create_lookout());
        }
        let Some(w) = lookout.w.get() else { return };
        // SAFETY: a valid watcher; either call may be repeated.
        unsafe {
            if is_needed {
                (self.api.flux_watcher_start)(w.as_ptr());
            } else {
                (self.api.flux_watcher_stop)(w.as_ptr());
            }
        }
    }

    /// None where libflux (before 0.70) has no watcher that keeps no run
    /// going, or there is no descriptor left for it. An external handle's
    /// reactor is C code's, and the broker's loss its matter.
    fn create_lookout(&self) -> Option<NonNull<flux_watcher_t>> {
        let unref = self.api.flux_watcher_unref?;
        if self.is_external() {
            return None;
        }
        let r = self.reactor().ok()?;
        let api = ptr::from_ref(self.api).cast_mut().cast();
        let events = sys::FLUX_POLLERR;
        // SAFETY: a valid reactor and handle, both alive until `close`. The
        // callback gets what is never freed, and changes nothing of it.
        unsafe {
            let create = self.api.flux_handle_watcher_create;
            let w = NonNull::new(create(r, self.as_ptr(), events, on_lost, api))?;
            unref(w.as_ptr());
            Some(w)
        }
    }
}

/// libflux calls this when the broker is gone. It does what libflux's own
/// dispatcher does then.
unsafe extern "C" fn on_lost(
    r: *mut flux_reactor_t,
    _: *mut flux_watcher_t,
    _: c_int,
    api: *mut c_void,
) {
    // SAFETY: libflux passes what it was given, and the reactor that runs.
    unsafe { ((*api.cast::<Api>()).flux_reactor_stop_error)(r) };
}
