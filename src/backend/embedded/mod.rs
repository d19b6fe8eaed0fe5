//! The embedded back end: a Flux instance inside this process, for trying,
//! teaching and testing. No thread, no socket, no file; services run in their
//! caller. Here is only what opens a handle on it.
//!
//! `handle` and `loopback` are the two kinds of handle, `broker` is the shared
//! instance, `services` what it offers, `kvs` its key value store, `reactor`
//! what runs a handle's callbacks.

use super::{Error, Handle, Result};

mod broker;
mod fields;
mod future;
mod handle;
mod kvs;
mod lane;
mod loopback;
mod message;
mod queue;
mod reactor;
mod services;
mod topology;

use broker::Instance;
use handle::Embedded;
use loopback::Loopback;

const MAX_SIZE: u32 = 16384;

/// Open a handle: `embed://[NAME][?size=N&rank=R]` on the instance of that
/// name, made with the first handle and gone with the last, or `loop://`.
/// `EINVAL`, with what is wrong, for any other URI.
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
    Ok(Box::new(Embedded::connect(instance, rank)))
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
            // Digits alone: a number may not be signed.
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
