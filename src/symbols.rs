//! Tables of C functions that are looked up by name at run time, because the
//! module does not link their libraries. The tables are where they are used; this
//! file defines the macro that makes them.

use std::ffi::{CStr, c_void};

/// Defines a struct of function pointers from a list of C prototypes, and the
/// function that fills it. A pointer that may be missing is an `Option`.
macro_rules! functions {
    (
        $(#[$doc:meta])*
        $api:ident, $abi:tt;
        required { $(fn $name:ident $args:tt $(-> $ret:ty)?;)* }
        optional { $(fn $opt_name:ident $opt_args:tt $(-> $opt_ret:ty)?;)* }
    ) => {
        $(#[$doc])*
        #[repr(C)]
        pub struct $api {
            $(pub $name: unsafe extern $abi fn $args $(-> $ret)?,)*
            $(pub $opt_name: Option<unsafe extern $abi fn $opt_args $(-> $opt_ret)?>,)*
        }

        impl $api {
            const REQUIRED: &str = concat!($(stringify!($name), "\0",)*);
            const OPTIONAL: &str = concat!($(stringify!($opt_name), "\0",)*);

            /// Looks up all functions. The error is the name of a required function
            /// that is missing.
            ///
            /// # Safety
            /// `symbol` returns null, or the address of the function of that name,
            /// which has the type of the prototype. Functions are called only
            /// while the library is loaded.
            pub unsafe fn load(
                symbol: &dyn Fn(&std::ffi::CStr) -> *mut std::ffi::c_void,
            ) -> Result<$api, &'static str> {
                const LENGTH: usize = size_of::<$api>() / size_of::<usize>();
                let mut table = [std::ptr::null_mut(); LENGTH];
                $crate::symbols::look_up($api::REQUIRED, $api::OPTIONAL, symbol, &mut table)?;
                // SAFETY: the fields are pointers to functions, in the order of the
                // names. By the contract each has the type of its prototype. Only
                // an optional one can be null, which is None.
                Ok(unsafe { std::mem::transmute::<[*mut std::ffi::c_void; LENGTH], $api>(table) })
            }
        }
    };
}
pub(crate) use functions;

/// Fills `table` with the addresses of the functions of these names, required ones
/// first. Each name ends with a NUL. The error is the name of a required function
/// that is missing.
pub fn look_up(
    required: &'static str,
    optional: &'static str,
    symbol: &dyn Fn(&CStr) -> *mut c_void,
    table: &mut [*mut c_void],
) -> Result<(), &'static str> {
    let required = required.split_inclusive('\0').map(|name| (name, true));
    let optional = optional.split_inclusive('\0').map(|name| (name, false));
    for (place, (name, is_required)) in table.iter_mut().zip(required.chain(optional)) {
        if let Ok(name) = CStr::from_bytes_with_nul(name.as_bytes()) {
            *place = symbol(name);
        }
        if is_required && place.is_null() {
            return Err(name.trim_end_matches('\0'));
        }
    }
    Ok(())
}
