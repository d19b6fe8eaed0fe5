//! The instance that the handles of one name share: the router and the
//! services, under one lock. Where messages go is the router's business, what a
//! request means that of its service.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use super::message::{Message, ROLE_LOCAL};
use super::queue::Queue;
use super::router::Router;
use super::service::{Reply, Request, Routing, Service, no_service};
use super::services;
use crate::backend::{Error, Result};

/// An instance, shared by its handles.
pub(super) struct Instance {
    name: String,
    /// How many ranks it has.
    pub size: u32,
    broker: Mutex<Broker>,
}

/// What the lock of an instance protects. A queue's own lock is taken while
/// this one is held, never the other way round.
pub(super) struct Broker {
    router: Router,
    services: Vec<Box<dyn Service>>,
    /// The indices of services by their names.
    by_name: HashMap<&'static str, usize>,
}

/// The instances of this process that a handle is open on.
static INSTANCES: LazyLock<Mutex<Instances>> = LazyLock::new(Mutex::default);

type Instances = HashMap<String, Weak<Instance>>;

fn instances() -> MutexGuard<'static, Instances> {
    INSTANCES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance {
    /// The instance of this name, made if there is none. EINVAL for a size
    /// that an existing one does not have.
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

    // Not part of `open`, so that no instance is dropped (which locks the
    // registry again) while the registry is locked.
    fn find_or_create(name: &str, size: u32) -> Arc<Instance> {
        let mut instances = instances();
        if let Some(instance) = instances.get(name).and_then(Weak::upgrade) {
            return instance;
        }
        let instance = Arc::new(Instance {
            name: name.to_owned(),
            size,
            broker: Mutex::new(Broker::new(name, size)),
        });
        instances.insert(name.to_owned(), Arc::downgrade(&instance));
        instance
    }

    /// Locks the broker, even after a thread panicked while it held the lock.
    pub fn lock(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let mut instances = instances();
        // Another instance of the same name may have been opened since.
        if instances
            .get(&self.name)
            .is_some_and(|i| i.strong_count() == 0)
        {
            instances.remove(&self.name);
        }
    }
}

impl Broker {
    fn new(name: &str, size: u32) -> Broker {
        let services = services::all();
        let names = services.iter().enumerate();
        let by_name: HashMap<&str, usize> = names
            .flat_map(|(index, service)| service.names().iter().map(move |name| (*name, index)))
            .collect();
        Broker {
            router: Router::new(name, size, by_name.keys().copied().collect()),
            services,
            by_name,
        }
    }

    /// Adds a client at a rank. Returns its id, and the queue of its messages.
    pub fn connect(&mut self, rank: u32) -> (u64, Arc<Queue>) {
        self.router.connect(rank)
    }

    /// What a service may ask of the router; for handles, which do some of it
    /// without sending a request.
    pub fn router(&mut self) -> &mut dyn Routing {
        &mut self.router
    }

    /// A service by its type, with the router, for handles that call it without
    /// sending a request. ENOSYS if the broker has no such service.
    pub fn service<S: Service>(&mut self) -> Result<(&mut S, &mut dyn Routing)> {
        let found = self.services.iter_mut().find_map(|service| {
            let service: &mut dyn Any = &mut **service;
            service.downcast_mut::<S>()
        });
        match found {
            Some(service) => Ok((service, &mut self.router)),
            None => Err(Error::new(libc::ENOSYS)),
        }
    }

    /// Takes a request from a client. It is handled, passed on, or responded
    /// to with an error.
    pub fn request(&mut self, sender: u64, request: Message) {
        let Some(rank) = self.router.rank_of(sender) else {
            return;
        };
        match self.dispatch(rank, &request) {
            Ok(Handler::Client) => self.router.remember_disconnect(sender, &request),
            Ok(Handler::Broker) => {}
            Err(error) => request.respond_error(&error),
        }
    }

    /// Gives a request that was sent at rank `origin` to its service.
    fn dispatch(&mut self, origin: u32, message: &Message) -> Result<Handler> {
        let topic = String::from_utf8_lossy(&message.topic);
        let (service, method) = topic.split_once('.').unwrap_or((&topic, ""));
        let builtin = self.by_name.get(service).copied();
        let builtin = builtin.and_then(|index| self.services.get_mut(index));
        let rank = match &builtin {
            Some(builtin) if builtin.concerns_connection(method) => origin,
            _ => self.router.destination(origin, message, service, &topic)?,
        };
        let mut message = message.clone();
        if rank != origin {
            message.rolemask &= !ROLE_LOCAL;
        }
        let Some(builtin) = builtin else {
            let registrant = self.router.registrant(rank, service);
            let registrant = registrant.ok_or_else(|| no_service(&topic))?;
            if service.len() == topic.len() {
                return Err(Error::new(libc::ENOSYS));
            }
            self.router.deliver(registrant, message);
            return Ok(Handler::Client);
        };
        let request = Request {
            message: &message,
            rank,
            service,
            method,
        };
        match builtin.handle(&request, &mut self.router)? {
            Reply::Now(payload) => message.respond(0, payload.as_deref()),
            Reply::Later => {}
        }
        Ok(Handler::Broker)
    }

    /// Removes a client whose handle is gone, with all that it had here.
    pub fn disconnect(&mut self, client: u64) {
        let Some(departed) = self.router.disconnect(client) else {
            return;
        };
        for service in &mut self.services {
            service.disconnect(client);
        }
        for message in &departed.disconnects {
            // A service that is gone too need not be told.
            let _ = self.dispatch(departed.rank, message);
        }
    }

    /// Ends the stream that a client asked for under this matchtag, if it is
    /// one of the broker's services.
    pub fn cancel_stream(&mut self, client: u64, matchtag: u32) {
        for service in &mut self.services {
            service.cancel(client, matchtag);
        }
    }
}

/// Who handles a request.
enum Handler {
    Broker,
    Client,
}
