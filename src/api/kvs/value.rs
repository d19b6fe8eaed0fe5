//! Values in the KVS: pushing a stored value to Lua, and storing a Lua value.

use std::os::raw::c_int;

use crate::api::handle::Handle;
use crate::backend::{self, Future};
use crate::json;
use crate::lua::{Kind, Push, Result, Scratch, State, Writer};

/// A value that was looked up, to be returned to Lua.
pub struct Value {
    future: Box<dyn Future>,
}

impl Value {
    /// The value of a fulfilled lookup, or the lookup's error.
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

/// Pushes a stored value: the decoded value if it is JSON, else the bytes as a string.
pub fn push_stored(writer: &Writer<'_>, stored: &[u8]) {
    if json::decode(writer, stored, json::Options::default()).is_err() {
        writer.bytes(stored);
    }
}

/// Adds the Lua value at `index` to the pending transaction. A nil unlinks the key.
///
/// Raises an error for a value that JSON cannot represent. EINVAL for a key that no KVS
/// can hold.
pub fn put(state: State<'_>, handle: &Handle, key: &str, index: c_int) -> Result<()> {
    if state.kind(index) == Kind::Nil {
        return handle.with_pending(|pending| pending.unlink(key));
    }
    let mut scratch = Scratch::new();
    let mut value = json::Output::new(&mut scratch);
    json::encode(state, index, &mut value).map_err(|error| error.raised(Some(index)))?;
    handle.with_pending(|pending| pending.put(key, &value))
}
