//! One `flux_watcher_t` and its owner: timers, descriptors, signals and files.
//! Messages are `dispatch`'s.

use std::ffi::{CString, c_int, c_void};
use std::rc::Rc;

use super::connection::Connection;
use super::descriptor::{self, Closed, Descriptor};
use super::dispatch;
use super::reactor::{self, Called};
use super::signal::Signal;
use super::sys::{self, flux_reactor_t, flux_watcher_t};
use super::text::terminated;
use crate::backend::reactor::{Callback, Event, Source, Watcher, poll};
use crate::backend::{Error, Result, system};

/// Have the reactor call `callback` until what is returned is dropped.
pub fn watch(
    connection: &Rc<Connection>,
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
        } => return dispatch::watch(connection, typemask, topic_glob, rolemask, callback),
    };
    let watcher = FluxWatcher::new(Watched {
        connection: Rc::clone(connection),
        callback,
        waits_for,
    })?;
    Ok(Box::new(watcher))
}

/// libev aborts over some of what is refused here.
fn seconds(seconds: f64) -> Result<f64> {
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(Error::new(libc::EINVAL));
    }
    Ok(seconds)
}

fn file_path(path: &str) -> Result<CString> {
    if path.is_empty() {
        return Err(Error::new(libc::EINVAL));
    }
    if path.len() >= libc::PATH_MAX as usize {
        return Err(Error::new(libc::ENAMETOOLONG));
    }
    terminated(path)
}

/// Owns a watcher, and keeps its handle alive.
struct FluxWatcher {
    w: *mut flux_watcher_t,
    watched: Rc<Watched>,
}

/// What libflux points to: its watcher is destroyed before this is dropped.
struct Watched {
    connection: Rc<Connection>,
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
        let r = watched.connection.reactor()?;
        let watched = Rc::new(watched);
        let w = watched.create(r, reactor::arg(&watched));
        if w.is_null() {
            return Err(Error::last_os_error());
        }
        let api = watched.connection.api;
        // SAFETY: a valid reactor, and a watcher of it. libev counts a timer
        // from the time of its last turn, which may be long ago.
        unsafe {
            (api.flux_reactor_now_update)(r);
            (api.flux_watcher_start)(w);
        }
        Ok(FluxWatcher { w, watched })
    }
}

impl Drop for FluxWatcher {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once; its reactor lives as the handle does.
        unsafe { (self.watched.connection.api.flux_watcher_destroy)(self.w) };
    }
}

impl Called for Watched {
    fn connection(self: &Rc<Self>) -> &Rc<Connection> {
        &self.connection
    }
}

impl Watched {
    /// `arg` is C's pointer to this. Null, with errno set, on failure.
    fn create(&self, r: *mut flux_reactor_t, arg: *mut c_void) -> *mut flux_watcher_t {
        let api = self.connection.api;
        // SAFETY: a valid reactor. The callback gets `arg`, which lives until
        // the watcher is destroyed; so do the descriptors and the path.
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

    /// What has happened; none where that has passed.
    ///
    /// # Safety
    ///
    /// `w` is this one's watcher.
    unsafe fn event(&self, w: *mut flux_watcher_t) -> Option<Event> {
        match &self.waits_for {
            WaitsFor::Timer { .. } => Some(Event::Timer),
            WaitsFor::Signal(signal) => signal.take().then_some(Event::Signal),
            WaitsFor::Stat { .. } => {
                let (mut now, mut before) = (system::no_status(), system::no_status());
                // SAFETY: a stat watcher by the contract, and places to write to.
                unsafe {
                    let rstat = self.connection.api.flux_stat_watcher_get_rstat;
                    rstat(w, &mut now, &mut before);
                }
                let (now, before) = (Box::new(now), Box::new(before));
                Some(Event::Stat { now, before })
            }
            WaitsFor::Descriptor(descriptor) => match descriptor.ready() {
                Ok(0) => None,
                Ok(events) => Some(Event::Fd(events)),
                Err(Closed) => {
                    // SAFETY: a valid watcher by the contract. There is nothing
                    // left to wait for.
                    unsafe { (self.connection.api.flux_watcher_stop)(w) };
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
    // SAFETY: libflux passes what it was given, which lives as the watcher does.
    unsafe {
        reactor::enter(arg, |watched: &Rc<Watched>| {
            // SAFETY: libflux calls with the watcher that it was given `arg` for.
            if let Some(event) = watched.event(w) {
                watched.connection.runs.handle();
                (watched.callback)(event);
            }
        });
    }
}
