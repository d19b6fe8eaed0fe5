//! The broker's own services, which every rank offers. Each responds as the
//! service of a real broker does, down to the error texts.

use super::service::Service;

pub(super) mod attr;
mod broker;
mod event;
pub(super) mod kvs;
pub(super) mod log;
mod ping;
mod registry;

/// All services. A new one needs a file here, and a line in this list.
pub(super) fn all() -> Vec<Box<dyn Service>> {
    vec![
        Box::<attr::Attributes>::default(),
        Box::new(broker::BrokerService),
        Box::new(event::EventService),
        Box::<super::kvs::Kvs>::default(),
        Box::<log::Logs>::default(),
        Box::new(registry::Registry),
    ]
}
