//! Values of the KVS: pushing what is stored, and putting a Lua value.

use std::os::raw::c_int;

use crate::api::handle::Handle;
use crate::backend::{self, Future};
use crate::json;
use crate::lua::{Kind, Push, Result, Scratch, State, Writer};

/// A looked up value, to be pushed: decoded where it is JSON, else the string
/// that it is.
pub struct Value {
    future: Box<dyn Future>,
}

impl Value {
    /// The lookup's error, if it failed.
    pub fn of(future: Box<dyn Future>) -> backend::Result<Value> {
        future.payload()?;
        Ok(Value { future })
    }
}

impl Push for Value {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let stored = self.future.payload().ok().flatten().unwrap_or_default();
        push_stored(writer, stored);
        1
    }
}

/// Push a stored value: JSON decoded, anything else as a string.
pub fn push_stored(writer: &Writer<'_>, stored: &[u8]) {
    if json::decode(writer, stored, json::Options::default()).is_err() {
        writer.bytes(stored);
    }
}

/// Put the value at `index` on the pending transaction; nil unlinks.
pub fn put(state: State<'_>, handle: &Handle, key: &str, index: c_int) -> Result<()> {
    if state.kind(index) == Kind::Nil {
        return handle.with_pending(|pending| pending.unlink(key));
    }
    let mut scratch = Scratch::new();
    let mut value = json::Output::new(&mut scratch);
    json::encode(state, index, &mut value).map_err(|error| error.raised(Some(index)))?;
    handle.with_pending(|pending| pending.put(key, &value))
}
