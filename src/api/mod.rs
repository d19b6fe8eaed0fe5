//! The Lua API: the modules `flux` and `kvs` with their classes, built on `lua`, `json` and
//! `backend`. Each subject has a file or a folder. This file registers them all: no class
//! file knows the methods that another file adds to its class.

mod arguments;
mod error;
mod event;
mod handle;
mod kvs;
mod message;
mod module;
mod payload;
mod quote;
mod reactor;
mod read_only;
mod rpc;
mod text;
mod wait;

use std::ffi::CStr;
use std::os::raw::{c_int, c_void};

pub use arguments::push_formatted;
pub use handle::{Handle, backend_at, push_external};
pub use kvs::dir::NewDir;
pub use message::responder::{NoResponse, Responder, ResponderResult};
pub use message::{NewMessage, push_class as push_message_class};

use crate::backend::{self, msgtype};
use crate::lua::{
    self, Kind, Push, RegistryKey, State, Writer, callbacks, lua_CFunction, lua_State,
};
use crate::{exported, json, lua_functions};

lua_functions! {
    open_flux => flux_module;
    open_kvs => kvs_module;
    version => versions;
}

exported! {
    /// Opens module `flux`, for `require "flux"`.
    ///
    /// # Safety
    /// Lua calls this with a live state, as it calls any C function.
    fn luaopen_flux(state: *mut lua_State) -> c_int {
        // SAFETY: the state is live by the contract, and this frame owns nothing.
        unsafe {
            lua::check_version(state);
            open_flux(state)
        }
    } unbound(error) {
        // SAFETY: as above.
        unsafe { error.raise(state) }
    }

    /// Opens module `kvs`, for `require "kvs"`. `kvs.lua` returns the same table.
    ///
    /// # Safety
    /// As for [`luaopen_flux`].
    fn luaopen_kvs(state: *mut lua_State) -> c_int {
        // SAFETY: the state is live by the contract, and this frame owns nothing.
        unsafe {
            lua::check_version(state);
            open_kvs(state)
        }
    } unbound(error) {
        // SAFETY: as above.
        unsafe { error.raise(state) }
    }
}

/// Pushes the table of module `flux`.
struct FluxModule;
/// Pushes the table of module `kvs`.
struct KvsModule;

fn flux_module(_: State<'_>) -> lua::Result<FluxModule> {
    Ok(FluxModule)
}

fn kvs_module(_: State<'_>) -> lua::Result<KvsModule> {
    Ok(KvsModule)
}

/// The registry key of a flag that says that the classes are registered.
static OPENED: RegistryKey = RegistryKey::unique();

/// Registers the classes, unless a module of this Lua state has done so. C code that pushes
/// objects calls this. Fails only without memory.
pub fn open(state: State<'_>) -> lua::Result<()> {
    let is_open = state.registry(&OPENED) != Kind::Nil;
    state.pop(1);
    if is_open {
        return Ok(());
    }
    state.protect(0, |writer| {
        open_classes(writer);
        0
    })?;
    Ok(())
}

/// Registers the classes once per Lua state, so that objects keep their class when a module
/// is loaded again.
fn open_classes(writer: &Writer<'_>) {
    let is_open = writer.state().registry(&OPENED) != Kind::Nil;
    writer.state().pop(1);
    if is_open {
        return;
    }
    callbacks::open(writer);
    json::open(writer);
    arguments::open(writer);
    reactor::class::open(writer);
    open_handle(writer);
    open_message(writer);
    open_dir(writer);
    kvs::stream::open(writer);
    writer.boolean(true);
    writer.set_registry(&OPENED);
}

/// Registers the class of handles, with the methods of all subjects.
fn open_handle(writer: &Writer<'_>) {
    handle::class::open(writer);
    let class = writer.state().top();
    for methods in [
        rpc::METHODS,
        event::METHODS,
        reactor::run::METHODS,
        kvs::keys::METHODS,
        kvs::stream::METHODS,
    ] {
        set_functions(writer, class, methods);
    }
    for methods in [
        reactor::msghandler::CONSTRUCTORS,
        reactor::timer::CONSTRUCTORS,
        reactor::fd::CONSTRUCTORS,
        reactor::iowatcher::CONSTRUCTORS,
        reactor::stat::CONSTRUCTORS,
        reactor::signal::CONSTRUCTORS,
        kvs::watcher::CONSTRUCTORS,
    ] {
        reactor::builder::set_constructors(writer, class, methods);
    }
    writer.state().pop(1);
}

/// Registers the class of messages.
fn open_message(writer: &Writer<'_>) {
    message::open(writer);
    set_functions(writer, writer.state().top(), message::respond::METHODS);
    writer.state().pop(1);
}

/// Registers the class of KVS directories.
fn open_dir(writer: &Writer<'_>) {
    kvs::dir::open(writer);
    let class = writer.state().top();
    for methods in DIR_METHODS {
        set_functions(writer, class, methods);
    }
    writer.state().pop(1);
}

/// The methods of KVS directories, which are also the functions of module `kvs`.
const DIR_METHODS: [&[(&CStr, lua_CFunction)]; 2] = [kvs::dir::METHODS, kvs::watch::METHODS];

impl Push for FluxModule {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        open_classes(writer);
        writer.table(0, 20);
        let table = writer.state().top();
        set_functions(writer, table, &[(c"version", Some(version))]);
        for functions in [
            handle::open::FUNCTIONS,
            module::exitstatus::FUNCTIONS,
            module::assert::FUNCTIONS,
            module::names::FUNCTIONS,
        ] {
            set_functions(writer, table, functions);
        }
        set_constants(writer, table);
        module::names::set_tables(writer, table);
        json::push_module(writer);
        writer.set_field(table, c"json");
        KvsModule.push(writer);
        writer.set_field(table, c"kvs");
        1
    }
}

impl Push for KvsModule {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        open_classes(writer);
        writer.table(0, DIR_METHODS.iter().map(|methods| methods.len()).sum());
        let table = writer.state().top();
        for methods in DIR_METHODS {
            set_functions(writer, table, methods);
        }
        1
    }
}

/// Sets the functions as fields of the table at `table`.
fn set_functions(writer: &Writer<'_>, table: c_int, functions: &[(&CStr, lua_CFunction)]) {
    for (name, function) in functions {
        // SAFETY: the tables of this module contain entry points.
        unsafe { writer.function(*function) };
        writer.set_field(table, name);
    }
}

/// Sets the constants of module `flux`.
fn set_constants(writer: &Writer<'_>, table: c_int) {
    for (name, value) in [
        (c"MSGTYPE_REQUEST", msgtype::REQUEST.into()),
        (c"MSGTYPE_RESPONSE", msgtype::RESPONSE.into()),
        (c"MSGTYPE_EVENT", msgtype::EVENT.into()),
        (c"MSGTYPE_ANY", msgtype::ANY.into()),
        (c"NODEID_ANY", backend::NODEID_ANY.into()),
        (c"NODEID_UPSTREAM", i64::from(backend::NODEID_UPSTREAM)),
    ] {
        writer.integer(value);
        writer.set_field(table, name);
    }
    writer.light_userdata(std::ptr::null::<c_void>());
    writer.set_field(table, c"NULL");
}

/// `flux.version()`: the versions of this module, of libflux-core or nil, and of Lua.
fn versions(_: State<'_>) -> lua::Result<(&'static str, Option<lua::Text>, &'static str)> {
    let libflux = backend::libflux::version().map(lua::Text);
    Ok((env!("CARGO_PKG_VERSION"), libflux, lua::NAME))
}
