//! One `flux_t` and its owner, with its queue of received messages and the
//! matchtags that it has out. Messages, futures and watchers that need the
//! `flux_t` alive share this. What a script asks of it is `handle`'s; its
//! reactor and message handlers are `reactor`'s and `dispatch`'s.

use std::cell::RefCell;
use std::ffi::{CStr, c_int};
use std::ptr;
use std::time::{Duration, Instant};

use super::close;
use super::dispatch::Dispatch;
use super::lookout::Lookout;
use super::message::FluxMessage;
use super::reactor::Runs;
use super::sigmask;
use super::sys::{self, Api, flux_match, flux_t};
use super::tags::Tags;
use super::text::terminated;
use crate::backend::{Error, MATCHTAG_NONE, Match, Result, msgtype};

/// Owns a reference on a `flux_t`.
pub struct Connection {
    pub api: &'static Api,
    h: *mut flux_t,
    /// C code opened it, and runs the dispatcher that discards late responses.
    external: bool,
    tags: RefCell<Tags>,
    pub dispatch: Dispatch,
    pub runs: Runs,
    pub lookout: Lookout,
}

impl Connection {
    /// Take over what `flux_open` returned, or a reference of an `external` one.
    ///
    /// # Safety
    ///
    /// `h` is a valid `flux_t` that is used on this thread only, and one
    /// reference on it is the caller's to give.
    pub unsafe fn from_owned(api: &'static Api, h: *mut flux_t, external: bool) -> Connection {
        Connection {
            api,
            h,
            external,
            tags: RefCell::default(),
            dispatch: Dispatch::default(),
            runs: Runs::default(),
            lookout: Lookout::default(),
        }
    }

    pub fn as_ptr(&self) -> *mut flux_t {
        self.h
    }

    pub fn is_external(&self) -> bool {
        self.external
    }

    pub fn send(&self, msg: &FluxMessage) -> Result<()> {
        sigmask::sending(|| self.write(msg))
    }

    /// Send a request whose response [`Connection::recv`] will return.
    pub fn send_request(&self, request: &FluxMessage, nodeid: u32, flags: c_int) -> Result<u32> {
        self.sweep();
        let matchtag = sigmask::sending(|| {
            let matchtag = self.allocate()?;
            let sent = request.address(nodeid, flags, matchtag);
            if let Err(error) = sent.and_then(|()| self.write(request)) {
                self.free(matchtag);
                return Err(error);
            }
            Ok(matchtag)
        })?;
        self.tags.borrow_mut().sent(matchtag);
        Ok(matchtag)
    }

    /// A future of this handle has this tag now.
    pub fn held(&self, matchtag: u32) {
        self.tags.borrow_mut().held(matchtag);
    }

    /// Whether some future waits, or will, for the response with this tag.
    pub fn is_held(&self, matchtag: u32) -> bool {
        self.tags.borrow().is_held(matchtag)
    }

    /// A future is gone whose last response has come.
    pub fn released(&self, matchtag: u32) {
        self.tags.borrow_mut().released(matchtag);
    }

    /// A future is gone whose last response has not come. libflux does not
    /// free its tag; in an external handle the dispatcher will.
    pub fn given_up(&self, matchtag: u32) {
        if self.external {
            self.released(matchtag);
        } else {
            self.tags.borrow_mut().given_up(matchtag);
        }
    }

    /// The response to this sent request is for nobody any more.
    pub fn forget(&self, matchtag: u32) {
        if self.tags.borrow().is_sent(matchtag) {
            self.given_up(matchtag);
        }
    }

    /// Discard what has arrived for futures given up, so that their tags can
    /// be used again.
    pub fn sweep(&self) {
        if !self.tags.borrow().has_given_up() {
            return;
        }
        self.unpark(MATCHTAG_NONE);
        let mut passed = Passed::new(self);
        // An error here is the connection's, which the call in hand will meet.
        while let Ok(msg) = self.take(sys::FLUX_O_NONBLOCK) {
            if !self.discard(&msg) {
                passed.push(msg);
            }
        }
    }

    /// The first message that is wanted; the others keep their order.
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

    /// Move this response to the head of the queue, if it has arrived.
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

    /// Back into the queue with the responses that the reactor met before
    /// anybody waited for them: those with this matchtag, or all.
    pub fn unpark(&self, matchtag: u32) {
        let mut passed = Passed::new(self);
        passed.messages = self.dispatch.take_parked(matchtag);
    }

    /// One of libflux's numbers about the instance.
    pub fn number(&self, get: unsafe extern "C" fn(*mut flux_t, *mut u32) -> c_int) -> Result<u32> {
        let mut number = 0;
        self.ensure_pollfd()?;
        sigmask::sending_and_waiting(|| {
            // SAFETY: a valid handle; `get` is one of libflux's accessors,
            // which write the number where they are told.
            self.check(unsafe { get(self.h, &mut number) })
        })?;
        Ok(number)
    }

    /// A NUL in the text becomes `\0`. Each line is an entry of its own, which
    /// libflux would see to as well, but with a call inside a call a line.
    pub fn log(&self, level: i32, text: &str) -> Result<()> {
        // libflux asks for it while it sends, where it must not wait. Where
        // there is none it logs without.
        let _ = self.number(self.api.flux_get_rank);
        let text = text.replace('\0', "\\0");
        let lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
        for line in lines {
            self.log_line(level, &terminated(line)?)?;
        }
        Ok(())
    }

    fn log_line(&self, level: i32, line: &CStr) -> Result<()> {
        sigmask::sending(|| {
            // SAFETY: a valid handle, and a format that takes the one string
            // that is passed.
            self.check(unsafe { (self.api.flux_log)(self.h, level, c"%s".as_ptr(), line.as_ptr()) })
        })
    }

    /// Before whatever has libflux watch the handle, as each wait does. Without
    /// a descriptor to watch, versions before 0.70 call a null pointer.
    pub fn ensure_pollfd(&self) -> Result<()> {
        if self.api.flux_watcher_unref.is_some() {
            return Ok(());
        }
        // SAFETY: a valid handle.
        self.check(unsafe { (self.api.flux_pollfd)(self.h) })
    }

    /// Whether the broker is gone.
    pub fn is_broken(&self) -> bool {
        // SAFETY: a valid handle.
        let events = unsafe { (self.api.flux_pollevents)(self.h) };
        events < 0 || events & sys::FLUX_POLLERR != 0
    }

    pub fn check(&self, rc: c_int) -> Result<()> {
        if rc < 0 {
            return Err(Error::last_os_error());
        }
        Ok(())
    }

    /// The next message of any kind. `ETIMEDOUT` when there is none by the
    /// deadline; without one, `EAGAIN` where the connector cannot block (a
    /// loopback: nobody could send meanwhile).
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
                    // The peer hung up; what it sent before, or the reason,
                    // is still to be read.
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
        // SAFETY: a valid handle; a message of ours or null is returned.
        unsafe {
            let msg = (self.api.flux_recv)(self.h, any, flags);
            FluxMessage::from_owned(self.api, msg)
        }
    }

    /// Wait for the handle's descriptor, which becomes readable on each new
    /// event; an early return is no error. Nothing is in the queue meanwhile
    /// (what did not match is off it), so only what is new ends the wait.
    fn poll(&self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(libc::ETIMEDOUT));
        }
        // SAFETY: a valid handle, to which the descriptor belongs.
        let fd = unsafe { (self.api.flux_pollfd)(self.h) };
        self.check(fd)?;
        if !wait_readable(fd, left)? {
            return Ok(());
        }
        // SAFETY: a valid handle. This consumes the event.
        self.check(unsafe { (self.api.flux_pollevents)(self.h) })
    }

    /// Whether this is a late response that nobody waits for; its tag is then
    /// seen to.
    pub fn discard(&self, msg: &FluxMessage) -> bool {
        if !self.tags.borrow().has_given_up() {
            return false;
        }
        let late = msg
            .response_tag()
            .is_some_and(|tag| self.tags.borrow().is_given_up(tag));
        if late {
            self.settle(msg);
        }
        late
    }

    /// A message leaves the queue for good: a response may free its tag.
    pub fn settle(&self, msg: &FluxMessage) {
        let Some(matchtag) = msg.response_tag() else {
            return;
        };
        let last = msg.is_last_response();
        if self.tags.borrow_mut().answered(matchtag, last) {
            self.free(matchtag);
        }
    }

    /// Needs `sigmask::sending` round it, as `allocate` does, which may log
    /// that the pool of tags has grown.
    fn write(&self, msg: &FluxMessage) -> Result<()> {
        // SAFETY: a valid handle and message; libflux copies what it keeps.
        self.check(unsafe { (self.api.flux_send)(self.h, msg.as_ptr(), 0) })
    }

    fn allocate(&self) -> Result<u32> {
        // SAFETY: a valid handle.
        match unsafe { (self.api.flux_matchtag_alloc)(self.h) } {
            MATCHTAG_NONE => Err(Error::last_os_error()),
            matchtag => Ok(matchtag),
        }
    }

    fn free(&self, matchtag: u32) {
        // SAFETY: a valid handle, whose tag this is, allocated and not freed.
        unsafe { (self.api.flux_matchtag_free)(self.h, matchtag) };
    }

    /// To the head of the queue. That fails only for want of memory, or where
    /// the owner of an external handle has done without a queue.
    fn put_back(&self, msg: &FluxMessage) {
        // SAFETY: a valid handle and message; the queue takes a reference.
        unsafe { (self.api.flux_requeue)(self.h, msg.as_ptr(), sys::FLUX_RQ_HEAD) };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.dispatch.close(self.api);
        self.lookout.close(self.api);
        // SAFETY: our reference, given up once.
        unsafe { close::close(self.api, self.h) };
    }
}

/// Messages taken off the queue that somebody else may want. They go back, to
/// where they were, when this is dropped. (`flux_recv` with a match would put
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

/// Whether `fd` became readable; false when time passed, or on a signal.
fn wait_readable(fd: c_int, timeout: Duration) -> Result<bool> {
    let mut pollfd = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    };
    // SAFETY: one pollfd and a timespec, both ours; no signal mask.
    let rc = unsafe { libc::ppoll(&mut pollfd, 1, &timeout, ptr::null()) };
    if rc >= 0 {
        return Ok(rc > 0);
    }
    match Error::last_os_error() {
        error if error.errnum == libc::EINTR => Ok(false),
        error => Err(error),
    }
}
