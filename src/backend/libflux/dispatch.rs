//! Message handlers. Requests go through libflux's own dispatcher, where those
//! of C code on the same handle are; events, which go to everyone, through one
//! handler of ours that calls all of ours.

use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use super::connection::Connection;
use super::message::FluxMessage;
use super::reactor::{self, Called};
use super::sys::{self, Api, MessageCallback, flux_match, flux_msg_handler_t, flux_msg_t, flux_t};
use super::text::terminated_if_any;
use crate::backend::ids::{IdMap, Order, by_age};
use crate::backend::reactor::{Callback, Event, Watcher};
use crate::backend::{Error, MATCHTAG_NONE, Message, ROLE_OWNER, Result, msgtype};

/// What a handle's message handlers share.
///
/// libflux walks over its list of handlers with a cursor that is the list's. A
/// handler may take any handler off that list; but a run of the reactor within
/// it moves the cursor, after which an event goes to some handlers again and
/// to others never. The hub is one handler on that list, and walks over ours.
///
/// It also sees the responses that nobody handles. libflux would throw away
/// what a future gets that is not waited for yet, and free its tag.
#[derive(Default)]
pub struct Dispatch {
    hub: Cell<Option<NonNull<flux_msg_handler_t>>>,
    /// The handlers of events, and which of them is older.
    events: RefCell<IdMap<Rc<Handler>>>,
    event_order: RefCell<Order>,
    next_id: Cell<u64>,
    /// Handlers, and continuations, for which messages are read.
    listeners: Cell<usize>,
    /// The event that libflux may come back with.
    seen: RefCell<Option<FluxMessage>>,
    /// Responses to futures that are not waited for yet.
    parked: RefCell<Vec<FluxMessage>>,
}

impl Dispatch {
    /// Those with this matchtag, or all.
    pub fn take_parked(&self, matchtag: u32) -> Vec<FluxMessage> {
        let parked = self.parked.take();
        if matchtag == MATCHTAG_NONE {
            return parked;
        }
        let is_wanted = |msg: &FluxMessage| msg.response_tag() == Some(matchtag);
        let (wanted, others) = parked.into_iter().partition(is_wanted);
        self.parked.replace(others);
        wanted
    }

    /// The handle is about to be closed.
    pub fn close(&self, api: &Api) {
        if let Some(hub) = self.hub.take() {
            // SAFETY: ours, destroyed once, while its handle is alive.
            unsafe { (api.flux_msg_handler_destroy)(hub.as_ptr()) };
        }
    }

    /// The newest handler of events that is older than this.
    fn older(&self, than: u64) -> Option<(u64, Rc<Handler>)> {
        let order = self.event_order.borrow();
        let &(_, id) = order.range(..by_age(than)).next_back()?;
        let handler = self.events.borrow().get(&id).cloned()?;
        Some((id, handler))
    }
}

impl Connection {
    /// Messages are read for one more.
    pub fn listen(self: &Rc<Self>) -> Result<()> {
        if self.dispatch.hub.get().is_none() {
            // It must be older than all our handlers, to come after them.
            self.dispatch.hub.set(Some(self.create_hub()?));
        }
        let listeners = &self.dispatch.listeners;
        listeners.set(listeners.get() + 1);
        self.update_hub();
        Ok(())
    }

    /// Messages are read for one less.
    pub fn unlisten(&self) {
        let listeners = &self.dispatch.listeners;
        listeners.set(listeners.get() - 1);
        self.update_hub();
    }

    /// In an external handle responses are left to libflux, and to C code's
    /// handlers.
    fn create_hub(self: &Rc<Self>) -> Result<NonNull<flux_msg_handler_t>> {
        let typemask = if self.is_external() {
            msgtype::EVENT
        } else {
            msgtype::EVENT | msgtype::RESPONSE
        };
        // SAFETY: this owns the hub, and destroys it when it is dropped.
        unsafe {
            self.create(
                typemask,
                None,
                sys::FLUX_ROLE_ALL,
                on_hub,
                reactor::arg(self),
            )
        }
    }

    /// Whether a run of the reactor reads messages.
    pub fn is_listening(&self) -> bool {
        self.dispatch.listeners.get() > 0
    }

    /// The hub keeps the reactor running, so it does only while it must.
    fn update_hub(&self) {
        self.watch_over_run();
        let Some(hub) = self.dispatch.hub.get() else {
            return;
        };
        let is_needed = if self.is_external() {
            !self.dispatch.events.borrow().is_empty()
        } else {
            self.is_listening()
        };
        // SAFETY: a valid handler; either call may be repeated.
        unsafe {
            if is_needed {
                (self.api.flux_msg_handler_start)(hub.as_ptr());
            } else {
                (self.api.flux_msg_handler_stop)(hub.as_ptr());
            }
        }
    }

    /// A libflux message handler, not started.
    ///
    /// # Safety
    ///
    /// `callback` may be called with `arg` until the handler is destroyed.
    unsafe fn create(
        &self,
        typemask: i32,
        topic_glob: Option<&CString>,
        rolemask: u32,
        callback: MessageCallback,
        arg: *mut c_void,
    ) -> Result<NonNull<flux_msg_handler_t>> {
        self.ensure_pollfd()?;
        let wanted = wanted(typemask, topic_glob);
        // SAFETY: a valid handle; the match is copied; `arg` by the contract.
        let mh =
            unsafe { (self.api.flux_msg_handler_create)(self.as_ptr(), wanted, callback, arg) };
        let mh = NonNull::new(mh).ok_or_else(Error::last_os_error)?;
        // SAFETY: a valid handler.
        unsafe { (self.api.flux_msg_handler_allow_rolemask)(mh.as_ptr(), rolemask) };
        Ok(mh)
    }

    /// An event goes to all handlers there are at its start, the newest first.
    fn handle_event(&self, msg: FluxMessage) {
        let dispatch = &self.dispatch;
        let is_seen = |seen: &FluxMessage| ptr::eq(seen.as_ptr(), msg.as_ptr());
        if dispatch.seen.borrow().as_ref().is_some_and(is_seen) {
            return;
        }
        let begun = self.runs.begun();
        let mut last = dispatch.next_id.get();
        while let Some((id, handler)) = dispatch.older(last) {
            last = id;
            if handler.wants(&msg) {
                self.guard(|| handler.call(msg.clone()));
            }
        }
        // After a run within this one libflux begins its list again.
        let repeats = self.runs.begun() != begun;
        dispatch.seen.replace(repeats.then_some(msg));
    }

    /// A response that no handler took.
    fn handle_response(&self, msg: FluxMessage) {
        if !self.park(&msg) && !self.discard(&msg) {
            self.settle(&msg);
        }
    }

    /// A future that nobody waits for yet has its response kept.
    fn park(&self, msg: &FluxMessage) -> bool {
        let is_held = msg.response_tag().is_some_and(|tag| self.is_held(tag));
        if is_held {
            self.dispatch.parked.borrow_mut().push(msg.clone());
        }
        is_held
    }
}

impl Called for Connection {
    fn connection(self: &Rc<Self>) -> &Rc<Connection> {
        self
    }
}

/// Call `callback` with each message that matches. `typemask` 0 is any type.
pub fn watch(
    connection: &Rc<Connection>,
    typemask: i32,
    topic_glob: Option<&str>,
    rolemask: u32,
    callback: Callback,
) -> Result<Box<dyn Watcher>> {
    if typemask & !msgtype::ANY != 0 {
        return Err(Error::new(libc::EINVAL));
    }
    let typemask = if typemask == 0 {
        msgtype::ANY
    } else {
        typemask
    };
    let handler = Rc::new(Handler {
        connection: Rc::clone(connection),
        callback,
        topic_glob: terminated_if_any(topic_glob)?,
        // libflux never refuses the owner.
        rolemask: rolemask | ROLE_OWNER,
    });
    Ok(Box::new(MessageWatcher::new(handler, typemask)?))
}

/// Owns a message handler, and keeps its handle alive.
struct MessageWatcher {
    /// libflux's, of all types but events.
    mh: Option<NonNull<flux_msg_handler_t>>,
    /// In the list of handlers of events.
    id: Option<u64>,
    handler: Rc<Handler>,
}

/// What libflux points to: its message handler is destroyed before this is
/// dropped.
struct Handler {
    connection: Rc<Connection>,
    callback: Callback,
    topic_glob: Option<CString>,
    rolemask: u32,
}

impl Watcher for MessageWatcher {}

impl MessageWatcher {
    fn new(handler: Rc<Handler>, typemask: i32) -> Result<MessageWatcher> {
        handler.connection.listen()?;
        let mut watcher = MessageWatcher {
            mh: None,
            id: None,
            handler,
        };
        let others = typemask & !msgtype::EVENT;
        if others != 0 {
            watcher.handle(others)?;
        }
        if typemask & msgtype::EVENT != 0 {
            watcher.handle_events();
        }
        Ok(watcher)
    }

    fn handle(&mut self, typemask: i32) -> Result<()> {
        let connection = &self.handler.connection;
        let topic_glob = self.handler.topic_glob.as_ref();
        let arg = reactor::arg(&self.handler);
        // SAFETY: this destroys the handler before it lets go of what `arg`
        // points to.
        let mh = unsafe {
            connection.create(typemask, topic_glob, self.handler.rolemask, on_message, arg)?
        };
        // SAFETY: a valid handler.
        unsafe { (connection.api.flux_msg_handler_start)(mh.as_ptr()) };
        self.mh = Some(mh);
        Ok(())
    }

    fn handle_events(&mut self) {
        let connection = &self.handler.connection;
        let id = connection.dispatch.next_id.get();
        connection.dispatch.next_id.set(id + 1);
        let handler = Rc::clone(&self.handler);
        connection.dispatch.events.borrow_mut().insert(id, handler);
        let order = &connection.dispatch.event_order;
        order.borrow_mut().insert(by_age(id));
        connection.update_hub();
        self.id = Some(id);
    }
}

impl Drop for MessageWatcher {
    fn drop(&mut self) {
        let connection = &self.handler.connection;
        if let Some(mh) = self.mh {
            // SAFETY: ours, destroyed once, while its handle is alive. The
            // cursor of libflux's list steps back from one that goes.
            unsafe { (connection.api.flux_msg_handler_destroy)(mh.as_ptr()) };
        }
        if let Some(id) = self.id {
            let _same = connection.dispatch.events.borrow_mut().remove(&id);
            let order = &connection.dispatch.event_order;
            order.borrow_mut().remove(&by_age(id));
        }
        connection.unlisten();
    }
}

impl Called for Handler {
    fn connection(self: &Rc<Self>) -> &Rc<Connection> {
        &self.connection
    }
}

impl Handler {
    /// Whether an event is for this handler.
    fn wants(&self, event: &FluxMessage) -> bool {
        let roles = event.rolemask().unwrap_or(0);
        let wanted = wanted(msgtype::EVENT, self.topic_glob.as_ref());
        // SAFETY: the topic is terminated, and lives as this does.
        roles & self.rolemask != 0 && unsafe { event.compares(wanted) }
    }

    /// A response that is for a future does not come here: C code's have
    /// handlers of their own, ours are parked.
    fn handle(&self, msg: FluxMessage) {
        let connection = &self.connection;
        if connection.park(&msg) || connection.discard(&msg) {
            return;
        }
        connection.settle(&msg);
        self.call(msg);
    }

    fn call(&self, msg: FluxMessage) {
        self.connection.runs.handle();
        (self.callback)(Event::Message(msg.into_shared()));
    }
}

fn wanted(typemask: i32, topic_glob: Option<&CString>) -> flux_match {
    flux_match {
        typemask,
        matchtag: MATCHTAG_NONE,
        topic_glob: topic_glob.map_or(ptr::null(), |glob| glob.as_ptr()),
    }
}

/// libflux calls this with each message for a [`MessageWatcher`], but events.
unsafe extern "C" fn on_message(
    _: *mut flux_t,
    _: *mut flux_msg_handler_t,
    msg: *const flux_msg_t,
    arg: *mut c_void,
) {
    // SAFETY: libflux passes what it was given, which lives as the message
    // handler does, and a message that it has received.
    unsafe {
        reactor::enter(arg, |handler: &Rc<Handler>| {
            handler.handle(FluxMessage::shared(handler.connection.api, msg));
        });
    }
}

/// libflux calls this with each event, and each response without a handler.
unsafe extern "C" fn on_hub(
    _: *mut flux_t,
    _: *mut flux_msg_handler_t,
    msg: *const flux_msg_t,
    arg: *mut c_void,
) {
    // SAFETY: libflux passes the connection, which lives as the hub does, and
    // a message that it has received.
    unsafe {
        reactor::enter(arg, |connection: &Rc<Connection>| {
            let msg = FluxMessage::shared(connection.api, msg);
            match msg.msgtype() {
                msgtype::EVENT => connection.handle_event(msg),
                _ => connection.handle_response(msg),
            }
        });
    }
}
