//! What a C plugin sees, as include/ declares it, over the classes that
//! scripts see: the handles and directories that it passes to Lua. JSON,
//! messages and helpers are in the files named after their headers.

mod jansson;
mod json;
mod lutil;
mod zmsg;

use std::any::Any;
use std::ffi::{c_int, c_void};

use crate::api::{self, NewDir};
use crate::backend;
use crate::backend::libflux::{FluxHandle, FluxKvsdir, flux_kvsdir_t, flux_t};
use crate::exported;
use crate::lua::{self, Error, OnTop, Push, Result, State, Writer, lua_State};

/// What C code has left of the stack may be little.
const SLOTS: c_int = 20;

/// The door from C: as [`lua::enter`], with room on the stack and the classes
/// made, which C code need not see to.
///
/// # Safety
/// As for [`lua::enter`].
unsafe fn enter<R, F>(state: *mut lua_State, body: F) -> c_int
where
    R: Push,
    F: FnOnce(State<'_>) -> Result<R>,
{
    const {
        assert!(!std::mem::needs_drop::<R>(), "push_owned pushes it");
    }
    let opened = |state: State<'_>| {
        state.reserve(SLOTS)?;
        api::open(state)?;
        body(state)
    };
    // SAFETY: by the contract.
    unsafe { lua::enter(state, opened) }
}

/// Push what owns something, made of the topmost `args` values, which go. The
/// rest of the stack is C code's: a result that `body` above returns itself
/// would be pushed in its place.
fn push_owned(state: State<'_>, args: c_int, mut value: impl Push) -> Result<OnTop> {
    state.protect(args, |writer| value.push(writer))?;
    Ok(OnTop)
}

/// A number that C code gets, and not Lua: what it counts is on the stack.
struct Count(c_int);

impl Push for Count {
    fn push(&mut self, _: &Writer<'_>) -> c_int {
        self.0
    }
}

fn set_errno(errnum: c_int) {
    // SAFETY: gives the place of this thread's errno.
    unsafe { libc::__errno_location().write(errnum) }
}

exported! {
    /// Push the userdata of C code's handle.
    ///
    /// # Safety
    /// A C function, or the host, of this live state calls; `h` is null or a valid
    /// handle, used on this thread only while the state lives.
    fn lua_push_flux_handle_external(state: *mut lua_State, h: *mut flux_t) -> c_int {
        // SAFETY: by the contract.
        unsafe {
            enter(state, |state| {
                push_handle(state, h)?;
                Ok(OnTop)
            })
        }
    } unbound(error) {
        // SAFETY: the caller's promise.
        unsafe { error.fail(state) }
    }
}

/// # Safety
/// `h` is null or valid, as [`lua_push_flux_handle_external`] asks.
unsafe fn push_handle(state: State<'_>, h: *mut flux_t) -> Result<api::Handle> {
    if h.is_null() {
        return Err(no_more_than_text(backend::Error::new(libc::EINVAL)));
    }
    // SAFETY: by the contract.
    let backend = unsafe { FluxHandle::from_raw(h) }.map_err(no_more_than_text)?;
    api::push_external(state, Box::new(backend), h.cast::<c_void>())
}

exported! {
    /// The `flux_t` of the handle at `index`, which stays the handle's; null for
    /// what is no open handle of libflux's. Does not raise.
    ///
    /// # Safety
    /// As for [`lua_push_flux_handle_external`]; any acceptable index.
    fn lua_get_flux_handle(state: *mut lua_State, index: c_int) -> *mut flux_t {
        // SAFETY: by the contract.
        let state = unsafe { State::new(state) };
        let backend = api::backend_at(state, index);
        let backend = backend.as_deref().map(|backend| backend as &dyn Any);
        match backend.and_then(|backend| backend.downcast_ref::<FluxHandle>()) {
            Some(handle) => handle.as_ptr(),
            None => std::ptr::null_mut(),
        }
    } unbound(error) {
        error.print();
        std::ptr::null_mut()
    }
}

/// C code that knew the C bindings finds the text on top of the stack.
fn no_more_than_text(error: backend::Error) -> Error {
    Error::failure(error.to_string())
}

exported! {
    /// Push a directory, which this takes over.
    ///
    /// # Safety
    /// As for [`lua_push_flux_handle_external`]; `dir` is null, or valid and the
    /// caller's to give, and so is its handle valid, or null.
    fn lua_push_kvsdir(state: *mut lua_State, dir: *mut flux_kvsdir_t) -> c_int {
        // SAFETY: by the contract. The directory is owned before anything can fail.
        unsafe {
            let dir = FluxKvsdir::from_owned(dir);
            enter(state, move |state| push_dir(state, dir))
        }
    } unbound(error) {
        // SAFETY: the caller's promise. The directory is freed.
        unsafe {
            drop(FluxKvsdir::from_owned(dir));
            error.fail(state)
        }
    }
}

exported! {
    /// Push a directory that stays the caller's.
    ///
    /// # Safety
    /// As for [`lua_push_kvsdir`].
    fn lua_push_kvsdir_external(state: *mut lua_State, dir: *mut flux_kvsdir_t) -> c_int {
        // SAFETY: by the contract.
        unsafe { enter(state, |state| push_dir(state, FluxKvsdir::shared(dir))) }
    } unbound(error) {
        // SAFETY: the caller's promise.
        unsafe { error.fail(state) }
    }
}

/// # Safety
/// The directory's handle is null or valid.
unsafe fn push_dir(state: State<'_>, dir: backend::Result<FluxKvsdir>) -> Result<OnTop> {
    let dir = dir.map_err(no_more_than_text)?;
    let (key, names) = (dir.key(), dir.names().map_err(no_more_than_text)?);
    // SAFETY: by the contract.
    let handle = unsafe { push_handle(state, dir.handle()) }?;
    // Of the handle's userdata on top.
    push_owned(
        state,
        1,
        NewDir::external(handle, key, names, Box::new(dir)),
    )
}
