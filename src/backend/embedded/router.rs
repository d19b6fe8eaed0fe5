//! Routes messages. Knows the rank and the subscriptions of each client, and
//! the services that clients have registered. It knows the broker's own
//! services only by their names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::message::{FLAG_NORESPONSE, FLAG_UPSTREAM, Message, ROLE_LOCAL, Receiver};
use super::queue::{Queue, Senders};
use super::service::{Routing, no_service};
use super::topology;
use crate::backend::ids::IdMap;
use crate::backend::{Error, NODEID_ANY, Result};

/// The clients of an instance.
pub(super) struct Router {
    name: String,
    size: u32,
    next_client: u64,
    clients: IdMap<Box<Client>>,
    /// The names of the broker's own services, which every rank has.
    builtin: HashSet<&'static str>,
    /// The client that registered a service, by its name and rank.
    registered: HashMap<String, HashMap<u32, u64>>,
    event_seq: i64,
}

/// The broker's side of a handle.
struct Client {
    rank: u32,
    queue: Arc<Queue>,
    /// Topic prefixes, with how often each was subscribed to.
    subscriptions: HashMap<String, usize>,
    /// The messages to send when the client is gone: one for each service to
    /// which it has sent requests.
    disconnects: HashMap<DisconnectKey, Message>,
}

#[derive(PartialEq, Eq, Hash)]
struct DisconnectKey {
    topic: Vec<u8>,
    nodeid: u32,
    upstream: bool,
}

/// A client that is gone.
pub(super) struct Departed {
    pub rank: u32,
    /// The requests that tell services that the client is gone.
    pub disconnects: Vec<Message>,
}

impl Router {
    /// Makes a router without clients. `builtin` contains the names of the
    /// broker's services.
    pub fn new(name: &str, size: u32, builtin: HashSet<&'static str>) -> Router {
        Router {
            name: name.to_owned(),
            size,
            next_client: 0,
            clients: IdMap::default(),
            builtin,
            registered: HashMap::new(),
            event_seq: 0,
        }
    }

    /// Adds a client at a rank. Returns its id, and the queue of its messages.
    pub fn connect(&mut self, rank: u32) -> (u64, Arc<Queue>) {
        let id = self.next_client;
        self.next_client += 1;
        let queue = Arc::new(Queue::new(Senders::Threads));
        let client = Client {
            rank,
            queue: Arc::clone(&queue),
            subscriptions: HashMap::new(),
            disconnects: HashMap::new(),
        };
        self.clients.insert(id, Box::new(client));
        (id, queue)
    }

    /// Removes a client, with its services. None if it is already gone.
    pub fn disconnect(&mut self, id: u64) -> Option<Departed> {
        let client = self.clients.remove(&id)?;
        client.queue.close();
        self.registered.retain(|_, ranks| {
            ranks.retain(|_, registrant| *registrant != id);
            !ranks.is_empty()
        });
        Some(Departed {
            rank: client.rank,
            disconnects: client.disconnects.into_values().collect(),
        })
    }

    /// The rank whose service is to handle a request from rank `origin`.
    pub fn destination(
        &self,
        origin: u32,
        request: &Message,
        service: &str,
        topic: &str,
    ) -> Result<u32> {
        let start = if request.has(FLAG_UPSTREAM) {
            topology::parent(origin)
        } else if request.nodeid == NODEID_ANY {
            Some(origin)
        } else if request.nodeid < self.size {
            let rank = request.nodeid;
            let has_service = self.has_service(rank, service);
            return has_service.then_some(rank).ok_or_else(|| no_service(topic));
        } else {
            None
        };
        let start = start.ok_or_else(|| Error::new(libc::EHOSTUNREACH))?;
        std::iter::successors(Some(start), |&rank| topology::parent(rank))
            .find(|&rank| self.has_service(rank, service))
            .ok_or_else(|| no_service(topic))
    }

    fn has_service(&self, rank: u32, service: &str) -> bool {
        self.builtin.contains(service) || self.registrant(rank, service).is_some()
    }

    /// The client that registered a service at a rank.
    pub fn registrant(&self, rank: u32, service: &str) -> Option<u64> {
        self.registered.get(service)?.get(&rank).copied()
    }

    /// Delivers a message to a client, if it still exists.
    pub fn deliver(&self, client: u64, message: Message) {
        if let Some(client) = self.clients.get(&client) {
            client.queue.deliver(message);
        }
    }

    /// Remembers to tell the service of a request when its sender is gone. The
    /// service must be a client's: the broker's own need no message for that.
    pub fn remember_disconnect(&mut self, sender: u64, request: &Message) {
        if request.has(FLAG_NORESPONSE) {
            return;
        }
        let Some(client) = self.clients.get_mut(&sender) else {
            return;
        };
        let service = request.topic.iter().rposition(|&c| c == b'.').unwrap_or(0);
        let topic = [&request.topic[..service], b".disconnect"].concat();
        let disconnect = || Message {
            topic: topic.as_slice().into(),
            payload: None,
            flags: request.flags | FLAG_NORESPONSE,
            ..request.clone()
        };
        let key = DisconnectKey {
            topic: topic.clone(),
            nodeid: request.nodeid,
            upstream: request.has(FLAG_UPSTREAM),
        };
        client.disconnects.entry(key).or_insert_with(disconnect);
    }
}

impl Routing for Router {
    fn size(&self) -> u32 {
        self.size
    }

    fn uri(&self, rank: u32) -> String {
        format!("embed://{}?size={}&rank={rank}", self.name, self.size)
    }

    fn rank_of(&self, client: u64) -> Option<u32> {
        self.clients.get(&client).map(|client| client.rank)
    }

    fn publish(&mut self, origin: u32, event: &Message) -> i64 {
        self.event_seq += 1;
        for client in self.clients.values() {
            if !client.is_subscribed(&event.topic) {
                continue;
            }
            let mut event = event.clone();
            if origin != 0 || client.rank != 0 {
                event.rolemask &= !ROLE_LOCAL;
            }
            client.queue.deliver(event);
        }
        self.event_seq
    }

    fn has_subscriber(&self, topic: &str) -> bool {
        let mut clients = self.clients.values();
        clients.any(|client| client.is_subscribed(topic.as_bytes()))
    }

    fn subscribe(&mut self, client: u64, topic: &str) {
        if let Some(client) = self.clients.get_mut(&client) {
            *client.subscriptions.entry(topic.to_owned()).or_default() += 1;
        }
    }

    fn unsubscribe(&mut self, client: u64, topic: &str) -> Result<()> {
        let client = self.clients.get_mut(&client);
        let subscriptions = client.map(|client| &mut client.subscriptions);
        let Some(subscriptions) = subscriptions.filter(|s| s.contains_key(topic)) else {
            return Err(Error::new(libc::ENOENT));
        };
        if let Some(count) = subscriptions.get_mut(topic) {
            *count -= 1;
        }
        subscriptions.retain(|_, count| *count > 0);
        Ok(())
    }

    fn add_service(&mut self, client: u64, name: &str) -> Result<()> {
        if name.contains('.') {
            return Err(Error::new(libc::EINVAL));
        }
        let Some(rank) = self.rank_of(client) else {
            return Err(Error::new(libc::EINVAL));
        };
        if self.has_service(rank, name) {
            return Err(Error::new(libc::EEXIST));
        }
        let ranks = self.registered.entry(name.to_owned()).or_default();
        ranks.insert(rank, client);
        Ok(())
    }

    fn remove_service(&mut self, client: u64, name: &str) -> Result<()> {
        let ranks = self.registered.get_mut(name);
        let Some(ranks) = ranks.filter(|ranks| ranks.values().any(|c| *c == client)) else {
            return Err(Error::new(libc::ENOENT));
        };
        ranks.retain(|_, registrant| *registrant != client);
        if ranks.is_empty() {
            self.registered.remove(name);
        }
        Ok(())
    }
}

impl Client {
    fn is_subscribed(&self, topic: &[u8]) -> bool {
        let mut prefixes = self.subscriptions.keys();
        prefixes.any(|prefix| topic.starts_with(prefix.as_bytes()))
    }
}
