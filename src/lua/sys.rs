//! Lua's C API as its headers declare it, made by `build.rs`. The functions are
//! not linked: each calls through a table that `library` fills from the Lua
//! that loaded the module. `compat` hides what differs between Lua versions.

pub use declarations::*;

/// Turns the functions of bindgen's `extern` block into a table of pointers,
/// and one wrapper of the same name and type for each pointer. The wrapper of a
/// function of variable arguments (`lua_gc`) takes one [`Variable`] in their place.
macro_rules! functions {
    ($(pub fn $name:ident(
        $($argument:ident: $type:ty),* $(, ... $(@$variable:tt)*)? $(,)?
    ) $(-> $result:ty)?;)*) => {
        $crate::symbols::functions! {
            /// Lua's functions.
            Functions, "C-unwind";
            required {
                $(fn $name($($argument: $type),* $(, ... $($variable)*)?) $(-> $result)?;)*
            }
            optional {}
        }

        impl Functions {
            /// Each entry ends the process. An exported function never leaves
            /// them in place, so no script and no C code gets to call one.
            const UNBOUND: Functions = {
                const LENGTH: usize = size_of::<Functions>() / size_of::<usize>();
                let table = [unbound as *mut std::ffi::c_void; LENGTH];
                // SAFETY: the fields are `LENGTH` pointers to functions. `unbound`
                // reads no argument and does not return, so any type fits it.
                unsafe { std::mem::transmute::<[*mut std::ffi::c_void; LENGTH], Functions>(table) }
            };
        }

        $(
            /// # Safety
            /// As for Lua's function of this name.
            #[inline(always)]
            pub unsafe fn $name(
                $($argument: $type),* $(, variable: crate::lua::sys::Variable $($variable)*)?
            ) $(-> $result)? {
                // SAFETY: the table is only written before the first call, or
                // when no thread can call (see `bind`). The rest is the
                // caller's promise.
                unsafe {
                    ((*FUNCTIONS.0.get()).$name)($($argument),* $(, variable $($variable)*)?)
                }
            }
        )*
    };
}

/// The variable argument of `lua_gc`.
#[cfg(feature = "lua55")]
pub type Variable = usize;
#[cfg(feature = "lua54")]
pub type Variable = std::ffi::c_int;

// The names are C's, and each Lua version leaves another part unused.
#[allow(dead_code, non_camel_case_types, non_snake_case)]
mod declarations {
    use std::cell::UnsafeCell;

    include!(concat!(env!("OUT_DIR"), "/lua_functions.rs"));

    /// A plain load finds an entry: an indirect call through this table costs
    /// what a call through the linkage table costs.
    struct Table(UnsafeCell<Functions>);

    // SAFETY: `bind`'s contract orders its write before all reads.
    unsafe impl Sync for Table {}

    static FUNCTIONS: Table = Table(UnsafeCell::new(Functions::UNBOUND));

    /// Makes Lua's functions callable.
    ///
    /// # Safety
    /// No thread is calling one of them, and each thread that calls one
    /// afterwards has synchronized with this call. The functions stay loaded as
    /// long as they are called.
    pub unsafe fn bind(functions: Functions) {
        // SAFETY: by the contract, nobody reads meanwhile.
        unsafe { *FUNCTIONS.0.get() = functions }
    }

    extern "C" fn unbound() {
        eprintln!("flux.so called a function of Lua before it was bound to a Lua");
        std::process::abort()
    }
}
