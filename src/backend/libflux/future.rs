//! One `flux_future_t` and its owner: an RPC, a KVS lookup or a commit that is
//! under way. How they are started is `handle`'s and `kvs`'s.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::continuation;
use super::sigmask;
use super::sys::{Api, Continuation, flux_future_t};
use super::text::{self, Bytes};
use crate::backend::reactor::Watcher;
use crate::backend::{self, Error, Future, MATCHTAG_NONE, Result};

/// What a future is fulfilled with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// A response, whose payload may be absent.
    Response,
    /// No more than the news that it is done.
    Done,
    /// A KVS value's bytes.
    Bytes,
    /// A KVS tree object's JSON text.
    Treeobj,
}

/// How a future goes on, and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Course {
    pub value: Value,
    /// Fulfilled again and again, and for the last time with an error.
    pub streaming: bool,
    /// A lookup that the KVS ends when told that nobody waits any more.
    pub cancels: bool,
}

/// Owns a future, and keeps its handle alive.
pub struct FluxFuture {
    connection: Rc<Connection>,
    f: *mut flux_future_t,
    matchtag: u32,
    course: Course,
    /// A wait has failed, and left libflux waiting on a clone of the handle.
    is_elsewhere: Cell<bool>,
}

impl FluxFuture {
    /// Take over what a libflux call on this handle returned: null is its errno.
    ///
    /// # Safety
    ///
    /// `f` is null with errno just set, or a valid future of an RPC on this
    /// handle that is the caller's to give.
    pub unsafe fn from_owned(
        connection: &Rc<Connection>,
        f: *mut flux_future_t,
        course: Course,
    ) -> Result<FluxFuture> {
        if f.is_null() {
            return Err(Error::last_os_error());
        }
        // SAFETY: a valid future.
        let matchtag = unsafe { (connection.api.flux_rpc_get_matchtag)(f) };
        let future = FluxFuture {
            connection: Rc::clone(connection),
            f,
            matchtag,
            course,
            is_elsewhere: Cell::new(false),
        };
        if matchtag != MATCHTAG_NONE {
            connection.held(matchtag);
            future.attend()?;
        }
        Ok(future)
    }

    /// The dispatcher of an external handle, which runs whether or not anybody
    /// waits, throws away what no future has asked it for.
    fn attend(&self) -> Result<()> {
        if !self.connection.is_external() {
            return Ok(());
        }
        // SAFETY: the callback ignores its argument.
        unsafe { self.call_on_fulfilled(ignore, ptr::null_mut()) }
    }

    /// Have the handle's reactor call this each time the future is fulfilled.
    /// `EINVAL` where a wait that failed stands in the way.
    ///
    /// # Safety
    ///
    /// `callback` may be called with `arg` until the future is dropped.
    pub unsafe fn call_on_fulfilled(&self, callback: Continuation, arg: *mut c_void) -> Result<()> {
        if self.is_elsewhere.get() && !self.connection.is_external() {
            return Err(Error::new(libc::EINVAL));
        }
        self.connection.ensure_pollfd()?;
        // Its response may have been met before.
        self.connection.unpark(self.matchtag);
        // SAFETY: a valid future; the rest by the contract.
        let rc = unsafe { (self.api().flux_future_then)(self.f, -1.0, callback, arg) };
        self.connection.check(rc)
    }

    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    fn api(&self) -> &'static Api {
        self.connection.api
    }

    fn is_ready(&self) -> bool {
        // SAFETY: a valid future.
        unsafe { (self.api().flux_future_is_ready)(self.f) }
    }

    fn has_error(&self) -> bool {
        // SAFETY: a valid future.
        unsafe { (self.api().flux_future_has_error)(self.f) }
    }

    /// Wait in libflux's own reactor. May say `ETIMEDOUT` too early: when the
    /// future has been waited for before, the timer starts from that time.
    fn run(&self, timeout: Option<Duration>) -> Result<()> {
        self.connection.ensure_pollfd()?;
        self.connection.unpark(self.matchtag);
        let seconds = timeout.map_or(-1.0, |timeout| timeout.as_secs_f64());
        // SAFETY: a valid future, and nothing else uses its handle meanwhile.
        let rc = unsafe { (self.api().flux_future_wait_for)(self.f, seconds) };
        self.is_elsewhere.set(rc < 0);
        if rc >= 0 {
            return Ok(());
        }
        let error = Error::last_os_error();
        self.requeue_unmatched();
        if error.errnum != libc::ETIMEDOUT && self.connection.is_broken() {
            // libflux stops the reactor then without setting errno.
            return Err(Error::new(libc::ECONNRESET));
        }
        Err(error)
    }

    /// While it waits, libflux gathers the messages that are not the future's
    /// on a clone of the handle. It gives them back only when the wait
    /// succeeds; one that fails leaves the clone in place, and the messages to
    /// be lost with it.
    fn requeue_unmatched(&self) {
        // SAFETY: a valid future; after a wait that failed this is the clone,
        // and requeueing is refused if it is not.
        unsafe {
            let clone = (self.api().flux_future_get_flux)(self.f);
            (self.api().flux_dispatch_requeue)(clone);
        }
    }

    /// Time has passed, so that only a response that is here already counts.
    fn look_once_more(&self) -> Result<()> {
        if !self.connection.bring_forward(self.matchtag)? {
            return Err(Error::new(libc::ETIMEDOUT));
        }
        self.run(None)
    }

    /// The error of the call that has just failed, with the service's own text
    /// where the future has one.
    fn error(&self) -> Error {
        let error = Error::last_os_error();
        if !self.has_error() {
            return error;
        }
        // SAFETY: a valid future with an error, so that there is a string,
        // which is the future's and is copied here.
        let text = unsafe { text::copied((self.api().flux_future_error_string)(self.f)) };
        match text {
            // Without a text of its own libflux gives the errno's.
            Some(text) if text != error.text() => Error::with_detail(error.errnum, text),
            _ => error,
        }
    }

    fn check(&self, rc: i32) -> Result<()> {
        if rc < 0 {
            return Err(self.error());
        }
        Ok(())
    }

    fn response(&self) -> Result<Option<&[u8]>> {
        let mut bytes = Bytes::new();
        // SAFETY: a valid future that is ready, and places to write to.
        self.check(unsafe {
            (self.api().flux_rpc_get_raw)(self.f, &mut bytes.data, &mut bytes.length)
        })?;
        // SAFETY: filled in; the bytes live until the future is reset, for
        // which it must not be borrowed.
        Ok(unsafe { bytes.get() }.map(text::without_terminator))
    }

    fn bytes(&self) -> Result<&[u8]> {
        let mut bytes = Bytes::new();
        // SAFETY: a valid future of a lookup that is ready, and places to write to.
        self.check(unsafe {
            (self.api().flux_kvs_lookup_get_raw)(self.f, &mut bytes.data, &mut bytes.length)
        })?;
        // SAFETY: as for a response. An empty value may be a null pointer.
        Ok(unsafe { bytes.get() }.unwrap_or_default())
    }

    fn treeobj(&self) -> Result<&[u8]> {
        let mut treeobj = ptr::null();
        // SAFETY: a valid future of a lookup that is ready, and a place to write to.
        self.check(unsafe { (self.api().flux_kvs_lookup_get_treeobj)(self.f, &mut treeobj) })?;
        // SAFETY: on success a terminated string that lives as a response does.
        Ok(unsafe { CStr::from_ptr(treeobj) }.to_bytes())
    }

    fn done(&self) -> Result<()> {
        // SAFETY: a valid future that is ready; its value is not asked for.
        self.check(unsafe { (self.api().flux_future_get)(self.f, ptr::null_mut()) })
    }

    /// Whether this value is the last.
    pub fn is_over(&self) -> bool {
        self.matchtag == MATCHTAG_NONE
            || (self.is_ready() && (!self.course.streaming || self.has_error()))
    }

    /// Of a stream that goes on: forget this value.
    ///
    /// # Safety
    ///
    /// Nobody borrows the value.
    pub unsafe fn next(&self) {
        if self.course.streaming && !self.has_error() {
            // SAFETY: a valid future, whose value is not borrowed.
            unsafe { (self.api().flux_future_reset)(self.f) };
        }
    }

    /// Whether libflux frees the tag with the future: the last response is in.
    /// Forgets the values of a stream that are.
    fn is_answered(&mut self) -> bool {
        while self.is_ready() && !self.is_over() {
            self.reset();
        }
        self.is_over()
    }
}

/// The continuation of a future that has none.
unsafe extern "C" fn ignore(_: *mut flux_future_t, _: *mut c_void) {}

impl Drop for FluxFuture {
    fn drop(&mut self) {
        let over = self.is_answered();
        if !over && self.course.cancels {
            // A failure is the connection's, which is then no longer of use.
            let _ = sigmask::sending(|| {
                // SAFETY: a valid future of a lookup.
                let rc = unsafe { (self.api().flux_kvs_lookup_cancel)(self.f) };
                self.connection.check(rc)
            });
        }
        // SAFETY: ours, destroyed once; the handle outlives it.
        unsafe { (self.api().flux_future_destroy)(self.f) };
        if over {
            self.connection.released(self.matchtag);
        } else {
            self.connection.given_up(self.matchtag);
        }
    }
}

impl Future for FluxFuture {
    fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        while !self.is_ready() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return self.look_once_more();
            }
            match self.run(left) {
                Err(error) if matches!(error.errnum, libc::ETIMEDOUT | libc::EINTR) => {}
                done => return done,
            }
        }
        Ok(())
    }

    fn payload(&self) -> Result<Option<&[u8]>> {
        self.wait(None)?;
        match self.course.value {
            Value::Response => self.response(),
            Value::Done => self.done().map(|()| None),
            Value::Bytes => self.bytes().map(Some),
            Value::Treeobj => self.treeobj().map(Some),
        }
    }

    /// A stream that has ended stays ended, and what is no stream as it is.
    fn reset(&mut self) {
        // SAFETY: borrowed for changing, so that nobody borrows the value.
        unsafe { self.next() };
    }

    fn then(self: Box<Self>, continuation: backend::Continuation) -> Result<Box<dyn Watcher>> {
        continuation::then(*self, continuation)
    }
}
