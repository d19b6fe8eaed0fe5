//! A barrier among processes, for brokers without a barrier service.
//!
//! The first process that enters becomes the counter. It registers a service,
//! writes its place (rank and service name) into the KVS, and counts. The others
//! read the place and send a request to the service, which responds to all of
//! them when the last has come. A process that finds no place, or a service that
//! is gone, becomes the counter itself and announces its place by an event. All
//! processes see events in the same order, so they agree on the last one, and
//! move there.
//!
//! Each process uses a connection of its own. It is closed when the process
//! leaves, and by the kernel when the process dies; the broker then tells the
//! service.
//!
//! No process may be counted twice. When a waiting process sees that another
//! counter has announced itself, its own counter may have given up, or may have
//! released everyone, with the response still on its way; the new counter then
//! counts processes that have entered again. So the process asks its own counter
//! whether it still counts. A response that was sent before arrives first.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::backend::object;
use crate::backend::{
    Error, Handle, MATCHTAG_NONE, Match, Message, NODEID_ANY, ROLE_OWNER, Result, msgtype, userid,
};

/// The namespace of the places, whatever the process's own is.
const NAMESPACE: Option<&str> = Some("primary");

/// The payload of `barrier.enter`, a service of brokers before 0.78, which
/// accepts only these members. flux-core's clients send the same, so they and
/// ours may enter the same barrier.
pub fn service_request(name: &str, nprocs: u32) -> Vec<u8> {
    let request = json!({ "name": name, "nprocs": nprocs });
    request.to_string().into_bytes()
}

/// Whether this error of `barrier.enter` says that the broker has no such service,
/// or one with another request. The processes then have to use [`enter`].
pub fn lacks_service(error: &Error) -> bool {
    matches!(error.errnum, libc::ENOSYS | libc::EPROTO)
}

/// Enters the barrier `name` of `nprocs` processes. [`Barrier::wait`] then waits
/// for them.
pub fn enter(handle: &dyn Handle, name: &str, nprocs: u32) -> Result<Barrier> {
    let link = handle.reopen()?;
    let topic = format!("flux-lua.barrier.{}", path_element(name));
    link.subscribe(&topic)?;
    Ok(Barrier {
        rank: link.rank()?,
        link,
        topic,
        id: unique_id(),
        nprocs,
        role: RefCell::new(Role::Seeking { gone: None }),
        left: Cell::new(false),
        takeovers: Cell::new(0),
    })
}

/// A process in the barrier.
pub struct Barrier {
    link: Box<dyn Handle>,
    rank: u32,
    /// The topic of the events, and the KVS key of the place.
    topic: String,
    id: String,
    nprocs: u32,
    role: RefCell<Role>,
    /// Whether all have entered, so that the process may leave.
    left: Cell<bool>,
    /// How often this process has become the counter.
    takeovers: Cell<u32>,
}

/// The role of a process in the barrier.
enum Role {
    /// The process looks for the counter.
    Seeking {
        /// A service that does not exist any more.
        gone: Option<String>,
    },
    /// The process waits for the counter's response.
    Counted {
        counter: Place,
        matchtag: u32,
        /// The place that was announced since, and the matchtag of the question
        /// whether `counter` still counts.
        moved: Option<(Place, u32)>,
    },
    /// The process is the counter.
    Counting(Count),
}

/// The state of the counter.
struct Count {
    service: String,
    /// Whether its own event has come back. Events before that are older.
    announced: bool,
    /// The requests of the waiting processes, by their ids.
    waiting: HashMap<String, Arc<dyn Message>>,
}

/// Where the counter is.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    rank: u32,
    service: String,
}

/// The payload of requests to the counter.
#[derive(Serialize, Deserialize)]
struct Entrant {
    id: Option<String>,
    nprocs: u32,
}

impl Barrier {
    /// Blocks until all have entered. ECONNABORTED if one of them died.
    pub fn wait(&self) -> Result<()> {
        while !self.left.get() {
            self.seek()?;
            let message = self.link.recv(&Match::any(), None)?;
            self.take(message)?;
        }
        Ok(())
    }

    /// Looks for the counter, if it is not known.
    fn seek(&self) -> Result<()> {
        let gone = match &*self.role.borrow() {
            Role::Seeking { gone } => gone.clone(),
            _ => return Ok(()),
        };
        match self.written_place()? {
            Some(place) if Some(&place.service) != gone.as_ref() => self.ask(place),
            _ => self.take_over(),
        }
    }

    /// The place in the KVS.
    fn written_place(&self) -> Result<Option<Place>> {
        match self.link.lookup(NAMESPACE, 0, &self.topic)?.payload() {
            Ok(text) => Ok(text.and_then(object::read)),
            Err(error) if error.errnum == libc::ENOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request to be counted.
    fn ask(&self, place: Place) -> Result<()> {
        let matchtag = self.send(&place, "enter")?;
        self.role.replace(Role::Counted {
            counter: place,
            matchtag,
            moved: None,
        });
        Ok(())
    }

    /// Sends a request to a counter. Returns its matchtag.
    fn send(&self, place: &Place, method: &str) -> Result<u32> {
        let request = object::write(&Entrant {
            id: Some(self.id.clone()),
            nprocs: self.nprocs,
        });
        let topic = format!("{}.{method}", place.service);
        self.link.send(&topic, Some(request.as_bytes()), place.rank)
    }

    /// Becomes the counter.
    fn take_over(&self) -> Result<()> {
        let attempt = self.takeovers.get();
        self.takeovers.set(attempt + 1);
        let place = Place {
            rank: self.rank,
            service: format!("{}-{attempt}", self.id),
        };
        self.call("service.add", &place.service)?;
        self.role.replace(Role::Counting(Count {
            service: place.service.clone(),
            announced: false,
            waiting: HashMap::new(),
        }));
        self.write(|transaction| {
            transaction.put(0, &self.topic, object::write(&place).as_bytes())
        })?;
        self.link
            .send_event(&self.topic, Some(object::write(&place).as_bytes()))
    }

    /// Calls a method of the broker's service registry.
    fn call(&self, topic: &str, service: &str) -> Result<()> {
        let request = json!({ "service": service }).to_string();
        let future = self
            .link
            .rpc(topic, Some(request.as_bytes()), NODEID_ANY, 0)?;
        future.payload().map(|_| ())
    }

    /// Commits one operation.
    fn write(
        &self,
        put: impl FnOnce(&mut dyn crate::backend::Transaction) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.link.transaction()?;
        put(transaction.as_mut())?;
        let future = self.link.commit(NAMESPACE, 0, transaction.as_mut())?;
        future.payload().map(|_| ())
    }

    /// Handles a message.
    fn take(&self, message: Arc<dyn Message>) -> Result<()> {
        if is_foreign(&*message) {
            return match message.msgtype() {
                msgtype::REQUEST => self.link.respond_error(&*message, libc::EPERM, None),
                _ => Ok(()),
            };
        }
        match message.msgtype() {
            msgtype::EVENT => self.take_event(&*message),
            msgtype::REQUEST => self.take_request(message),
            msgtype::RESPONSE => self.take_response(&*message),
            _ => Ok(()),
        }
    }

    /// Handles the announcement of a counter: moves there, unless this process
    /// announced itself later. A process that is counted first asks its counter.
    fn take_event(&self, event: &dyn Message) -> Result<()> {
        // A subscription is a prefix, so this may be the event of another barrier.
        if event.topic() != Some(self.topic.as_bytes()) {
            return Ok(());
        }
        let Some(place) = event.payload().and_then(object::read::<Place>) else {
            return Ok(());
        };
        let stepped_down = match &mut *self.role.borrow_mut() {
            Role::Counting(count) if count.service == place.service => {
                count.announced = true;
                return Ok(());
            }
            Role::Counting(count) if !count.announced => return Ok(()),
            Role::Counting(count) => {
                Some((count.service.clone(), std::mem::take(&mut count.waiting)))
            }
            Role::Counted { counter, moved, .. } => {
                *moved = match *counter == place {
                    true => None,
                    false => Some((place, self.send(counter, "counts")?)),
                };
                return Ok(());
            }
            Role::Seeking { .. } => None,
        };
        if let Some((service, waiting)) = stepped_down {
            self.turn_away(waiting.into_values(), libc::EAGAIN);
            self.call("service.remove", &service)?;
        }
        self.ask(place)
    }

    /// Responds to waiting processes with an error. Some may be gone; that does
    /// not matter.
    fn turn_away(&self, waiting: impl Iterator<Item = Arc<dyn Message>>, errnum: i32) {
        for request in waiting {
            let _ = self.link.respond_error(&*request, errnum, None);
        }
    }

    /// Handles a request to the counter.
    fn take_request(&self, request: Arc<dyn Message>) -> Result<()> {
        let topic = String::from_utf8_lossy(request.topic().unwrap_or_default()).into_owned();
        let (service, method) = topic.rsplit_once('.').unwrap_or((&topic, ""));
        let mut role = self.role.borrow_mut();
        let Role::Counting(count) = &mut *role else {
            return self.link.respond_error(&*request, libc::EAGAIN, None);
        };
        if count.service != service {
            return self.link.respond_error(&*request, libc::EAGAIN, None);
        }
        match method {
            "enter" => {
                if let Err(error) = self.check_size(&*request) {
                    let text = error.detail.as_deref();
                    return self.link.respond_error(&*request, error.errnum, text);
                }
                count.waiting.insert(entrant_id(&*request), request);
                let is_full = count.waiting.len() + 1 == self.nprocs as usize;
                drop(role);
                if is_full { self.release() } else { Ok(()) }
            }
            "disconnect" => {
                let mut waiting = count.waiting.values();
                if !waiting.any(|waiting| waiting.same_sender(&*request)) {
                    return Ok(());
                }
                let waiting = std::mem::take(&mut count.waiting);
                drop(role);
                self.abort(waiting)
            }
            "counts" => self.link.respond(&*request, None),
            _ => self.link.respond_error(&*request, libc::ENOSYS, None),
        }
    }

    /// EINVAL if a process waits for another number of processes.
    fn check_size(&self, request: &dyn Message) -> Result<()> {
        let asked: Option<Entrant> = request.payload().and_then(object::read);
        if asked.is_some_and(|asked| asked.nprocs == self.nprocs) {
            return Ok(());
        }
        let text = format!("this barrier waits for {} processes", self.nprocs);
        Err(Error::with_detail(libc::EINVAL, text))
    }

    /// Lets all processes leave. The place is removed before any response is sent,
    /// so that processes that enter again do not find it. The service is removed
    /// after that, so that a process that asks whether this still counts gets the
    /// response first.
    fn release(&self) -> Result<()> {
        let role = self.role.replace(Role::Seeking { gone: None });
        let Role::Counting(count) = role else {
            return Ok(());
        };
        self.write(|transaction| transaction.unlink(&self.topic))?;
        for request in count.waiting.values() {
            self.link.respond(&**request, None)?;
        }
        self.call("service.remove", &count.service)?;
        // Requests that came before the service was removed belong to the next
        // use of the barrier.
        while let Ok(late) = self
            .link
            .recv(&Match::of(msgtype::REQUEST), Some(Duration::ZERO))
        {
            let _ = self.link.respond_error(&*late, libc::EAGAIN, None);
        }
        self.left.set(true);
        Ok(())
    }

    /// Ends the barrier with an error, because a process in it died.
    fn abort(&self, waiting: HashMap<String, Arc<dyn Message>>) -> Result<()> {
        self.write(|transaction| transaction.unlink(&self.topic))?;
        self.turn_away(waiting.into_values(), libc::ECONNABORTED);
        Err(aborted())
    }

    /// Handles a response of the counter.
    fn take_response(&self, response: &dyn Message) -> Result<()> {
        let tag = response.matchtag().unwrap_or(MATCHTAG_NONE);
        let errnum = response.errnum()?;
        let (counter, matchtag, moved) = match &*self.role.borrow() {
            Role::Counted {
                counter,
                matchtag,
                moved,
            } => (counter.clone(), *matchtag, moved.clone()),
            _ => return Ok(()),
        };
        match (errnum, moved) {
            // The counter does not count any more.
            (1.., Some((place, question))) if tag == question => self.ask(place),
            _ if tag != matchtag => Ok(()),
            (0, _) => {
                self.left.set(true);
                Ok(())
            }
            (libc::ECONNABORTED, _) => Err(aborted()),
            (libc::EAGAIN | libc::ENOSYS | libc::EHOSTUNREACH, Some((place, _))) => self.ask(place),
            (libc::EAGAIN, None) => {
                self.role.replace(Role::Seeking { gone: None });
                Ok(())
            }
            (libc::ENOSYS | libc::EHOSTUNREACH, None) => {
                let gone = Some(counter.service);
                self.role.replace(Role::Seeking { gone });
                Ok(())
            }
            _ => Err(Error::from_response(errnum, response.payload())),
        }
    }
}

/// Whether this is a request or event of a user who is neither the instance owner
/// nor the user of this process. Brokers pass on messages of guests, so every
/// receiver has to check.
fn is_foreign(message: &dyn Message) -> bool {
    let is_owner = message.rolemask().unwrap_or(0) & ROLE_OWNER != 0;
    let is_own = message.userid().is_ok_and(|sender| sender == userid());
    message.msgtype() & (msgtype::REQUEST | msgtype::EVENT) != 0 && !is_owner && !is_own
}

/// The error of a barrier in which a process died.
fn aborted() -> Error {
    Error::with_detail(
        libc::ECONNABORTED,
        "a process left the barrier before its end",
    )
}

/// The id in a request to be counted. A request without an id is counted once.
fn entrant_id(request: &dyn Message) -> String {
    let asked: Option<Entrant> = request.payload().and_then(object::read);
    let id = asked.and_then(|asked| asked.id);
    id.unwrap_or_else(unique_id)
}

/// A name that no other call in any process returns. It begins with the user id,
/// because brokers require that of the services of guests.
fn unique_id() -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    // If the clock is before 1970, the counter of calls still differs.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.as_nanos());
    let uid = userid();
    format!(
        "{uid}-flux-lua-barrier-{:x}-{call:x}-{nanos:x}",
        process::id()
    )
}

/// A barrier's name as one element of a KVS key and of a topic.
fn path_element(name: &str) -> String {
    let mut element = String::from("=");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => element.push(byte.into()),
            _ => element.push_str(&format!("%{byte:02X}")),
        }
    }
    element
}
