//! The embedded back end: a Flux instance inside this process, for trying,
//! teaching and testing. It has no thread, socket or file; services run in their
//! caller. This file only opens handles.
//!
//! Each module uses only those above it:
//!
//! - `message`, `topology`: messages, and the tree of ranks
//! - `queue`: the messages that wait for a handle
//! - `service`, `request`: the interface of a service, and how it reads
//!   requests
//! - `kvs`: the key value store
//! - `services`: the broker's services, each in a file
//! - `router`: which client gets which message
//! - `broker`: an instance, with its router and its services
//! - `reactor`: runs a handle's callbacks
//! - `future`, `matchtag`, `handle`, `loopback`: the two kinds of handle

use crate::backend::{Error, Handle, Result};

mod broker;
mod future;
mod handle;
mod kvs;
mod loopback;
mod matchtag;
mod message;
mod queue;
mod reactor;
mod request;
mod router;
mod service;
mod services;
mod topology;

use broker::Instance;
use handle::EmbeddedHandle;
use loopback::Loopback;

/// The largest number of ranks.
const MAX_SIZE: u32 = 16384;

/// Opens a handle. `embed://[NAME][?size=N&rank=R]` is a handle on the instance
/// of that name, which exists as long as it has handles. `loop://` is a
/// loopback. Any other URI fails with `EINVAL` and the reason.
pub fn open(uri: &str) -> Result<Box<dyn Handle>> {
    if uri.starts_with("loop://") {
        return Ok(Box::new(Loopback::new()));
    }
    let Some(rest) = uri.strip_prefix("embed://") else {
        return Err(invalid(format!("'{uri}' is neither embed:// nor loop://")));
    };
    if rest.contains('\0') {
        return Err(invalid("the instance's name holds a NUL"));
    }
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameters = Parameters::parse(query)?;
    let instance = Instance::open(name, parameters.size)?;
    let rank = parameters.rank.unwrap_or(0);
    if rank >= instance.size {
        let size = instance.size;
        return Err(invalid(format!(
            "rank={rank} is outside the instance '{name}' of size {size}"
        )));
    }
    Ok(Box::new(EmbeddedHandle::connect(instance, rank)))
}

#[derive(Default)]
struct Parameters {
    size: Option<u32>,
    rank: Option<u32>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Parameters> {
        let mut parameters = Parameters::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let place = match name {
                "size" => &mut parameters.size,
                "rank" => &mut parameters.rank,
                _ => return Err(invalid(format!("unknown parameter '{name}'"))),
            };
            if place.is_some() {
                return Err(invalid(format!("{name} is given twice")));
            }
            // Only digits are allowed: a number must not have a sign.
            let number = value.bytes().all(|c| c.is_ascii_digit());
            let number = number.then(|| value.parse().ok()).flatten();
            *place = Some(number.ok_or_else(|| {
                invalid(format!(
                    "{name}={value} is not a number that can be a {name}"
                ))
            })?);
        }
        match parameters.size {
            Some(size) if !(1..=MAX_SIZE).contains(&size) => Err(invalid(format!(
                "size={size} is not between 1 and {MAX_SIZE}"
            ))),
            _ => Ok(parameters),
        }
    }
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::with_detail(libc::EINVAL, detail)
}
