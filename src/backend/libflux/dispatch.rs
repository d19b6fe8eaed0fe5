//! The message handlers of scripts. Requests and responses go through libflux's
//! own dispatcher, where the handlers of C code on the same handle are; events,
//! which go to all handlers, through the hub of the session.

use std::ffi::{CString, c_void};
use std::rc::Rc;

use super::handler::{MessageHandler, wanted};
use super::message::FluxMessage;
use super::session::{self, Called, EventHandler, Session};
use super::sys::{flux_msg_handler_t, flux_msg_t, flux_t};
use super::text::terminated_if_any;
use crate::backend::reactor::{Callback, Event, Watcher};
use crate::backend::{Error, Message, ROLE_OWNER, Result, msgtype};

/// Calls `callback` with each message that matches, until the returned watcher
/// is dropped. A `typemask` of 0 stands for any type.
pub fn watch(
    session: &Rc<Session>,
    typemask: i32,
    topic_glob: Option<&str>,
    rolemask: u32,
    callback: Callback,
) -> Result<Box<dyn Watcher>> {
    if typemask & !msgtype::ANY != 0 {
        return Err(Error::new(libc::EINVAL));
    }
    let typemask = match typemask {
        0 => msgtype::ANY,
        typemask => typemask,
    };
    let handler = Rc::new(Handler {
        session: Rc::clone(session),
        callback,
        topic_glob: terminated_if_any(topic_glob)?,
        // libflux never refuses the owner.
        rolemask: rolemask | ROLE_OWNER,
    });
    Ok(Box::new(MessageWatcher::new(handler, typemask)?))
}

/// A script's message handler, which keeps its handle alive.
struct MessageWatcher {
    /// The handler for all types but events.
    libflux_handler: Option<MessageHandler>,
    /// For events, the id of the handler in the session.
    event_handler: Option<u64>,
    handler: Rc<Handler>,
}

/// The data to which libflux has a pointer. The message handler of libflux is
/// dropped before the data.
struct Handler {
    session: Rc<Session>,
    callback: Callback,
    topic_glob: Option<CString>,
    rolemask: u32,
}

impl Watcher for MessageWatcher {}

impl MessageWatcher {
    fn new(handler: Rc<Handler>, typemask: i32) -> Result<MessageWatcher> {
        handler.session.listen()?;
        let mut watcher = MessageWatcher {
            libflux_handler: None,
            event_handler: None,
            handler,
        };
        let others = typemask & !msgtype::EVENT;
        if others != 0 {
            watcher.handle(others)?;
        }
        if typemask & msgtype::EVENT != 0 {
            let handler = Rc::clone(&watcher.handler);
            let session = &watcher.handler.session;
            watcher.event_handler = Some(session.add_event_handler(handler));
        }
        Ok(watcher)
    }

    fn handle(&mut self, typemask: i32) -> Result<()> {
        let Handler {
            session,
            topic_glob,
            rolemask,
            ..
        } = &*self.handler;
        let arg = session::arg(&self.handler);
        // SAFETY: the watcher drops the handler before it drops the value behind
        // `arg`.
        let handler = unsafe {
            MessageHandler::new(
                &session.connection,
                typemask,
                topic_glob.as_ref(),
                *rolemask,
                on_message,
                arg,
            )?
        };
        handler.start();
        self.libflux_handler = Some(handler);
        Ok(())
    }
}

impl Drop for MessageWatcher {
    fn drop(&mut self) {
        self.libflux_handler = None;
        let session = &self.handler.session;
        if let Some(id) = self.event_handler {
            session.remove_event_handler(id);
        }
        session.unlisten();
    }
}

impl Called for Handler {
    fn session(self: &Rc<Self>) -> &Rc<Session> {
        &self.session
    }
}

impl EventHandler for Handler {
    fn wants(&self, event: &FluxMessage) -> bool {
        let roles = event.rolemask().unwrap_or(0);
        let wanted = wanted(msgtype::EVENT, self.topic_glob.as_ref());
        // SAFETY: the topic is terminated, and lives as long as this.
        roles & self.rolemask != 0 && unsafe { event.compares(wanted) }
    }

    fn call(&self, event: FluxMessage) {
        self.session.reactor.handle();
        (self.callback)(Event::Message(event.into_shared()));
    }
}

impl Handler {
    /// Handles a request or response. A response to a future does not come here
    /// from C code, whose futures have handlers of their own; one to ours is
    /// parked.
    fn handle(&self, msg: FluxMessage) {
        let connection = &self.session.connection;
        if connection.park(&msg) || connection.discard(&msg) {
            return;
        }
        connection.settle(&msg);
        self.call(msg);
    }
}

/// libflux calls this with each message for a [`MessageWatcher`], except events.
unsafe extern "C" fn on_message(
    _: *mut flux_t,
    _: *mut flux_msg_handler_t,
    msg: *const flux_msg_t,
    arg: *mut c_void,
) {
    // SAFETY: libflux passes the `arg` of the handler, whose value lives longer
    // than the handler, and a message that it has received.
    unsafe {
        session::enter(arg, |handler: &Rc<Handler>| {
            handler.handle(FluxMessage::shared(handler.session.api(), msg));
        });
    }
}
