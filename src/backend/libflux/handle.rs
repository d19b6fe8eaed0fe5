//! A handle that libflux-core opened. The calls that need more than a few lines
//! are in the modules named for their objects.

use std::ffi::{c_char, c_int};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use super::future::{Course, FluxFuture, ValueKind};
use super::kvs::{self, FluxTransaction};
use super::library;
use super::message::FluxMessage;
use super::open::open_connection;
use super::reactor::Stop;
use super::session::Session;
use super::sigmask;
use super::sys::{self, flux_future_t, flux_t};
use super::text::{self, terminated, terminated_if_any};
use super::watcher;
use crate::backend::reactor::{Callback, RunMode, Source, Watcher};
use crate::backend::{
    Error, Future, Handle, Match, Message, NODEID_UPSTREAM, Result, Transaction, msgtype, rpc_flags,
};

/// A handle that libflux-core opened.
pub struct FluxHandle {
    session: Rc<Session>,
    /// The URI of the broker. None for Flux's own default.
    uri: Option<String>,
}

/// A libflux call that asks the broker something about a topic.
type AboutTopic = unsafe extern "C" fn(*mut flux_t, *const c_char, c_int) -> *mut flux_future_t;

/// Opens a handle as `flux_open` does: without a URI, the one in `FLUX_URI`, else
/// Flux's own default. The error says what could not be reached, or, if
/// libflux-core is not installed, how to do without it.
pub fn open(uri: Option<&str>) -> Result<FluxHandle> {
    let (connection, uri) = open_connection(uri)?;
    Ok(FluxHandle::new(connection, uri))
}

impl FluxHandle {
    fn new(connection: Connection, uri: Option<String>) -> FluxHandle {
        let session = Rc::new(Session::new(connection));
        FluxHandle { session, uri }
    }

    /// A handle on a `flux_t` that C code opened. Its reactor and dispatcher
    /// still belong to that code. Takes a reference.
    ///
    /// # Safety
    ///
    /// `h` is a valid `flux_t` that is used on this thread only.
    pub unsafe fn from_raw(h: *mut flux_t) -> Result<FluxHandle> {
        let api = library::api()?;
        // SAFETY: valid by the contract. The connection owns the new reference.
        let connection = unsafe { Connection::from_owned(api, (api.flux_incref)(h), true) };
        Ok(FluxHandle::new(connection, None))
    }

    /// The `flux_t`, which is valid as long as this, or any future of it, lives.
    pub fn as_ptr(&self) -> *mut flux_t {
        self.connection().as_ptr()
    }

    fn connection(&self) -> &Connection {
        &self.session.connection
    }

    /// The nodeid and the message flags of a request. libflux takes the upstream
    /// nodeid only of its own RPCs; a message has the sender's rank, and a flag.
    fn destination(&self, nodeid: u32) -> Result<(u32, i32)> {
        if nodeid != NODEID_UPSTREAM {
            return Ok((nodeid, 0));
        }
        Ok((self.rank()?, sys::FLUX_MSGFLAG_UPSTREAM))
    }

    /// Asks the broker something about a topic, and waits for the response.
    ///
    /// # Safety
    ///
    /// `call` takes a valid handle, a terminated topic that it copies, and flags.
    /// It returns a new future of an RPC, or null with errno set.
    unsafe fn ask(&self, call: AboutTopic, topic: &str) -> Result<()> {
        let topic = terminated(topic)?;
        self.connection().sweep();
        // SAFETY: the handle is valid and the topic terminated; the rest by the
        // contract.
        let answer = unsafe {
            self.start(ValueKind::Done, 0, || {
                call(self.as_ptr(), topic.as_ptr(), 0)
            })
        }?;
        answer.payload().map(|_| ())
    }

    /// Starts an RPC. `flags`: [`rpc_flags`].
    ///
    /// # Safety
    ///
    /// `call` returns a new future of an RPC on this handle, whose value has the
    /// kind `value`, or null with errno just set.
    unsafe fn start(
        &self,
        value: ValueKind,
        flags: i32,
        call: impl FnOnce() -> *mut flux_future_t,
    ) -> Result<FluxFuture> {
        let course = Course {
            value,
            streaming: flags & rpc_flags::STREAMING != 0,
            cancels: false,
        };
        sigmask::sending(|| {
            // SAFETY: by the contract.
            unsafe { FluxFuture::from_owned(&self.session, call(), course) }
        })
    }

    /// Responds to a request, if it wants a response. `payload`: the error text if
    /// `errnum` is not 0.
    fn answer(&self, request: &dyn Message, errnum: i32, payload: Option<&[u8]>) -> Result<()> {
        let payload = terminated_if_any(payload)?;
        let request = request.as_any().downcast_ref::<FluxMessage>();
        let request = request.ok_or_else(|| Error::new(libc::EINVAL))?;
        if request.msgtype() != msgtype::REQUEST {
            return Err(Error::new(libc::EPROTO));
        }
        if request.is_noresponse() {
            return Ok(());
        }
        self.connection().send(&request.response(errnum, &payload)?)
    }
}

impl Handle for FluxHandle {
    fn attr_get(&self, name: &str) -> Result<String> {
        self.connection().attr_get(&terminated(name)?)
    }

    fn rank(&self) -> Result<u32> {
        self.connection().rank()
    }

    fn size(&self) -> Result<u32> {
        self.connection().size()
    }

    fn send(&self, topic: &str, payload: Option<&[u8]>, nodeid: u32) -> Result<u32> {
        let topic = terminated(topic)?;
        let payload = terminated_if_any(payload)?;
        let (nodeid, flags) = self.destination(nodeid)?;
        let connection = self.connection();
        connection.send_request(&topic, &payload, nodeid, flags)
    }

    fn give_up(&self, matchtag: u32) {
        self.connection().forget(matchtag);
    }

    fn send_event(&self, topic: &str, payload: Option<&[u8]>) -> Result<()> {
        let topic = terminated(topic)?;
        let payload = terminated_if_any(payload)?;
        let event = FluxMessage::event(self.session.api(), &topic, &payload)?;
        self.connection().send(&event)
    }

    fn recv(&self, wanted: &Match, timeout: Option<Duration>) -> Result<Arc<dyn Message>> {
        let msg = self.connection().recv(wanted, timeout)?;
        Ok(msg.into_shared())
    }

    fn respond(&self, request: &dyn Message, payload: Option<&[u8]>) -> Result<()> {
        self.answer(request, 0, payload)
    }

    fn respond_error(&self, request: &dyn Message, errnum: i32, text: Option<&str>) -> Result<()> {
        if errnum == 0 {
            return Err(Error::new(libc::EINVAL));
        }
        self.answer(request, errnum, text.map(str::as_bytes))
    }

    fn rpc(
        &self,
        topic: &str,
        payload: Option<&[u8]>,
        nodeid: u32,
        flags: i32,
    ) -> Result<Box<dyn Future>> {
        let topic = terminated(topic)?;
        let payload = terminated_if_any(payload)?;
        // libflux asks for the rank while it sends, where it must not wait.
        self.destination(nodeid)?;
        self.connection().sweep();
        let value = if flags & rpc_flags::NORESPONSE != 0 {
            ValueKind::Done
        } else {
            ValueKind::Response
        };
        // SAFETY: the handle is valid; the strings are terminated, and copied by
        // the call, which returns a new future or null.
        let future = unsafe {
            self.start(value, flags, || {
                let payload = text::pointer(&payload);
                let rpc = self.session.api().flux_rpc;
                rpc(self.as_ptr(), topic.as_ptr(), payload, nodeid, flags)
            })
        }?;
        Ok(Box::new(future))
    }

    fn subscribe(&self, topic: &str) -> Result<()> {
        // SAFETY: it is such a call.
        unsafe { self.ask(self.session.api().flux_event_subscribe_ex, topic) }
    }

    fn unsubscribe(&self, topic: &str) -> Result<()> {
        // SAFETY: it is such a call.
        unsafe { self.ask(self.session.api().flux_event_unsubscribe_ex, topic) }
    }

    fn lookup(&self, namespace: Option<&str>, flags: i32, key: &str) -> Result<Box<dyn Future>> {
        let future = kvs::lookup(&self.session, namespace, flags, key)?;
        Ok(Box::new(future))
    }

    fn transaction(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(FluxTransaction::new(self.session.api())?))
    }

    fn commit(
        &self,
        namespace: Option<&str>,
        flags: i32,
        transaction: &mut dyn Transaction,
    ) -> Result<Box<dyn Future>> {
        let future = kvs::commit(&self.session, namespace, flags, transaction)?;
        Ok(Box::new(future))
    }

    fn log(&self, level: i32, text: &str) -> Result<()> {
        if !(0..=7).contains(&level) {
            return Err(Error::new(libc::EINVAL));
        }
        self.connection().log(level, text)
    }

    fn reactor_run(&self, mode: RunMode) -> Result<u32> {
        self.session.run(mode)
    }

    fn reactor_stop(&self) {
        let session = &self.session;
        session.reactor.stop(&session.connection, Stop::Done);
    }

    fn reactor_stop_error(&self) {
        let session = &self.session;
        session.reactor.stop(&session.connection, Stop::Error);
    }

    fn watch(&self, source: Source<'_>, callback: Callback) -> Result<Box<dyn Watcher>> {
        watcher::watch(&self.session, source, callback)
    }

    fn reopen(&self) -> Result<Box<dyn Handle>> {
        if self.connection().is_external() {
            let uri = self.attr_get("local-uri")?;
            return Ok(Box::new(open(Some(&uri))?));
        }
        Ok(Box::new(open(self.uri.as_deref())?))
    }
}
