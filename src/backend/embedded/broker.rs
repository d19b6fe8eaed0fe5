//! The instance that the handles of one name share. It consists of the router
//! and the services, under one lock. The router decides where messages go, and
//! services handle requests.

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
    /// The number of ranks.
    pub size: u32,
    broker: Mutex<Broker>,
}

/// The data that the lock of an instance protects. A queue's own lock may be
/// taken while this one is held, but not the reverse.
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
    /// Finds the instance of this name, or makes it. Fails with EINVAL if it
    /// exists with another size.
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

    // A function of its own, so that `open` drops an instance only when the
    // registry is unlocked. Dropping an instance locks the registry.
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

    /// The router, for the operations that a handle performs without sending a
    /// request.
    pub fn router(&mut self) -> &mut dyn Routing {
        &mut self.router
    }

    /// Finds a service by its type. Returns it with the router, for handles
    /// that call the service without sending a request. Fails with ENOSYS if
    /// the broker has no such service.
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

    /// Takes a request from a client. Handles it, passes it on, or responds
    /// with an error.
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

    /// Finds the service of a request that was sent at rank `origin`, and
    /// passes the request to it.
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

    /// Removes a client whose handle is gone, with its services and pending
    /// requests.
    pub fn disconnect(&mut self, client: u64) {
        let Some(departed) = self.router.disconnect(client) else {
            return;
        };
        for service in &mut self.services {
            service.disconnect(client);
        }
        for message in &departed.disconnects {
            // Errors are ignored: if the service is gone too, nobody has to be
            // told.
            let _ = self.dispatch(departed.rank, message);
        }
    }

    /// Ends the stream that a client requested with this matchtag, if a service
    /// of the broker sends it.
    pub fn cancel_stream(&mut self, client: u64, matchtag: u32) {
        for service in &mut self.services {
            service.cancel(client, matchtag);
        }
    }
}

/// The handler of a request.
enum Handler {
    Broker,
    Client,
}
