//! Notices that the broker is gone while the reactor runs and reads no
//! messages. While it reads messages, libflux notices.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use super::connection::Connection;
use super::library;
use super::sys::{self, Api, flux_reactor_t, flux_watcher_t};

/// Watches a handle during the runs of its reactor in which nothing else does.
/// It does not keep a run going. It must be dropped before its handle.
#[derive(Default)]
pub struct DisconnectWatcher {
    watch: RefCell<Option<Watch>>,
    is_started: Cell<bool>,
}

/// Owns a watcher that its reactor does not count among the active ones.
struct Watch {
    api: &'static Api,
    w: NonNull<flux_watcher_t>,
    counting: Counting,
}

/// How the watcher is left out of the reactor's count.
#[derive(Clone, Copy)]
enum Counting {
    /// libflux was told not to count it.
    LeftOut,
    /// libflux before 0.70 counts every started watcher. The count is corrected
    /// after each start, and before each stop.
    Corrected {
        r: NonNull<flux_reactor_t>,
        add: unsafe extern "C" fn(*mut flux_reactor_t),
        subtract: unsafe extern "C" fn(*mut flux_reactor_t),
    },
}

impl DisconnectWatcher {
    /// Starts to watch the handle if `is_needed`, or else stops.
    pub fn watch(&self, connection: &Connection, is_needed: bool) {
        let mut watch = self.watch.borrow_mut();
        if is_needed && watch.is_none() {
            *watch = Watch::new(connection);
        }
        let Some(watch) = &*watch else { return };
        if self.is_started.replace(is_needed) == is_needed {
            return;
        }
        match is_needed {
            true => watch.start(),
            false => watch.stop(),
        }
    }

    /// Whether the broker is gone and the watcher will not notice. The watcher
    /// of old versions sees only events; the loss may have come before the run,
    /// or this process may have closed the socket.
    pub fn is_lost_unnoticed(&self, connection: &Connection) -> bool {
        let watch = self.watch.borrow();
        let sees_only_events = |watch: &Watch| matches!(watch.counting, Counting::Corrected { .. });
        watch.as_ref().is_some_and(sees_only_events)
            && self.is_started.get()
            && connection.is_broken()
    }
}

impl Drop for DisconnectWatcher {
    fn drop(&mut self) {
        if let (Some(watch), true) = (self.watch.get_mut(), self.is_started.get()) {
            watch.stop();
        }
    }
}

impl Watch {
    /// Makes the watcher. None if no descriptor is left for it. Also None for
    /// an external handle, because C code runs its reactor and handles the loss
    /// of its broker.
    fn new(connection: &Connection) -> Option<Watch> {
        if connection.is_external() {
            return None;
        }
        let api = connection.api;
        let r = connection.reactor().ok()?;
        let h = connection.as_ptr();
        // SAFETY: the reactor and the handle are valid, and live longer than the
        // watcher. `on_event` gets the handle.
        unsafe {
            if let Some(unref) = api.flux_watcher_unref {
                let create = api.flux_handle_watcher_create;
                let w = create(r, h, sys::FLUX_POLLERR, on_event, h.cast());
                let w = NonNull::new(w)?;
                unref(w.as_ptr());
                let counting = Counting::LeftOut;
                return Some(Watch { api, w, counting });
            }
            let counting = Counting::Corrected {
                r: NonNull::new(r)?,
                add: api.flux_reactor_active_incref?,
                subtract: api.flux_reactor_active_decref?,
            };
            // In these versions a handle watcher counts as several.
            let fd = (api.flux_pollfd)(h);
            if fd < 0 {
                return None;
            }
            let w = (api.flux_fd_watcher_create)(r, fd, sys::FLUX_POLLIN, on_event, h.cast());
            let w = NonNull::new(w)?;
            Some(Watch { api, w, counting })
        }
    }

    /// Starts the watcher. It must not be started already, or the count of
    /// active watchers becomes wrong.
    fn start(&self) {
        // SAFETY: the watcher and its reactor are valid as long as this lives.
        unsafe {
            (self.api.flux_watcher_start)(self.w.as_ptr());
            if let Counting::Corrected { r, subtract, .. } = self.counting {
                subtract(r.as_ptr());
            }
        }
    }

    /// Stops the watcher. It must be started, or the count of active watchers
    /// becomes wrong.
    fn stop(&self) {
        // SAFETY: as in `start`.
        unsafe {
            if let Counting::Corrected { r, add, .. } = self.counting {
                add(r.as_ptr());
            }
            (self.api.flux_watcher_stop)(self.w.as_ptr());
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: this owns the watcher, and destroys it once. Its handle is
        // still valid.
        unsafe { (self.api.flux_watcher_destroy)(self.w.as_ptr()) };
    }
}

/// libflux calls this when there is something new on the handle `h`. If that is
/// the loss of the broker, this does what libflux's dispatcher does then.
unsafe extern "C" fn on_event(
    r: *mut flux_reactor_t,
    _: *mut flux_watcher_t,
    _: c_int,
    h: *mut c_void,
) {
    let Ok(api) = library::api() else { return };
    // SAFETY: libflux passes the reactor that runs, and the handle that it was
    // given, which lives longer than the watcher.
    unsafe {
        // This consumes the event. Code that reads messages looks for those
        // that have arrived before it waits for new ones.
        let events = (api.flux_pollevents)(h.cast());
        if events < 0 || events & sys::FLUX_POLLERR != 0 {
            (api.flux_reactor_stop_error)(r);
        }
    }
}
