//! The state that the futures, watchers and message handlers of one handle
//! share: the connection, its reactor, and the hub, a message handler that
//! calls the handlers of events. Callbacks from C also enter here.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

use super::connection::Connection;
use super::handler::MessageHandler;
use super::message::FluxMessage;
use super::reactor::Reactor;
use super::sys::{self, Api, flux_msg_handler_t, flux_msg_t, flux_t};
use crate::backend::ids::{IdMap, Order, by_age};
use crate::backend::reactor::RunMode;
use crate::backend::{Message, Result, msgtype};

/// The shared state. Whatever needs the handle keeps a reference to it.
pub struct Session {
    // The fields are dropped in this order. The connection must be the last.
    hub: Hub,
    /// The state of the handle's reactor.
    pub reactor: Reactor,
    /// The handle itself.
    pub connection: Connection,
}

/// The message handler that gets all events, and calls our handlers of events.
///
/// libflux walks over its list of handlers with a cursor that belongs to the
/// list. A handler may remove any handler from the list. But a run of the reactor
/// within a handler moves the cursor; then an event goes to some handlers again,
/// and to others never. The hub is one handler on that list, and walks over ours.
///
/// The hub also gets the responses that nothing handles. libflux would discard
/// the response of a future that is not waited for yet, and free its matchtag.
#[derive(Default)]
struct Hub {
    /// The message handler. It is made for the first listener.
    handler: OnceCell<MessageHandler>,
    events: RefCell<IdMap<Rc<dyn EventHandler>>>,
    /// The ids of `events`, older ones first.
    order: RefCell<Order>,
    next_id: Cell<u64>,
    /// An event that was handled, and that libflux may pass to the hub again.
    seen: RefCell<Option<FluxMessage>>,
}

/// A handler of events.
pub trait EventHandler {
    /// Whether an event is for this handler.
    fn wants(&self, event: &FluxMessage) -> bool;
    /// Handles an event.
    fn call(&self, event: FluxMessage);
}

impl Session {
    /// Makes the shared state of a handle.
    pub fn new(connection: Connection) -> Session {
        Session {
            hub: Hub::default(),
            reactor: Reactor::default(),
            connection,
        }
    }

    /// libflux-core's functions.
    pub fn api(&self) -> &'static Api {
        self.connection.api
    }

    /// See [`crate::backend::Handle::reactor_run`].
    pub fn run(&self, mode: RunMode) -> Result<u32> {
        self.reactor.run(&self.connection, mode)
    }

    /// Calls a callback of a script. A panic ends here, and is logged.
    pub fn guard(&self, call: impl FnOnce()) {
        self.reactor.guard(&self.connection, call);
    }

    /// Makes the reactor read messages, for one more handler or continuation.
    pub fn listen(self: &Rc<Self>) -> Result<()> {
        if self.hub.handler.get().is_none() {
            // The hub must be older than all our handlers, so that libflux
            // calls it after them.
            let handler = self.new_hub_handler()?;
            self.hub.handler.get_or_init(|| handler);
        }
        self.reactor.listen(&self.connection);
        self.update_hub();
        Ok(())
    }

    /// Undoes one [`Session::listen`].
    pub fn unlisten(&self) {
        self.reactor.unlisten(&self.connection);
        self.update_hub();
    }

    /// Adds a handler of events. Returns its id.
    pub fn add_event_handler(&self, handler: Rc<dyn EventHandler>) -> u64 {
        let id = self.hub.next_id.get();
        self.hub.next_id.set(id + 1);
        self.hub.events.borrow_mut().insert(id, handler);
        self.hub.order.borrow_mut().insert(by_age(id));
        self.update_hub();
        id
    }

    /// Removes a handler of events.
    pub fn remove_event_handler(&self, id: u64) {
        // The handler may own a session, so it is dropped after the borrow has
        // ended.
        let _removed = self.hub.events.borrow_mut().remove(&id);
        self.hub.order.borrow_mut().remove(&by_age(id));
    }

    /// In an external handle, responses are left to libflux and to the handlers
    /// of C code.
    fn new_hub_handler(self: &Rc<Self>) -> Result<MessageHandler> {
        let typemask = match self.connection.is_external() {
            true => msgtype::EVENT,
            false => msgtype::EVENT | msgtype::RESPONSE,
        };
        let role = sys::FLUX_ROLE_ALL;
        // SAFETY: the session owns the handler, so `on_hub` gets a session that
        // lives.
        unsafe { MessageHandler::new(&self.connection, typemask, None, role, on_hub, arg(self)) }
    }

    /// The hub keeps the reactor running, so it is started only while needed.
    fn update_hub(&self) {
        let Some(handler) = self.hub.handler.get() else {
            return;
        };
        let is_needed = match self.connection.is_external() {
            true => !self.hub.events.borrow().is_empty(),
            false => self.reactor.is_listening(),
        };
        match is_needed {
            true => handler.start(),
            false => handler.stop(),
        }
    }

    /// Passes an event to the handlers that exist now, the newest first.
    fn handle_event(&self, event: FluxMessage) {
        let is_seen = |seen: &FluxMessage| ptr::eq(seen.as_ptr(), event.as_ptr());
        if self.hub.seen.borrow().as_ref().is_some_and(is_seen) {
            return;
        }
        let begun = self.reactor.begun();
        let mut last = self.hub.next_id.get();
        while let Some((id, handler)) = self.hub.older(last) {
            last = id;
            if handler.wants(&event) {
                self.guard(|| handler.call(event.clone()));
            }
        }
        // After a run within this one, libflux begins its list again.
        let repeats = self.reactor.begun() != begun;
        self.hub.seen.replace(repeats.then_some(event));
    }

    /// Keeps or discards a response that no handler took.
    fn handle_response(&self, response: FluxMessage) {
        let connection = &self.connection;
        if !connection.park(&response) && !connection.discard(&response) {
            connection.settle(&response);
        }
    }
}

impl Hub {
    /// The newest handler of events that is older than `id`.
    fn older(&self, id: u64) -> Option<(u64, Rc<dyn EventHandler>)> {
        let order = self.order.borrow();
        let &(_, id) = order.range(..by_age(id)).next_back()?;
        let handler = self.events.borrow().get(&id).cloned()?;
        Some((id, handler))
    }
}

/// libflux calls this with each event, and each response that nothing handles.
unsafe extern "C" fn on_hub(
    _: *mut flux_t,
    _: *mut flux_msg_handler_t,
    msg: *const flux_msg_t,
    arg: *mut c_void,
) {
    // SAFETY: libflux passes the pointer to a session, which owns the handler
    // and so lives, and a message that it has received.
    unsafe {
        enter(arg, |session: &Rc<Session>| {
            let msg = FluxMessage::shared(session.api(), msg);
            match msg.msgtype() {
                msgtype::EVENT => session.handle_event(msg),
                _ => session.handle_response(msg),
            }
        });
    }
}

/// A value to which C has a pointer, which it passes to a callback.
pub trait Called {
    /// The session that the callback belongs to.
    fn session(self: &Rc<Self>) -> &Rc<Session>;
}

impl Called for Session {
    fn session(self: &Rc<Self>) -> &Rc<Session> {
        self
    }
}

/// C's pointer to a value. It does not keep the value alive.
pub fn arg<T: Called>(called: &Rc<T>) -> *mut c_void {
    Rc::as_ptr(called).cast_mut().cast()
}

/// Runs the body of a callback. The value that C passed, and its handle, live
/// until this returns, whatever the body drops. A panic does not leave this.
///
/// # Safety
///
/// `pointer` was made by [`arg`] from a `T` that is alive, on this thread.
pub unsafe fn enter<T: Called>(pointer: *mut c_void, body: impl FnOnce(&Rc<T>)) {
    let called = pointer.cast_const().cast::<T>();
    // SAFETY: the value is alive by the contract. The count that is added here
    // belongs to the new `Rc`.
    let called = unsafe {
        Rc::increment_strong_count(called);
        Rc::from_raw(called)
    };
    let session = Rc::clone(called.session());
    session.guard(move || {
        body(&called);
        // A panic of its destructor must not leave the guard either.
        drop(called);
    });
}
