//! Handles that C code opened and passed to Lua. C code owns the `flux_t` and runs its
//! reactor.

use std::os::raw::{c_int, c_void};
use std::rc::Rc;

use super::{EXTERNAL_BY_ADDRESS, Handle, KEPT_ALIVE_BY_ID, NewHandle, push_userdata};
use crate::backend;
use crate::lua::{Push, Result, StackError, State};

/// Pushes the userdata of the handle of C code at `address`. A handle that this Lua state
/// already has keeps its userdata; otherwise a new one is made with `backend`.
pub fn push_external(
    state: State<'_>,
    backend: Box<dyn backend::Handle>,
    address: *const c_void,
) -> Result<Handle> {
    let backend = Rc::from(backend);
    let handle = Handle::new(state, "external".to_owned(), true, backend)?;
    let mut new_handle = NewHandle(Some(handle));
    state.protect(0, |writer| {
        let state = writer.state();
        state.registry(&EXTERNAL_BY_ADDRESS);
        writer.light_userdata(address);
        state.raw_get(1);
        if !matches!(state.object::<Handle>(-1), Some(Some(_))) {
            new_handle.push(writer);
            writer.light_userdata(address);
            state.push_value(-2);
            writer.raw_set(1);
        }
        1
    })?;
    state.check_object(-1)
}

/// The back end of the open handle at `index`. None for any other value. Does not raise.
pub fn backend_at(state: State<'_>, index: c_int) -> Option<Rc<dyn backend::Handle>> {
    state.object::<Handle>(index)??.backend().ok()
}

impl Handle {
    /// Keeps the userdata of a handle of C code alive while it has watchers or a pending
    /// transaction: scripts need not keep a reference to it. Does nothing for other
    /// handles. Fails only without memory.
    pub fn keep_alive(&self) -> Result<()> {
        if !self.0.is_external {
            return Ok(());
        }
        let stored = self.0.callbacks.protect(|writer| {
            if push_userdata(writer.state(), self.0.id) {
                let state = writer.state();
                state.registry(&KEPT_ALIVE_BY_ID);
                writer.integer(self.0.id as i64);
                state.push_value(-3);
                writer.raw_set(-3);
            }
            0
        });
        match stored {
            true => Ok(()),
            false => Err(StackError::Memory.into()),
        }
    }

    /// Undoes [`Handle::keep_alive`] once the handle has neither watchers nor a pending
    /// transaction.
    pub fn release_if_idle(&self) {
        let is_idle = || self.0.pending.borrow().is_none() && self.0.watchers.is_empty();
        if self.0.is_external && is_idle() {
            self.0.callbacks.with_state(|state| {
                state.registry(&KEPT_ALIVE_BY_ID);
                state.raw_clear_index(-1, self.0.id as i64);
            });
        }
    }
}
