//! The instance that the handles of one name share: who is connected at which
//! rank, which service is whose, and where a message goes. What the built-in
//! services do is in `services`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use super::super::ids::IdMap;
use super::super::{Error, NODEID_ANY, Result};
use super::kvs::Kvs;
use super::message::{FLAG_NORESPONSE, FLAG_UPSTREAM, Message, ROLE_LOCAL};
use super::queue::{Queue, Senders};
use super::services::{self, Attributes, Builtin, Logs, Outcome};
use super::topology;

pub(super) struct Instance {
    pub name: String,
    pub size: u32,
    state: Mutex<State>,
}

/// Everything that changes, under the instance's lock. A queue's own lock is
/// taken while this one is held, never the other way round.
pub(super) struct State {
    pub name: String,
    pub size: u32,
    pub attributes: Attributes,
    pub logs: Logs,
    pub kvs: Kvs,
    next_endpoint: u64,
    endpoints: IdMap<Box<Endpoint>>,
    /// Services that handles registered, at their ranks.
    services: HashMap<(u32, String), u64>,
    event_seq: i64,
}

/// The broker's side of a handle.
struct Endpoint {
    rank: u32,
    queue: Arc<Queue>,
    /// Topic prefixes, each as often as it was subscribed to.
    subscriptions: HashMap<String, usize>,
    /// What the handle's end will be told to, once each.
    disconnects: HashMap<DisconnectKey, Message>,
}

#[derive(PartialEq, Eq, Hash)]
struct DisconnectKey {
    topic: Vec<u8>,
    nodeid: u32,
    upstream: bool,
}

/// The instances of this process that a handle is open on.
static INSTANCES: LazyLock<Mutex<Instances>> = LazyLock::new(Mutex::default);

type Instances = HashMap<String, Weak<Instance>>;

fn instances() -> MutexGuard<'static, Instances> {
    INSTANCES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance {
    /// The instance of this name, made if there is none. A size that is given
    /// must be that of an existing one.
    pub fn open(name: &str, size: Option<u32>) -> Result<Arc<Instance>> {
        let instance = Instance::find_or_create(name, size.unwrap_or(1));
        match size {
            Some(size) if size != instance.size => Err(Error::with_detail(
                libc::EINVAL,
                format!(
                    "size={size}: the instance '{name}' has size {}",
                    instance.size
                ),
            )),
            _ => Ok(instance),
        }
    }

    // Apart from `open`, so that no instance is dropped (which locks the
    // registry again) while the registry is locked.
    fn find_or_create(name: &str, size: u32) -> Arc<Instance> {
        let mut instances = instances();
        if let Some(instance) = instances.get(name).and_then(Weak::upgrade) {
            return instance;
        }
        let instance = Arc::new(Instance {
            name: name.to_owned(),
            size,
            state: Mutex::new(State::new(name, size)),
        });
        instances.insert(name.to_owned(), Arc::downgrade(&instance));
        instance
    }

    /// The state, also after a thread panicked with it.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn connect(&self, rank: u32) -> (u64, Arc<Queue>) {
        let mut state = self.lock();
        let id = state.next_endpoint;
        state.next_endpoint += 1;
        let queue = Arc::new(Queue::new(Senders::Threads));
        state.endpoints.insert(
            id,
            Box::new(Endpoint {
                rank,
                queue: Arc::clone(&queue),
                subscriptions: HashMap::new(),
                disconnects: HashMap::new(),
            }),
        );
        (id, queue)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let mut instances = instances();
        // Another of the same name may have been opened since.
        if instances
            .get(&self.name)
            .is_some_and(|i| i.strong_count() == 0)
        {
            instances.remove(&self.name);
        }
    }
}

/// The URI that opens a handle at `rank` of an instance.
pub(super) fn uri(name: &str, size: u32, rank: u32) -> String {
    format!("embed://{name}?size={size}&rank={rank}")
}

impl State {
    fn new(name: &str, size: u32) -> State {
        State {
            name: name.to_owned(),
            size,
            attributes: Attributes::default(),
            logs: Logs::default(),
            kvs: Kvs::new(),
            next_endpoint: 0,
            endpoints: IdMap::default(),
            services: HashMap::new(),
            event_seq: 0,
        }
    }

    /// Take a request from an endpoint: answer it, pass it on, or respond with
    /// why not.
    pub fn request(&mut self, sender: u64, message: Message) {
        let Some(rank) = self.endpoints.get(&sender).map(|endpoint| endpoint.rank) else {
            return;
        };
        let result = match services::call_local(self, sender, &message) {
            Some(result) => result.map(|()| message.respond(0, None)),
            None => self
                .route(rank, &message)
                .map(|registrant| self.arm_disconnect(sender, registrant, &message)),
        };
        if let Err(error) = result {
            message.respond_error(&error);
        }
    }

    /// Deliver a request that was sent at rank `origin`, to a built-in service
    /// or to the endpoint that registered the service, which is returned.
    fn route(&mut self, origin: u32, message: &Message) -> Result<Option<u64>> {
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        let (service, method) = topic.split_once('.').unwrap_or((&topic, ""));
        let rank = self.destination(origin, message, service, &topic)?;
        let mut message = message.clone();
        if rank != origin {
            message.rolemask &= !ROLE_LOCAL;
        }
        if let Some(&registrant) = self.services.get(&(rank, service.to_owned())) {
            if service.len() == topic.len() {
                return Err(Error::new(libc::ENOSYS));
            }
            if let Some(endpoint) = self.endpoints.get(&registrant) {
                endpoint.queue.deliver(message);
            }
            return Ok(Some(registrant));
        }
        let builtin = Builtin::named(service).ok_or_else(|| no_service(&topic))?;
        match services::call(self, rank, builtin, method, &message)? {
            Outcome::Done(payload) => message.respond(0, payload.as_deref()),
            Outcome::Later => {}
        }
        Ok(None)
    }

    /// The rank whose service is to take the request.
    fn destination(
        &self,
        origin: u32,
        message: &Message,
        service: &str,
        topic: &str,
    ) -> Result<u32> {
        let start = if message.has(FLAG_UPSTREAM) {
            topology::parent(origin)
        } else if message.nodeid == NODEID_ANY {
            Some(origin)
        } else if message.nodeid < self.size {
            let rank = message.nodeid;
            let offered = self.offers(rank, service);
            return offered.then_some(rank).ok_or_else(|| no_service(topic));
        } else {
            None
        };
        let start = start.ok_or_else(|| Error::new(libc::EHOSTUNREACH))?;
        std::iter::successors(Some(start), |&rank| topology::parent(rank))
            .find(|&rank| self.offers(rank, service))
            .ok_or_else(|| no_service(topic))
    }

    fn offers(&self, rank: u32, service: &str) -> bool {
        Builtin::named(service).is_some() || self.services.contains_key(&(rank, service.to_owned()))
    }

    /// Remember to tell a client's service when this sender is gone. Built-in
    /// services need no telling.
    fn arm_disconnect(&mut self, sender: u64, registrant: Option<u64>, message: &Message) {
        if registrant.is_none() || message.has(FLAG_NORESPONSE) {
            return;
        }
        let service = message.topic.iter().rposition(|&c| c == b'.').unwrap_or(0);
        let topic = [&message.topic[..service], b".disconnect"].concat();
        let key = DisconnectKey {
            topic: topic.clone(),
            nodeid: message.nodeid,
            upstream: message.has(FLAG_UPSTREAM),
        };
        let Some(endpoint) = self.endpoints.get_mut(&sender) else {
            return;
        };
        let disconnect = || Message {
            topic: topic.as_slice().into(),
            payload: None,
            flags: message.flags | FLAG_NORESPONSE,
            ..message.clone()
        };
        endpoint.disconnects.entry(key).or_insert_with(disconnect);
    }

    /// An endpoint's handle is gone: so is all that it had here.
    pub fn disconnect(&mut self, id: u64) {
        let Some(endpoint) = self.endpoints.remove(&id) else {
            return;
        };
        endpoint.queue.close();
        self.services.retain(|_, &mut registrant| registrant != id);
        self.kvs.disconnect(id);
        self.logs.disconnect(id);
        for message in endpoint.disconnects.values() {
            // A service that is gone needs no disconnect.
            let _ = self.route(endpoint.rank, message);
        }
    }

    /// End the stream that an endpoint asked for under this matchtag, if it is
    /// one that a built-in service sends.
    pub fn cancel_stream(&mut self, id: u64, matchtag: u32) {
        self.kvs.cancel_watch(id, matchtag);
        self.logs.cancel(id, matchtag);
    }

    /// Give an event its sequence number and deliver it to every subscriber.
    pub fn publish(&mut self, origin: u32, event: &Message) -> i64 {
        self.event_seq += 1;
        for endpoint in self.endpoints.values() {
            if !endpoint.is_subscribed(&event.topic) {
                continue;
            }
            let mut event = event.clone();
            if origin != 0 || endpoint.rank != 0 {
                event.rolemask &= !ROLE_LOCAL;
            }
            endpoint.queue.deliver(event);
        }
        self.event_seq
    }

    pub fn rank_of(&self, endpoint: u64) -> Option<u32> {
        self.endpoints.get(&endpoint).map(|endpoint| endpoint.rank)
    }

    pub fn has_subscriber(&self, topic: &str) -> bool {
        let mut endpoints = self.endpoints.values();
        endpoints.any(|endpoint| endpoint.is_subscribed(topic.as_bytes()))
    }

    pub fn subscribe(&mut self, id: u64, topic: &str) {
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            *endpoint.subscriptions.entry(topic.to_owned()).or_default() += 1;
        }
    }

    pub fn unsubscribe(&mut self, id: u64, topic: &str) -> Result<()> {
        let endpoint = self.endpoints.get_mut(&id);
        let subscriptions = endpoint.map(|endpoint| &mut endpoint.subscriptions);
        let Some(subscriptions) = subscriptions.filter(|s| s.contains_key(topic)) else {
            return Err(Error::new(libc::ENOENT));
        };
        if let Some(count) = subscriptions.get_mut(topic) {
            *count -= 1;
        }
        subscriptions.retain(|_, count| *count > 0);
        Ok(())
    }

    pub fn add_service(&mut self, id: u64, name: &str) -> Result<()> {
        if name.contains('.') {
            return Err(Error::new(libc::EINVAL));
        }
        let Some(rank) = self.endpoints.get(&id).map(|endpoint| endpoint.rank) else {
            return Err(Error::new(libc::EINVAL));
        };
        if self.offers(rank, name) {
            return Err(Error::new(libc::EEXIST));
        }
        self.services.insert((rank, name.to_owned()), id);
        Ok(())
    }

    pub fn remove_service(&mut self, id: u64, name: &str) -> Result<()> {
        let before = self.services.len();
        self.services
            .retain(|(_, service), &mut registrant| registrant != id || service != name);
        match self.services.len() == before {
            true => Err(Error::new(libc::ENOENT)),
            false => Ok(()),
        }
    }
}

impl Endpoint {
    fn is_subscribed(&self, topic: &[u8]) -> bool {
        let mut prefixes = self.subscriptions.keys();
        prefixes.any(|prefix| topic.starts_with(prefix.as_bytes()))
    }
}

fn no_service(topic: &str) -> Error {
    let text = format!("No service matching {topic} is registered");
    Error::with_detail(libc::ENOSYS, services::cut(text, 63))
}
