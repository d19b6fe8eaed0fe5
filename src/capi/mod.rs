//! The C API of the module, which the headers in include/ declare. It passes
//! handles and other objects of C code to Lua as the userdata that scripts use
//! (`api`). This file has handles and KVS directories; JSON, messages and
//! helpers are in files of their own.

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

/// The free slots that a function below needs. C code may have used up those that
/// Lua gave it.
const SLOTS: c_int = 20;

/// [`lua::enter`] for calls from C code: also reserves stack slots and makes
/// the module's classes. The results must own nothing. For results that own
/// something, use [`push_owned`].
///
/// # Safety
/// As for [`lua::enter`].
unsafe fn enter<R, F>(state: *mut lua_State, body: F) -> c_int
where
    R: Push,
    F: FnOnce(State<'_>) -> Result<R>,
{
    const {
        assert!(!std::mem::needs_drop::<R>(), "use push_owned");
    }
    let prepared = |state: State<'_>| {
        state.reserve(SLOTS)?;
        api::open(state)?;
        body(state)
    };
    // SAFETY: by the contract.
    unsafe { lua::enter(state, prepared) }
}

/// Replaces the topmost `args` values by a value that owns something. The rest
/// of the stack belongs to C code, and stays. (`lua::enter` would replace the
/// whole stack.)
fn push_owned(state: State<'_>, args: c_int, mut value: impl Push) -> Result<OnTop> {
    state.protect(args, |writer| value.push(writer))?;
    Ok(OnTop)
}

/// The number that a function returns to C code. Nothing is pushed, because the
/// values that it counts are already on the stack.
struct Count(c_int);

impl Push for Count {
    fn push(&mut self, _: &Writer<'_>) -> c_int {
        self.0
    }
}

fn set_errno(errnum: c_int) {
    // SAFETY: this is the address of this thread's errno.
    unsafe { libc::__errno_location().write(errnum) }
}

exported! {
    /// Pushes the userdata of a handle of C code.
    ///
    /// # Safety
    /// `state` is live, and the caller may use it on this thread. `h` is null
    /// or a valid handle, which only this thread uses while the state lives. No
    /// frame between this one and Lua has a destructor to run.
    fn lua_push_flux_handle_external(state: *mut lua_State, h: *mut flux_t) -> c_int {
        // SAFETY: by the contract.
        unsafe {
            enter(state, |state| {
                push_handle(state, h)?;
                Ok(OnTop)
            })
        }
    } unbound(error) {
        // SAFETY: by the contract.
        unsafe { error.fail(state) }
    }
}

/// Pushes the userdata of a handle of C code. The error's text is its only
/// result besides nil.
///
/// # Safety
/// For `h`, as for [`lua_push_flux_handle_external`].
unsafe fn push_handle(state: State<'_>, h: *mut flux_t) -> Result<api::Handle> {
    if h.is_null() {
        return Err(text_only(backend::Error::new(libc::EINVAL)));
    }
    // SAFETY: by the contract.
    let backend = unsafe { FluxHandle::from_raw(h) }.map_err(text_only)?;
    api::push_external(state, Box::new(backend), h.cast::<c_void>())
}

exported! {
    /// Returns the `flux_t` of the handle at `index`, which keeps it. Returns null
    /// for another value, a closed handle, or a handle that has no `flux_t`. Does
    /// not raise.
    ///
    /// # Safety
    /// As for [`lua_push_flux_handle_external`]. `index` is acceptable.
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

/// An error without errno and detail, because C code written for the C bindings
/// expects the text on top of the stack.
fn text_only(error: backend::Error) -> Error {
    Error::failure(error.to_string())
}

exported! {
    /// Pushes a directory, and takes ownership of it.
    ///
    /// # Safety
    /// As for [`lua_push_flux_handle_external`]. `dir` is null, or a valid directory
    /// that the caller owns. The directory's handle is null or valid.
    fn lua_push_kvsdir(state: *mut lua_State, dir: *mut flux_kvsdir_t) -> c_int {
        // SAFETY: by the contract. The directory is owned before anything can fail,
        // and `enter` drops the closure that owns it before it raises.
        unsafe {
            let dir = FluxKvsdir::from_owned(dir);
            enter(state, move |state| push_dir(state, dir))
        }
    } unbound(error) {
        // SAFETY: by the contract. The directory is freed first.
        unsafe {
            drop(FluxKvsdir::from_owned(dir));
            error.fail(state)
        }
    }
}

exported! {
    /// Pushes a directory that the caller keeps.
    ///
    /// # Safety
    /// As for [`lua_push_kvsdir`].
    fn lua_push_kvsdir_external(state: *mut lua_State, dir: *mut flux_kvsdir_t) -> c_int {
        // SAFETY: by the contract.
        unsafe { enter(state, |state| push_dir(state, FluxKvsdir::shared(dir))) }
    } unbound(error) {
        // SAFETY: by the contract.
        unsafe { error.fail(state) }
    }
}

/// Pushes the userdata of a directory.
///
/// # Safety
/// The directory's handle is null or valid.
unsafe fn push_dir(state: State<'_>, dir: backend::Result<FluxKvsdir>) -> Result<OnTop> {
    let dir = dir.map_err(text_only)?;
    let (key, names) = (dir.key(), dir.names().map_err(text_only)?);
    // SAFETY: by the contract.
    let handle = unsafe { push_handle(state, dir.handle()) }?;
    // The handle's userdata, on top, is the argument.
    push_owned(
        state,
        1,
        NewDir::external(handle, key, names, Box::new(dir)),
    )
}
