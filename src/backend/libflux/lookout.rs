//! Noticing that the broker is gone while the reactor runs and reads no
//! messages. Where it reads some, libflux notices.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use super::connection::Connection;
use super::library;
use super::sys::{self, Api, flux_reactor_t, flux_watcher_t};

/// Watches the handle during the runs that nothing else watches it in. It
/// keeps none of them going.
#[derive(Default)]
pub struct Lookout {
    watch: Cell<Option<Watch>>,
    is_started: Cell<bool>,
}

/// A watcher that does not count among the active ones of its reactor.
#[derive(Clone, Copy)]
struct Watch {
    w: NonNull<flux_watcher_t>,
    counting: Counting,
}

#[derive(Clone, Copy)]
enum Counting {
    /// libflux was told to leave the watcher out.
    LeftOut,
    /// libflux before 0.70 counts each watcher that is started. The count is
    /// corrected after each start, and before each stop.
    Corrected {
        r: NonNull<flux_reactor_t>,
        add: unsafe extern "C" fn(*mut flux_reactor_t),
        subtract: unsafe extern "C" fn(*mut flux_reactor_t),
    },
}

impl Lookout {
    /// The handle is about to be closed.
    pub fn close(&self, api: &Api) {
        let Some(watch) = self.watch.take() else {
            return;
        };
        // SAFETY: ours, destroyed once, while its handle is alive.
        unsafe {
            self.stop(api, watch);
            (api.flux_watcher_destroy)(watch.w.as_ptr());
        }
    }

    /// # Safety
    ///
    /// The watcher and its reactor are alive.
    unsafe fn start(&self, api: &Api, watch: Watch) {
        if self.is_started.replace(true) {
            return;
        }
        // SAFETY: alive by the contract.
        unsafe {
            (api.flux_watcher_start)(watch.w.as_ptr());
            if let Counting::Corrected { r, subtract, .. } = watch.counting {
                subtract(r.as_ptr());
            }
        }
    }

    /// # Safety
    ///
    /// The watcher and its reactor are alive.
    unsafe fn stop(&self, api: &Api, watch: Watch) {
        if !self.is_started.replace(false) {
            return;
        }
        // SAFETY: alive by the contract.
        unsafe {
            if let Counting::Corrected { r, add, .. } = watch.counting {
                add(r.as_ptr());
            }
            (api.flux_watcher_stop)(watch.w.as_ptr());
        }
    }
}

impl Connection {
    /// Watch the handle if that `is_needed`, and no more if not.
    pub fn look_out(&self, is_needed: bool) {
        let lookout = &self.lookout;
        if is_needed && lookout.watch.get().is_none() {
            lookout.watch.set(self.create_lookout());
        }
        let Some(watch) = lookout.watch.get() else {
            return;
        };
        // SAFETY: both live until `close`.
        unsafe {
            if is_needed {
                lookout.start(self.api, watch);
            } else {
                lookout.stop(self.api, watch);
            }
        }
    }

    /// Whether the broker is gone and the watcher will not notice. It sees only
    /// events; the loss came before the run, or this process closed the socket.
    pub fn is_lost_unnoticed(&self) -> bool {
        let watch = self.lookout.watch.get();
        let sees_only_events =
            watch.is_some_and(|watch| matches!(watch.counting, Counting::Corrected { .. }));
        sees_only_events && self.lookout.is_started.get() && self.is_broken()
    }

    /// What libflux's own dispatcher does when the broker is gone.
    pub fn end_run_at_loss(&self) {
        if let Ok(r) = self.reactor() {
            // SAFETY: a valid reactor.
            unsafe { (self.api.flux_reactor_stop_error)(r) };
        }
    }

    /// None where there is no descriptor left for it. An external handle's
    /// reactor is C code's, and the broker's loss its matter.
    fn create_lookout(&self) -> Option<Watch> {
        if self.is_external() {
            return None;
        }
        let api = self.api;
        let r = self.reactor().ok()?;
        let h = self.as_ptr();
        // SAFETY: a valid reactor and handle, both alive until `close`.
        unsafe {
            if let Some(unref) = api.flux_watcher_unref {
                let create = api.flux_handle_watcher_create;
                let w = create(r, h, sys::FLUX_POLLERR, on_event, h.cast());
                let w = NonNull::new(w)?;
                unref(w.as_ptr());
                let counting = Counting::LeftOut;
                return Some(Watch { w, counting });
            }
            let counting = Counting::Corrected {
                r: NonNull::new(r)?,
                add: api.flux_reactor_active_incref?,
                subtract: api.flux_reactor_active_decref?,
            };
            // A handle watcher of these versions counts as much as it has
            // parts that wait.
            let fd = (api.flux_pollfd)(h);
            if fd < 0 {
                return None;
            }
            let w = (api.flux_fd_watcher_create)(r, fd, sys::FLUX_POLLIN, on_event, h.cast());
            Some(Watch {
                w: NonNull::new(w)?,
                counting,
            })
        }
    }
}

/// libflux calls this with something new on the handle `h`. If that is the
/// broker's loss, this does what libflux's own dispatcher does then.
unsafe extern "C" fn on_event(
    r: *mut flux_reactor_t,
    _: *mut flux_watcher_t,
    _: c_int,
    h: *mut c_void,
) {
    let Ok(api) = library::api() else { return };
    // SAFETY: libflux passes what it was given, a handle that lives as the
    // watcher does, and the reactor that runs.
    unsafe {
        // This consumes the event. Who reads messages looks for those that
        // have come before waiting for new ones.
        let events = (api.flux_pollevents)(h.cast());
        if events < 0 || events & sys::FLUX_POLLERR != 0 {
            (api.flux_reactor_stop_error)(r);
        }
    }
}
