//! A barrier among processes, on a broker that has no service for it.
//!
//! The first to enter registers a service, writes where it is into the KVS, and
//! counts; the others find it there and call it, and it answers all when the
//! last has come. Whoever finds nothing, or a service that is gone, takes over
//! and announces that by an event; broker-wide events have one order, so that
//! all agree on the last announced, and move there. What each process does goes
//! over a connection of its own: closed when it leaves, and by the kernel when
//! it dies, which the broker tells the service.
//!
//! Nobody is counted twice: who is told of another place has no more than the
//! word for it that the one it is counted by counts no longer. It may be that
//! it was let go, that this is only about to reach it, and that the place is
//! where those meet who entered again. So it asks the one that counted it:
//! whatever that had to say comes before the answer.

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

/// Where instances keep what they rendezvous at.
const NAMESPACE: Option<&str> = Some("primary");

/// The request to `barrier.enter`, a service of brokers before 0.78. It takes
/// just these members. flux-core's own clients send the same, and meet ours.
pub fn service_request(name: &str, nprocs: u32) -> Vec<u8> {
    let request = json!({ "name": name, "nprocs": nprocs });
    request.to_string().into_bytes()
}

/// Whether the broker has no barrier service for this request, so that the
/// processes have to arrange the barrier among themselves: there is none, or
/// it does not understand the request.
pub fn lacks_service(error: &Error) -> bool {
    matches!(error.errnum, libc::ENOSYS | libc::EPROTO)
}

/// Enter the barrier `name`, and wait there for `nprocs` to.
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
    /// Of the events, and the KVS key.
    topic: String,
    id: String,
    nprocs: u32,
    role: RefCell<Role>,
    left: Cell<bool>,
    takeovers: Cell<u32>,
}

enum Role {
    /// It looks for the service, which is not this one.
    Seeking {
        gone: Option<String>,
    },
    Counted {
        by: Place,
        matchtag: u32,
        /// Where others were said to meet since, and the matchtag of the
        /// question whether `by` still counts.
        moved: Option<(Place, u32)>,
    },
    Counting(Count),
}

/// What the one that counts knows.
struct Count {
    service: String,
    /// Whether the event that says so has come round. Events before it are older.
    announced: bool,
    /// Who waits, by id.
    waiting: HashMap<String, Arc<dyn Message>>,
}

/// Where a counting service is.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    rank: u32,
    service: String,
}

/// The payload of the requests to a counting service.
#[derive(Serialize, Deserialize)]
struct Entrant {
    id: Option<String>,
    nprocs: u32,
}

impl Barrier {
    /// Block until all have entered, or one of them died.
    pub fn wait(&self) -> Result<()> {
        while !self.left.get() {
            self.seek()?;
            let message = self.link.recv(&Match::any(), None)?;
            self.take(message)?;
        }
        Ok(())
    }

    /// Find who counts, if that is not known.
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

    fn written_place(&self) -> Result<Option<Place>> {
        match self.link.lookup(NAMESPACE, 0, &self.topic)?.payload() {
            Ok(text) => Ok(text.and_then(object::read)),
            Err(error) if error.errnum == libc::ENOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ask to be counted.
    fn ask(&self, place: Place) -> Result<()> {
        let matchtag = self.send(&place, "enter")?;
        self.role.replace(Role::Counted {
            by: place,
            matchtag,
            moved: None,
        });
        Ok(())
    }

    fn send(&self, place: &Place, method: &str) -> Result<u32> {
        let request = object::write(&Entrant {
            id: Some(self.id.clone()),
            nprocs: self.nprocs,
        });
        let topic = format!("{}.{method}", place.service);
        self.link.send(&topic, Some(request.as_bytes()), place.rank)
    }

    /// Become the one that counts.
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

    fn call(&self, topic: &str, service: &str) -> Result<()> {
        let request = json!({ "service": service }).to_string();
        let future = self
            .link
            .rpc(topic, Some(request.as_bytes()), NODEID_ANY, 0)?;
        future.payload().map(|_| ())
    }

    fn write(
        &self,
        put: impl FnOnce(&mut dyn crate::backend::Transaction) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.link.transaction()?;
        put(transaction.as_mut())?;
        let future = self.link.commit(NAMESPACE, 0, transaction.as_mut())?;
        future.payload().map(|_| ())
    }

    fn take(&self, message: Arc<dyn Message>) -> Result<()> {
        if is_strangers(&*message) {
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

    /// Somebody took over: move there, unless that was before we did. Who is
    /// counted asks first whether it still is.
    fn take_event(&self, event: &dyn Message) -> Result<()> {
        // A subscription is a prefix: other names may begin with ours.
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
            Role::Counted { by, moved, .. } => {
                *moved = match *by == place {
                    true => None,
                    false => Some((place, self.send(by, "counts")?)),
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

    /// Those who wait are told; one that is gone needs no answer.
    fn turn_away(&self, waiting: impl Iterator<Item = Arc<dyn Message>>, errnum: i32) {
        for request in waiting {
            let _ = self.link.respond_error(&*request, errnum, None);
        }
    }

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

    /// All who enter must mean the same number.
    fn check_size(&self, request: &dyn Message) -> Result<()> {
        let asked: Option<Entrant> = request.payload().and_then(object::read);
        if asked.is_some_and(|asked| asked.nprocs == self.nprocs) {
            return Ok(());
        }
        let text = format!("this barrier waits for {} processes", self.nprocs);
        Err(Error::with_detail(libc::EINVAL, text))
    }

    /// All are here. The place is cleared away before anyone is told, so that
    /// whoever enters again finds nothing of this round; the service after that,
    /// so that who asks whether it counts is told first.
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
        // What came before the service was removed belongs to the next round.
        while let Ok(late) = self
            .link
            .recv(&Match::of(msgtype::REQUEST), Some(Duration::ZERO))
        {
            let _ = self.link.respond_error(&*late, libc::EAGAIN, None);
        }
        self.left.set(true);
        Ok(())
    }

    /// One that had entered died: nobody can wait for it any more.
    fn abort(&self, waiting: HashMap<String, Arc<dyn Message>>) -> Result<()> {
        self.write(|transaction| transaction.unlink(&self.topic))?;
        self.turn_away(waiting.into_values(), libc::ECONNABORTED);
        Err(aborted())
    }

    fn take_response(&self, response: &dyn Message) -> Result<()> {
        let tag = response.matchtag().unwrap_or(MATCHTAG_NONE);
        let errnum = response.errnum()?;
        let (by, matchtag, moved) = match &*self.role.borrow() {
            Role::Counted {
                by,
                matchtag,
                moved,
            } => (by.clone(), *matchtag, moved.clone()),
            _ => return Ok(()),
        };
        match (errnum, moved) {
            // What it is to be counted by does not count.
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
                let gone = Some(by.service);
                self.role.replace(Role::Seeking { gone });
                Ok(())
            }
            _ => {
                let text = response.payload().map(String::from_utf8_lossy);
                Err(Error::with_optional_detail(
                    errnum,
                    text.map(|text| text.into_owned()),
                ))
            }
        }
    }
}

/// Whether it is a request or an event of somebody who is neither the
/// instance's owner nor this process's user. Brokers pass on what guests send;
/// who takes it has to look.
fn is_strangers(message: &dyn Message) -> bool {
    let is_owner = message.rolemask().unwrap_or(0) & ROLE_OWNER != 0;
    let is_own = message.userid().is_ok_and(|sender| sender == userid());
    message.msgtype() & (msgtype::REQUEST | msgtype::EVENT) != 0 && !is_owner && !is_own
}

fn aborted() -> Error {
    Error::with_detail(
        libc::ECONNABORTED,
        "a process left the barrier before its end",
    )
}

/// The id that a request to be counted carries; one without counts by itself.
fn entrant_id(request: &dyn Message) -> String {
    let asked: Option<Entrant> = request.payload().and_then(object::read);
    let id = asked.and_then(|asked| asked.id);
    id.unwrap_or_else(unique_id)
}

/// A name that no other call of any process has. Its owner's user id stands
/// first, as brokers demand of the services of guests.
fn unique_id() -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    // A clock before 1970 still differs from call to call.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.as_nanos());
    let uid = userid();
    format!(
        "{uid}-flux-lua-barrier-{:x}-{call:x}-{nanos:x}",
        process::id()
    )
}

/// The name as one element of a KVS key and of a topic.
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
