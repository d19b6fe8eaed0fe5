//! Owns one `flux_t`, with its queue of received messages and the matchtags in
//! use. `session` has the reactor and the message handlers, and `handle` the
//! operations of scripts.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::time::{Duration, Instant};

use super::close;
use super::message::FluxMessage;
use super::sigmask;
use super::sys::{self, Api, flux_match, flux_reactor_t, flux_t};
use super::tags::Tags;
use super::text::{self, terminated};
use crate::backend::system::{self, poll_entry};
use crate::backend::{Error, MATCHTAG_NONE, Match, Result, msgtype};

/// Owns a reference on a `flux_t`.
pub struct Connection {
    /// libflux-core's functions.
    pub api: &'static Api,
    h: *mut flux_t,
    /// Whether C code opened the handle. It then runs the dispatcher, which
    /// discards late responses.
    external: bool,
    tags: RefCell<Tags>,
    /// The responses that the reactor has read for futures that nobody waits
    /// for yet.
    parked: RefCell<Vec<FluxMessage>>,
}

impl Connection {
    /// Takes over a reference on a handle. `external` means that C code opened
    /// it.
    ///
    /// # Safety
    ///
    /// `h` is a valid `flux_t` that is used on this thread only, and the caller
    /// owns a reference on it and gives it up.
    pub unsafe fn from_owned(api: &'static Api, h: *mut flux_t, external: bool) -> Connection {
        Connection {
            api,
            h,
            external,
            tags: RefCell::default(),
            parked: RefCell::default(),
        }
    }

    /// The `flux_t`, which is valid as long as this lives.
    pub fn as_ptr(&self) -> *mut flux_t {
        self.h
    }

    /// Whether C code opened the handle.
    pub fn is_external(&self) -> bool {
        self.external
    }

    /// Sends a message.
    pub fn send(&self, msg: &FluxMessage) -> Result<()> {
        sigmask::sending(|| self.write(msg))
    }

    /// Sends a request whose response [`Connection::recv`] will return. Returns
    /// its matchtag. `flags` is a set of `FLUX_MSGFLAG_*` bits.
    pub fn send_request(
        &self,
        topic: &CStr,
        payload: &Option<CString>,
        nodeid: u32,
        flags: c_int,
    ) -> Result<u32> {
        self.sweep();
        let matchtag = sigmask::sending(|| {
            let matchtag = self.allocate()?;
            let request = FluxMessage::request(self.api, topic, payload, nodeid, flags, matchtag);
            if let Err(error) = request.and_then(|request| self.write(&request)) {
                self.free(matchtag);
                return Err(error);
            }
            Ok(matchtag)
        })?;
        self.tags.borrow_mut().sent(matchtag);
        Ok(matchtag)
    }

    /// Records the matchtag of a new future.
    pub fn held(&self, matchtag: u32) {
        self.tags.borrow_mut().held(matchtag);
    }

    /// Records that a future is gone whose last response has arrived.
    pub fn released(&self, matchtag: u32) {
        self.tags.borrow_mut().released(matchtag);
    }

    /// Records that a future is gone whose last response has not arrived.
    /// libflux does not free its matchtag; in an external handle the dispatcher
    /// will.
    pub fn given_up(&self, matchtag: u32) {
        if self.external {
            self.released(matchtag);
        } else {
            self.tags.borrow_mut().given_up(matchtag);
        }
    }

    /// Gives up a request that [`Connection::send_request`] sent.
    pub fn forget(&self, matchtag: u32) {
        if self.tags.borrow().is_sent(matchtag) {
            self.given_up(matchtag);
        }
    }

    /// Discards the responses that have arrived for futures given up, so that
    /// their matchtags can be used again.
    pub fn sweep(&self) {
        if !self.tags.borrow().has_given_up() {
            return;
        }
        self.unpark(MATCHTAG_NONE);
        let mut passed = Passed::new(self);
        // An error here means that the connection has failed. The caller's next
        // call reports it.
        while let Ok(msg) = self.take(sys::FLUX_O_NONBLOCK) {
            if !self.discard(&msg) {
                passed.push(msg);
            }
        }
    }

    /// Takes the first message that matches; the others keep their order.
    /// ETIMEDOUT if `timeout` passes first.
    pub fn recv(&self, wanted: &Match, timeout: Option<Duration>) -> Result<FluxMessage> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.unpark(MATCHTAG_NONE);
        let mut passed = Passed::new(self);
        loop {
            let msg = self.next(deadline)?;
            if self.discard(&msg) {
                continue;
            }
            if msg.matches(wanted) {
                self.settle(&msg);
                return Ok(msg);
            }
            passed.push(msg);
        }
    }

    /// Moves the response with this matchtag to the head of the queue. Returns
    /// whether it has arrived.
    pub fn bring_forward(&self, matchtag: u32) -> Result<bool> {
        let wanted = Match {
            typemask: msgtype::RESPONSE,
            matchtag,
        };
        self.unpark(matchtag);
        let mut passed = Passed::new(self);
        loop {
            let msg = match self.take(sys::FLUX_O_NONBLOCK) {
                Ok(msg) => msg,
                Err(error) if error.errnum == libc::EAGAIN => return Ok(false),
                Err(error) => return Err(error),
            };
            if msg.matches(&wanted) {
                drop(passed);
                self.put_back(&msg);
                return Ok(true);
            }
            passed.push(msg);
        }
    }

    /// Keeps a response for a future that is not waited for yet. Returns whether
    /// there is such a future.
    pub fn park(&self, msg: &FluxMessage) -> bool {
        let tag = msg.response_tag();
        let is_held = tag.is_some_and(|tag| self.tags.borrow().is_held(tag));
        if is_held {
            self.parked.borrow_mut().push(msg.clone());
        }
        is_held
    }

    /// Puts parked responses back into the queue: those with this matchtag, or
    /// all for `MATCHTAG_NONE`.
    pub fn unpark(&self, matchtag: u32) {
        let mut passed = Passed::new(self);
        let parked = self.parked.take();
        if matchtag == MATCHTAG_NONE {
            passed.messages = parked;
            return;
        }
        let is_wanted = |msg: &FluxMessage| msg.response_tag() == Some(matchtag);
        let (wanted, others) = parked.into_iter().partition(is_wanted);
        self.parked.replace(others);
        passed.messages = wanted;
    }

    /// The value of a broker attribute.
    pub fn attr_get(&self, name: &CStr) -> Result<String> {
        self.ensure_pollfd()?;
        sigmask::sending_and_waiting(|| {
            // SAFETY: the handle is valid and the name terminated. The value is
            // valid until the handle's next call, and is copied here.
            let value = unsafe { text::copied((self.api.flux_attr_get)(self.h, name.as_ptr())) };
            value.ok_or_else(Error::last_os_error)
        })
    }

    /// The rank of the broker.
    pub fn rank(&self) -> Result<u32> {
        // SAFETY: the accessor writes one number.
        unsafe { self.number(self.api.flux_get_rank) }
    }

    /// How many brokers the instance has.
    pub fn size(&self) -> Result<u32> {
        // SAFETY: the accessor writes one number.
        unsafe { self.number(self.api.flux_get_size) }
    }

    /// # Safety
    ///
    /// `get` takes any valid handle, and writes a number to the pointer.
    unsafe fn number(
        &self,
        get: unsafe extern "C" fn(*mut flux_t, *mut u32) -> c_int,
    ) -> Result<u32> {
        let mut number = 0;
        self.ensure_pollfd()?;
        sigmask::sending_and_waiting(|| {
            // SAFETY: the handle is valid; the rest by the contract.
            self.check(unsafe { get(self.h, &mut number) })
        })?;
        Ok(number)
    }

    /// Writes a text to the broker's log, one entry for each line. (libflux
    /// would split it too, but with a nested call for each line.) A NUL in the
    /// text becomes `\0`.
    pub fn log(&self, level: i32, text: &str) -> Result<()> {
        // libflux asks for the rank while it sends, where it must not wait.
        // Without a rank it logs all the same.
        let _ = self.rank();
        let text = text.replace('\0', "\\0");
        let lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
        for line in lines {
            self.log_line(level, &terminated(line)?)?;
        }
        Ok(())
    }

    fn log_line(&self, level: i32, line: &CStr) -> Result<()> {
        sigmask::sending(|| {
            // SAFETY: the handle is valid, and the format takes one string.
            self.check(unsafe { (self.api.flux_log)(self.h, level, c"%s".as_ptr(), line.as_ptr()) })
        })
    }

    /// The handle's reactor.
    pub fn reactor(&self) -> Result<*mut flux_reactor_t> {
        // SAFETY: the handle is valid. The reactor lives as long as the handle,
        // or is its C owner's.
        let r = unsafe { (self.api.flux_get_reactor)(self.h) };
        if r.is_null() {
            return Err(Error::last_os_error());
        }
        Ok(r)
    }

    /// Makes sure that the handle has a descriptor. This must succeed before
    /// libflux watches the handle, which it does whenever it waits. Without a
    /// descriptor, versions before 0.70 call a null pointer.
    pub fn ensure_pollfd(&self) -> Result<()> {
        if self.api.flux_watcher_unref.is_some() {
            return Ok(());
        }
        // SAFETY: the handle is valid.
        self.check(unsafe { (self.api.flux_pollfd)(self.h) })
    }

    /// Whether the broker is gone.
    pub fn is_broken(&self) -> bool {
        // SAFETY: the handle is valid.
        let events = unsafe { (self.api.flux_pollevents)(self.h) };
        events < 0 || events & sys::FLUX_POLLERR != 0
    }

    /// The errno of a libflux call that has just returned `rc`, if it failed.
    pub fn check(&self, rc: c_int) -> Result<()> {
        if rc < 0 {
            return Err(Error::last_os_error());
        }
        Ok(())
    }

    /// Takes the next message of any kind. Fails with `ETIMEDOUT` if none
    /// arrives by the deadline. Without a deadline, fails with `EAGAIN` if the
    /// connector cannot block (a loopback, to which nobody else could send).
    fn next(&self, deadline: Option<Instant>) -> Result<FluxMessage> {
        loop {
            match self.take(sys::FLUX_O_NONBLOCK) {
                Err(error) if error.errnum == libc::EAGAIN => {}
                taken => return taken,
            }
            match deadline {
                Some(deadline) => self.poll(deadline)?,
                None => match self.take(0) {
                    Err(error) if error.errnum == libc::EINTR => {}
                    // The peer hung up. Its last messages, or the reason, can
                    // still be read.
                    Err(error) if error.errnum == libc::EIO => {}
                    taken => return taken,
                },
            }
        }
    }

    fn take(&self, flags: c_int) -> Result<FluxMessage> {
        let any = flux_match {
            typemask: msgtype::ANY,
            matchtag: MATCHTAG_NONE,
            topic_glob: ptr::null(),
        };
        // SAFETY: the handle is valid; the call returns a message that is the
        // caller's, or null with errno set.
        unsafe {
            let msg = (self.api.flux_recv)(self.h, any, flags);
            FluxMessage::from_owned(self.api, msg)
        }
    }

    /// Waits for the handle's descriptor, which becomes readable on each new
    /// event. May return early. The queue is empty meanwhile (messages that did
    /// not match are off it), so only a new message ends the wait.
    fn poll(&self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(libc::ETIMEDOUT));
        }
        // SAFETY: the handle is valid. The descriptor stays the handle's.
        let fd = unsafe { (self.api.flux_pollfd)(self.h) };
        self.check(fd)?;
        let mut entry = [poll_entry(fd, libc::POLLIN)];
        system::poll(&mut entry, Some(left))?;
        if entry[0].revents == 0 {
            return Ok(());
        }
        // SAFETY: the handle is valid. The call consumes the event.
        self.check(unsafe { (self.api.flux_pollevents)(self.h) })
    }

    /// Whether this is a late response that nobody waits for. If so, its
    /// matchtag is freed if it was the last.
    pub fn discard(&self, msg: &FluxMessage) -> bool {
        if !self.tags.borrow().has_given_up() {
            return false;
        }
        let tag = msg.response_tag();
        let is_late = tag.is_some_and(|tag| self.tags.borrow().is_given_up(tag));
        if is_late {
            self.settle(msg);
        }
        is_late
    }

    /// Records that a message has left the queue for good. If it is a response,
    /// this may free its matchtag.
    pub fn settle(&self, msg: &FluxMessage) {
        let Some(matchtag) = msg.response_tag() else {
            return;
        };
        let last = msg.is_last_response();
        if self.tags.borrow_mut().answered(matchtag, last) {
            self.free(matchtag);
        }
    }

    /// Sends a message. Call this only within `sigmask::sending`. The same
    /// holds for `allocate`: it may log that the pool of matchtags has grown,
    /// which also sends.
    fn write(&self, msg: &FluxMessage) -> Result<()> {
        // SAFETY: the handle and the message are valid; libflux copies what it
        // keeps.
        self.check(unsafe { (self.api.flux_send)(self.h, msg.as_ptr(), 0) })
    }

    fn allocate(&self) -> Result<u32> {
        // SAFETY: the handle is valid.
        match unsafe { (self.api.flux_matchtag_alloc)(self.h) } {
            MATCHTAG_NONE => Err(Error::last_os_error()),
            matchtag => Ok(matchtag),
        }
    }

    fn free(&self, matchtag: u32) {
        // SAFETY: the handle is valid. A number that is not an allocated
        // matchtag of it is refused.
        unsafe { (self.api.flux_matchtag_free)(self.h, matchtag) };
    }

    /// Puts a message at the head of the queue. It fails only for lack of memory,
    /// or if the owner of an external handle has asked for no queue.
    fn put_back(&self, msg: &FluxMessage) {
        // SAFETY: the handle and the message are valid; the queue takes a
        // reference.
        unsafe { (self.api.flux_requeue)(self.h, msg.as_ptr(), sys::FLUX_RQ_HEAD) };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: this owns a reference, and gives it up once.
        unsafe { close::close(self.api, self.h) };
    }
}

/// Messages that were taken off the queue without being wanted. When this is
/// dropped, they go back to their places. (`flux_recv` with a match would put
/// them behind those that it has not looked at, and lose them on an error.)
struct Passed<'a> {
    connection: &'a Connection,
    messages: Vec<FluxMessage>,
}

impl<'a> Passed<'a> {
    fn new(connection: &'a Connection) -> Passed<'a> {
        Passed {
            connection,
            messages: Vec::new(),
        }
    }

    fn push(&mut self, msg: FluxMessage) {
        self.messages.push(msg);
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        for msg in self.messages.drain(..).rev() {
            self.connection.put_back(&msg);
        }
    }
}
