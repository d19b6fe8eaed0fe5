//! Lua's C API as its headers declare it; `build.rs` makes the declarations. The
//! functions are not linked: each calls through a table, which `library` fills
//! from the Lua that loaded the module. `compat` hides the differences between
//! Lua versions.

pub use declarations::*;

/// Turns the functions of bindgen's `extern` block into a table of pointers, and
/// defines a wrapper of the same name and type for each pointer. The one variadic
/// function, `lua_gc`, takes one [`Variable`] in place of the variable arguments.
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
            /// The table before it is filled: each entry ends the process. Every
            /// exported function fills the table first, so none is ever called.
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
                // SAFETY: `bind` writes the table only when no thread can be
                // reading it. The caller keeps the contract of Lua's function.
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

// The names are C's, and so is the documentation. Each Lua version leaves other
// functions unused.
#[allow(dead_code, missing_docs, non_camel_case_types, non_snake_case)]
mod declarations {
    use std::cell::UnsafeCell;

    include!(concat!(env!("OUT_DIR"), "/lua_functions.rs"));

    /// The table. It has no lock, so a call through it costs no more than a
    /// call into a shared library.
    struct Table(UnsafeCell<Functions>);

    // SAFETY: by the contract of `bind`, each write happens before or after all
    // reads.
    unsafe impl Sync for Table {}

    static FUNCTIONS: Table = Table(UnsafeCell::new(Functions::UNBOUND));

    /// Fills the table.
    ///
    /// # Safety
    /// No thread is calling one of them, and each thread that calls one
    /// afterwards has synchronized with this call. The functions stay loaded as
    /// long as they are called.
    pub unsafe fn bind(functions: Functions) {
        // SAFETY: by the contract, no thread reads the table now.
        unsafe { *FUNCTIONS.0.get() = functions }
    }

    extern "C" fn unbound() {
        eprintln!("flux.so called a function of Lua before it was bound to a Lua");
        std::process::abort()
    }
}
