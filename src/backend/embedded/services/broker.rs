//! `broker.*`: of the broker's own methods, only ping.

use super::ping::ping;
use crate::backend::Result;
use crate::backend::embedded::service::{Reply, Request, Routing, Service};

/// The service `broker`.
pub struct BrokerService;

impl Service for BrokerService {
    fn names(&self) -> &'static [&'static str] {
        &["broker"]
    }

    fn handle(&mut self, request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply> {
        match request.method {
            "ping" => ping(request, router, false),
            _ => Err(request.unknown_method()),
        }
    }
}
