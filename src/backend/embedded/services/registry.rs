//! `service.*`: the services that clients register.

use serde::Deserialize;

use crate::backend::Result;
use crate::backend::embedded::request::{self, Text};
use crate::backend::embedded::service::{Reply, Request, Routing, Service, protocol_error};

/// The service `service`.
pub struct Registry;

#[derive(Deserialize)]
struct Registration {
    service: Text,
}

impl Service for Registry {
    fn names(&self) -> &'static [&'static str] {
        &["service"]
    }

    fn concerns_connection(&self, method: &str) -> bool {
        matches!(method, "add" | "remove")
    }

    fn handle(&mut self, request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply> {
        let sender = || request.message.sender().ok_or_else(protocol_error);
        match request.method {
            "add" => {
                let Registration { service } = request::read(request.message)?;
                router.add_service(sender()?, &service)?;
                Reply::empty()
            }
            "remove" => {
                let Registration { service } = request::read(request.message)?;
                router.remove_service(sender()?, &service)?;
                Reply::empty()
            }
            _ => Err(request.unknown_method()),
        }
    }
}
