//! Watchers of timers, descriptors, signals and files. Each owns one
//! `flux_watcher_t`. `dispatch` has the watchers of messages.

use std::ffi::{CString, c_int, c_void};
use std::rc::Rc;

use super::descriptor::{self, Closed, Descriptor};
use super::dispatch;
use super::session::{self, Called, Session};
use super::signal::Signal;
use super::sys::{self, flux_reactor_t, flux_watcher_t};
use super::text::terminated;
use crate::backend::reactor::{Callback, Event, Source, Watcher, poll};
use crate::backend::{Error, Result, system};

/// Makes the reactor call `callback` on each event of `source`, until the
/// returned watcher is dropped.
pub fn watch(
    session: &Rc<Session>,
    source: Source<'_>,
    callback: Callback,
) -> Result<Box<dyn Watcher>> {
    let waits_for = match source {
        Source::Timer { after, repeat } => WaitsFor::Timer {
            after: seconds(after)?,
            repeat: seconds(repeat)?,
        },
        Source::Fd { fd, events } => WaitsFor::Descriptor(Descriptor::new(fd, events)?),
        Source::Signal(signum) => WaitsFor::Signal(Signal::new(signum)?),
        Source::Stat { path, interval } => WaitsFor::Stat {
            path: file_path(path)?,
            interval: seconds(interval)?,
        },
        Source::Message {
            typemask,
            topic_glob,
            rolemask,
        } => return dispatch::watch(session, typemask, topic_glob, rolemask, callback),
    };
    let watcher = FluxWatcher::new(Watched {
        session: Rc::clone(session),
        callback,
        waits_for,
    })?;
    Ok(Box::new(watcher))
}

/// Fails with EINVAL for a number that is not a valid time, because libev
/// aborts for some of these.
fn seconds(seconds: f64) -> Result<f64> {
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(Error::new(libc::EINVAL));
    }
    Ok(seconds)
}

/// A path that libev can watch.
fn file_path(path: &str) -> Result<CString> {
    if path.is_empty() {
        return Err(Error::new(libc::EINVAL));
    }
    if path.len() >= libc::PATH_MAX as usize {
        return Err(Error::new(libc::ENAMETOOLONG));
    }
    terminated(path)
}

/// Owns a `flux_watcher_t`, and keeps its handle alive.
struct FluxWatcher {
    w: *mut flux_watcher_t,
    watched: Rc<Watched>,
}

/// The data to which libflux has a pointer. The watcher is destroyed before the
/// data is dropped.
struct Watched {
    session: Rc<Session>,
    callback: Callback,
    waits_for: WaitsFor,
}

enum WaitsFor {
    Timer {
        after: f64,
        repeat: f64,
    },
    Descriptor(Descriptor),
    Signal(Signal),
    /// libev keeps a pointer to the path.
    Stat {
        path: CString,
        interval: f64,
    },
}

impl Watcher for FluxWatcher {}

impl FluxWatcher {
    fn new(watched: Watched) -> Result<FluxWatcher> {
        let r = watched.session.connection.reactor()?;
        let watched = Rc::new(watched);
        let w = watched.create(r, session::arg(&watched));
        if w.is_null() {
            return Err(Error::last_os_error());
        }
        let api = watched.session.api();
        // libev counts a timer from the time of its last turn, which may be long
        // ago.
        // SAFETY: the reactor and its watcher are valid.
        unsafe {
            (api.flux_reactor_now_update)(r);
            (api.flux_watcher_start)(w);
        }
        Ok(FluxWatcher { w, watched })
    }
}

impl Drop for FluxWatcher {
    fn drop(&mut self) {
        // SAFETY: this owns the watcher, and destroys it once. Its reactor lives
        // as long as the handle, which `watched` keeps alive.
        unsafe { (self.watched.session.api().flux_watcher_destroy)(self.w) };
    }
}

impl Called for Watched {
    fn session(self: &Rc<Self>) -> &Rc<Session> {
        &self.session
    }
}

impl Watched {
    /// Creates the libflux watcher. Returns null, with errno set, on failure.
    /// `arg`: C's pointer to this.
    fn create(&self, r: *mut flux_reactor_t, arg: *mut c_void) -> *mut flux_watcher_t {
        let api = self.session.api();
        // SAFETY: the reactor is valid. `arg`, the descriptors and the path live
        // until the watcher is destroyed.
        unsafe {
            match &self.waits_for {
                WaitsFor::Timer { after, repeat } => {
                    (api.flux_timer_watcher_create)(r, *after, *repeat, on_event, arg)
                }
                WaitsFor::Signal(signal) => {
                    (api.flux_fd_watcher_create)(r, signal.fd(), sys::FLUX_POLLIN, on_event, arg)
                }
                WaitsFor::Stat { path, interval } => {
                    (api.flux_stat_watcher_create)(r, path.as_ptr(), *interval, on_event, arg)
                }
                WaitsFor::Descriptor(descriptor) => match descriptor.proxy() {
                    Some(fd) => {
                        (api.flux_fd_watcher_create)(r, fd, sys::FLUX_POLLIN, on_event, arg)
                    }
                    None => {
                        let interval = descriptor::INTERVAL;
                        (api.flux_timer_watcher_create)(r, interval, interval, on_event, arg)
                    }
                },
            }
        }
    }

    /// The event that has happened. None if it is over.
    ///
    /// # Safety
    ///
    /// `w` is the watcher that was created for this.
    unsafe fn event(&self, w: *mut flux_watcher_t) -> Option<Event> {
        match &self.waits_for {
            WaitsFor::Timer { .. } => Some(Event::Timer),
            WaitsFor::Signal(signal) => signal.take().then_some(Event::Signal),
            WaitsFor::Stat { .. } => {
                let (mut now, mut before) = (system::no_status(), system::no_status());
                // SAFETY: `w` is a stat watcher by the contract, and both places
                // are valid.
                unsafe {
                    let rstat = self.session.api().flux_stat_watcher_get_rstat;
                    rstat(w, &mut now, &mut before);
                }
                let (now, before) = (Box::new(now), Box::new(before));
                Some(Event::Stat { now, before })
            }
            WaitsFor::Descriptor(descriptor) => match descriptor.ready() {
                Ok(0) => None,
                Ok(events) => Some(Event::Fd(events)),
                Err(Closed) => {
                    // There is nothing left to wait for.
                    // SAFETY: the watcher is valid by the contract.
                    unsafe { (self.session.api().flux_watcher_stop)(w) };
                    Some(Event::Fd(poll::ERR))
                }
            },
        }
    }
}

/// libflux calls this on each event of a [`FluxWatcher`].
unsafe extern "C" fn on_event(
    _: *mut flux_reactor_t,
    w: *mut flux_watcher_t,
    _: c_int,
    arg: *mut c_void,
) {
    // SAFETY: libflux passes the `arg` of `create`, which lives as long as the
    // watcher.
    unsafe {
        session::enter(arg, |watched: &Rc<Watched>| {
            // SAFETY: libflux passes the watcher that it has this `arg` for.
            if let Some(event) = watched.event(w) {
                watched.session.reactor.handle();
                (watched.callback)(event);
            }
        });
    }
}
