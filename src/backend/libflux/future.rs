//! An RPC, a KVS lookup or a commit that is in progress. Owns one
//! `flux_future_t`, and its continuation in the handle's reactor. `handle` and
//! `kvs` start them.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_void};
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::session::{self, Called, Session};
use super::sigmask;
use super::sys::{Api, FutureCallback, flux_future_t};
use super::text::{self, Bytes};
use super::watcher;
use crate::backend::reactor::{Callback, Source, Watcher};
use crate::backend::{Continuation, Error, Future, MATCHTAG_NONE, Result};

/// The kind of value that a future is fulfilled with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueKind {
    /// A response, with or without payload.
    Response,
    /// No value. The future only tells that the operation is done.
    Done,
    /// The bytes of a KVS value.
    Bytes,
    /// The JSON text of a KVS tree object.
    Treeobj,
}

/// How a future proceeds, and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Course {
    /// The kind of the future's values.
    pub value: ValueKind,
    /// Whether the future is fulfilled many times, the last time with an error.
    pub streaming: bool,
    /// Whether the future is a lookup that must be cancelled when it is given
    /// up.
    pub cancels: bool,
}

/// Owns a `flux_future_t`, and keeps its handle alive.
pub struct FluxFuture {
    session: Rc<Session>,
    f: *mut flux_future_t,
    matchtag: u32,
    course: Course,
    /// Whether a wait has failed, so that libflux waits on a clone of the
    /// handle.
    is_elsewhere: Cell<bool>,
}

impl FluxFuture {
    /// Takes over a future that a libflux call returned; null is the call's errno.
    ///
    /// # Safety
    ///
    /// `f` is null with errno just set, or a valid future of an RPC on this
    /// handle, which the caller owns and gives up. Its value has the kind that
    /// `course` says.
    pub unsafe fn from_owned(
        session: &Rc<Session>,
        f: *mut flux_future_t,
        course: Course,
    ) -> Result<FluxFuture> {
        if f.is_null() {
            return Err(Error::last_os_error());
        }
        // SAFETY: the future is valid.
        let matchtag = unsafe { (session.api().flux_rpc_get_matchtag)(f) };
        let future = FluxFuture {
            session: Rc::clone(session),
            f,
            matchtag,
            course,
            is_elsewhere: Cell::new(false),
        };
        if matchtag != MATCHTAG_NONE {
            session.connection.held(matchtag);
            future.claim_response()?;
        }
        Ok(future)
    }

    /// Makes the dispatcher of an external handle keep the response for this
    /// future. The dispatcher runs even if nobody waits, and discards the
    /// responses that no future has asked for.
    fn claim_response(&self) -> Result<()> {
        if !self.session.connection.is_external() {
            return Ok(());
        }
        // SAFETY: `ignore` may be called with any argument.
        unsafe { self.call_on_fulfilled(ignore, ptr::null_mut()) }
    }

    /// Makes the handle's reactor call `callback` each time the future is
    /// fulfilled. Fails with `EINVAL` after a wait that failed.
    ///
    /// # Safety
    ///
    /// `callback` may be called with `arg` until the future is dropped.
    unsafe fn call_on_fulfilled(&self, callback: FutureCallback, arg: *mut c_void) -> Result<()> {
        if self.is_elsewhere.get() && !self.session.connection.is_external() {
            return Err(Error::new(libc::EINVAL));
        }
        let connection = &self.session.connection;
        connection.ensure_pollfd()?;
        // The future's response may have arrived before.
        connection.unpark(self.matchtag);
        // SAFETY: the future is valid; the rest by the contract.
        let rc = unsafe { (self.api().flux_future_then)(self.f, -1.0, callback, arg) };
        connection.check(rc)
    }

    fn api(&self) -> &'static Api {
        self.session.api()
    }

    fn is_ready(&self) -> bool {
        // SAFETY: the future is valid.
        unsafe { (self.api().flux_future_is_ready)(self.f) }
    }

    fn has_error(&self) -> bool {
        // SAFETY: the future is valid.
        unsafe { (self.api().flux_future_has_error)(self.f) }
    }

    /// Waits in libflux's own reactor. May return `ETIMEDOUT` too early: if the
    /// future has been waited for before, the time counts from then.
    fn run(&self, timeout: Option<Duration>) -> Result<()> {
        let connection = &self.session.connection;
        connection.ensure_pollfd()?;
        connection.unpark(self.matchtag);
        let seconds = timeout.map_or(-1.0, |timeout| timeout.as_secs_f64());
        // SAFETY: the future is valid, and nothing else uses its handle meanwhile.
        let rc = unsafe { (self.api().flux_future_wait_for)(self.f, seconds) };
        self.is_elsewhere.set(rc < 0);
        if rc >= 0 {
            return Ok(());
        }
        let error = Error::last_os_error();
        self.requeue_unmatched();
        if error.errnum != libc::ETIMEDOUT && connection.is_broken() {
            // libflux then stops the reactor without setting errno.
            return Err(Error::new(libc::ECONNRESET));
        }
        Err(error)
    }

    /// Puts other messages back after a wait that failed. While libflux waits, it
    /// collects the messages that are not the future's on a clone of the handle.
    /// It returns them only if the wait succeeds; otherwise they would be lost
    /// with the clone.
    fn requeue_unmatched(&self) {
        // SAFETY: the future is valid. After a wait that failed its handle is the
        // clone; libflux refuses to requeue on a handle that is not.
        unsafe {
            let clone = (self.api().flux_future_get_flux)(self.f);
            (self.api().flux_dispatch_requeue)(clone);
        }
    }

    /// Looks for a response that has arrived, after the timeout has passed.
    fn look_once_more(&self) -> Result<()> {
        if !self.session.connection.bring_forward(self.matchtag)? {
            return Err(Error::new(libc::ETIMEDOUT));
        }
        self.run(None)
    }

    /// The error of the call that has just failed, with the service's text if the
    /// future has one.
    fn error(&self) -> Error {
        let error = Error::last_os_error();
        if !self.has_error() {
            return error;
        }
        // SAFETY: the future is valid and has an error, so the string is valid
        // as long as the future. It is copied here.
        let text = unsafe { text::copied((self.api().flux_future_error_string)(self.f)) };
        match text {
            // Without a text, libflux returns the errno's.
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
        // SAFETY: the future is valid and ready, and both places are valid.
        self.check(unsafe {
            (self.api().flux_rpc_get_raw)(self.f, &mut bytes.data, &mut bytes.length)
        })?;
        // SAFETY: libflux has filled it in. The bytes are valid until the future
        // is reset, which needs `&mut self`.
        Ok(unsafe { bytes.get() }.map(text::without_terminator))
    }

    fn bytes(&self) -> Result<&[u8]> {
        let mut bytes = Bytes::new();
        // SAFETY: the future of a lookup is valid and ready, and both places are
        // valid.
        self.check(unsafe {
            (self.api().flux_kvs_lookup_get_raw)(self.f, &mut bytes.data, &mut bytes.length)
        })?;
        // SAFETY: as for a response. For an empty value the pointer may be null.
        Ok(unsafe { bytes.get() }.unwrap_or_default())
    }

    fn treeobj(&self) -> Result<&[u8]> {
        let mut treeobj = ptr::null();
        // SAFETY: the future of a lookup is valid and ready, and the place is valid.
        self.check(unsafe { (self.api().flux_kvs_lookup_get_treeobj)(self.f, &mut treeobj) })?;
        // SAFETY: the string is terminated, and valid as long as a response's bytes.
        Ok(unsafe { CStr::from_ptr(treeobj) }.to_bytes())
    }

    fn done(&self) -> Result<()> {
        // SAFETY: the future is valid and ready; the null pointer asks for no value.
        self.check(unsafe { (self.api().flux_future_get)(self.f, ptr::null_mut()) })
    }

    /// Whether the value is the last one.
    fn is_over(&self) -> bool {
        self.matchtag == MATCHTAG_NONE
            || (self.is_ready() && (!self.course.streaming || self.has_error()))
    }

    /// Forgets this value of a stream that has not ended.
    ///
    /// # Safety
    ///
    /// The value is not borrowed.
    unsafe fn next(&self) {
        if self.course.streaming && !self.has_error() {
            // SAFETY: the future is valid, and its value not borrowed.
            unsafe { (self.api().flux_future_reset)(self.f) };
        }
    }

    /// Whether the last response has arrived, so that libflux frees the matchtag
    /// with the future. Forgets the values of a stream that have arrived.
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
            // It fails only if the connection is lost, and then nothing streams.
            let _ = sigmask::sending(|| {
                // SAFETY: the future of a lookup is valid.
                let rc = unsafe { (self.api().flux_kvs_lookup_cancel)(self.f) };
                self.session.connection.check(rc)
            });
        }
        // SAFETY: this owns the future, and destroys it once, while the handle is
        // valid.
        unsafe { (self.api().flux_future_destroy)(self.f) };
        if over {
            self.session.connection.released(self.matchtag);
        } else {
            self.session.connection.given_up(self.matchtag);
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
            ValueKind::Response => self.response(),
            ValueKind::Done => self.done().map(|()| None),
            ValueKind::Bytes => self.bytes().map(Some),
            ValueKind::Treeobj => self.treeobj().map(Some),
        }
    }

    fn reset(&mut self) {
        // SAFETY: `&mut self`, so the value is not borrowed.
        unsafe { self.next() };
    }

    fn then(self: Box<Self>, continuation: Continuation) -> Result<Box<dyn Watcher>> {
        then(*self, continuation)
    }
}

/// Makes the reactor call `continuation` each time the future is fulfilled.
fn then(future: FluxFuture, continuation: Continuation) -> Result<Box<dyn Watcher>> {
    if future.is_over() {
        return soon(future, continuation);
    }
    let session = Rc::clone(&future.session);
    session.listen()?;
    let awaited = Rc::new(Awaited {
        session,
        future: RefCell::new(None),
        continuation,
        is_calling: Cell::new(false),
    });
    // SAFETY: `awaited` owns the future, and drops it before itself.
    let begun = unsafe { future.call_on_fulfilled(on_fulfilled, session::arg(&awaited)) };
    awaited.future.replace(Some(future));
    begun?;
    Ok(Box::new(Then(awaited)))
}

/// Calls the continuation of a future that is over, once. libflux would wait for
/// a response nevertheless; if none is to come (to a request that wants none), it
/// would take those of others.
fn soon(future: FluxFuture, continuation: Continuation) -> Result<Box<dyn Watcher>> {
    let session = Rc::clone(&future.session);
    let callback: Callback = Rc::new(move |_| continuation(&future));
    let now = Source::Timer {
        after: 0.0,
        repeat: 0.0,
    };
    watcher::watch(&session, now, callback)
}

/// Gives the future up when it is dropped. If a call of its continuation drops
/// it, this happens at the end of that call, which may use the future until
/// then.
struct Then(#[expect(dead_code, reason = "only kept alive")] Rc<Awaited>);

/// The data to which libflux has a pointer.
struct Awaited {
    session: Rc<Session>,
    /// None after the last call.
    future: RefCell<Option<FluxFuture>>,
    continuation: Continuation,
    is_calling: Cell<bool>,
}

impl Watcher for Then {}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Called for Awaited {
    fn session(self: &Rc<Self>) -> &Rc<Session> {
        &self.session
    }
}

impl Awaited {
    /// Calls the continuation. A value that arrives in a nested run of the reactor
    /// waits until the call is over, because the call may use the present one.
    fn fulfilled(self: &Rc<Self>) {
        if self.is_calling.replace(true) {
            return;
        }
        if let Some(future) = &*self.future.borrow() {
            self.session.reactor.handle();
            self.session.guard(|| (self.continuation)(future));
        }
        self.is_calling.set(false);
        self.go_on();
    }

    /// Requests the next value, or ends.
    fn go_on(&self) {
        let is_over = |future: &FluxFuture| {
            let is_over = future.is_over();
            // SAFETY: only the continuation borrows the value, and it has returned.
            unsafe { future.next() };
            is_over
        };
        if self.future.borrow().as_ref().is_none_or(is_over) {
            self.finish();
        }
    }

    /// Drops the future, whose message handler would keep the reactor running.
    fn finish(&self) {
        if let Some(future) = self.future.take() {
            drop(future);
            self.session.unlisten();
        }
    }
}

/// libflux calls this each time a future is fulfilled.
unsafe extern "C" fn on_fulfilled(_: *mut flux_future_t, arg: *mut c_void) {
    // SAFETY: libflux passes the pointer to `Awaited`, which owns the future and
    // so lives.
    unsafe { session::enter(arg, Awaited::fulfilled) };
}
