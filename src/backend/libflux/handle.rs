//! What a script asks of a handle, in terms of libflux.

use std::ffi::{c_char, c_int};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use super::future::{Course, FluxFuture, Value};
use super::kvs::{self, FluxTransaction};
use super::message::FluxMessage;
use super::open;
use super::reactor::Stop;
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
    connection: Rc<Connection>,
    /// How to reach the same broker again; `None` for Flux's own default.
    uri: Option<String>,
}

/// libflux's calls that ask the broker something about a topic.
type AboutTopic = unsafe extern "C" fn(*mut flux_t, *const c_char, c_int) -> *mut flux_future_t;

impl FluxHandle {
    pub(super) fn new(connection: Connection, uri: Option<String>) -> FluxHandle {
        FluxHandle {
            connection: Rc::new(connection),
            uri,
        }
    }

    /// The `flux_t`, which lives as long as this, or as a future of it.
    pub fn as_ptr(&self) -> *mut flux_t {
        self.connection.as_ptr()
    }

    /// libflux takes the upstream nodeid only of its own RPCs. In a message it
    /// is the sender's rank, and a flag.
    fn destination(&self, nodeid: u32) -> Result<(u32, i32)> {
        if nodeid != NODEID_UPSTREAM {
            return Ok((nodeid, 0));
        }
        Ok((self.rank()?, sys::FLUX_MSGFLAG_UPSTREAM))
    }

    fn ask(&self, call: AboutTopic, topic: &str) -> Result<()> {
        let topic = terminated(topic)?;
        self.connection.sweep();
        // SAFETY: a valid handle and a terminated topic, which is copied; the
        // future is new.
        let answer =
            unsafe { self.start(Value::Done, 0, || call(self.as_ptr(), topic.as_ptr(), 0)) }?;
        answer.payload().map(|_| ())
    }

    /// The future of the RPC that `call` sends.
    ///
    /// # Safety
    ///
    /// `call` gives a new future of an RPC on this handle, or null with errno
    /// just set.
    unsafe fn start(
        &self,
        value: Value,
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
            unsafe { FluxFuture::from_owned(&self.connection, call(), course) }
        })
    }

    /// Nothing where the request wants no response.
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
        self.connection.send(&request.response(errnum, &payload)?)
    }
}

impl Handle for FluxHandle {
    fn attr_get(&self, name: &str) -> Result<String> {
        let name = terminated(name)?;
        self.connection.ensure_pollfd()?;
        sigmask::sending_and_waiting(|| {
            // SAFETY: a valid handle and a terminated name. The value is the
            // handle's until the next call, and is copied here.
            let value = unsafe {
                let value = (self.connection.api.flux_attr_get)(self.as_ptr(), name.as_ptr());
                text::copied(value)
            };
            value.ok_or_else(Error::last_os_error)
        })
    }

    fn rank(&self) -> Result<u32> {
        self.connection.number(self.connection.api.flux_get_rank)
    }

    fn size(&self) -> Result<u32> {
        self.connection.number(self.connection.api.flux_get_size)
    }

    fn send(&self, topic: &str, payload: Option<&[u8]>, nodeid: u32) -> Result<u32> {
        let topic = terminated(topic)?;
        let payload = terminated_if_any(payload)?;
        let (nodeid, flags) = self.destination(nodeid)?;
        let request = FluxMessage::request(self.connection.api, &topic, &payload)?;
        self.connection.send_request(&request, nodeid, flags)
    }

    fn give_up(&self, matchtag: u32) {
        self.connection.forget(matchtag);
    }

    fn send_event(&self, topic: &str, payload: Option<&[u8]>) -> Result<()> {
        let topic = terminated(topic)?;
        let payload = terminated_if_any(payload)?;
        let event = FluxMessage::event(self.connection.api, &topic, &payload)?;
        self.connection.send(&event)
    }

    fn recv(&self, wanted: &Match, timeout: Option<Duration>) -> Result<Arc<dyn Message>> {
        let msg = self.connection.recv(wanted, timeout)?;
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
        self.connection.sweep();
        let value = if flags & rpc_flags::NORESPONSE != 0 {
            Value::Done
        } else {
            Value::Response
        };
        // SAFETY: a valid handle, and terminated strings, which are copied; the
        // future is new.
        let future = unsafe {
            self.start(value, flags, || {
                let payload = text::pointer(&payload);
                let rpc = self.connection.api.flux_rpc;
                rpc(self.as_ptr(), topic.as_ptr(), payload, nodeid, flags)
            })
        }?;
        Ok(Box::new(future))
    }

    fn subscribe(&self, topic: &str) -> Result<()> {
        self.ask(self.connection.api.flux_event_subscribe_ex, topic)
    }

    fn unsubscribe(&self, topic: &str) -> Result<()> {
        self.ask(self.connection.api.flux_event_unsubscribe_ex, topic)
    }

    fn lookup(&self, namespace: Option<&str>, flags: i32, key: &str) -> Result<Box<dyn Future>> {
        let future = kvs::lookup(&self.connection, namespace, flags, key)?;
        Ok(Box::new(future))
    }

    fn transaction(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(FluxTransaction::new(self.connection.api)?))
    }

    fn commit(
        &self,
        namespace: Option<&str>,
        flags: i32,
        transaction: &mut dyn Transaction,
    ) -> Result<Box<dyn Future>> {
        let future = kvs::commit(&self.connection, namespace, flags, transaction)?;
        Ok(Box::new(future))
    }

    fn log(&self, level: i32, text: &str) -> Result<()> {
        if !(0..=7).contains(&level) {
            return Err(Error::new(libc::EINVAL));
        }
        self.connection.log(level, text)
    }

    fn reactor_run(&self, mode: RunMode) -> Result<u32> {
        self.connection.run(mode)
    }

    fn reactor_stop(&self) {
        self.connection.stop(Stop::Done);
    }

    fn reactor_stop_error(&self) {
        self.connection.stop(Stop::Error);
    }

    fn watch(&self, source: Source<'_>, callback: Callback) -> Result<Box<dyn Watcher>> {
        watcher::watch(&self.connection, source, callback)
    }

    fn reopen(&self) -> Result<Box<dyn Handle>> {
        if self.connection.is_external() {
            let uri = self.attr_get("local-uri")?;
            return Ok(Box::new(open(Some(&uri))?));
        }
        Ok(Box::new(open(self.uri.as_deref())?))
    }
}
