//! Tables of C functions that are not linked: each is looked up by its name,
//! once, in one loop for all of them.

use std::ffi::{CStr, c_void};

/// One list of C prototypes, from which the struct of their pointers and its
/// lookup are made. What is optional is an `Option`.
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

            /// Fill the table. The error is the name of a required function
            /// that is not there.
            ///
            /// # Safety
            /// `symbol` gives null, or the address of the library's function
            /// of that name, which stays loaded while the process lives.
            pub unsafe fn load(
                symbol: &dyn Fn(&std::ffi::CStr) -> *mut std::ffi::c_void,
            ) -> Result<$api, &'static str> {
                const LENGTH: usize = size_of::<$api>() / size_of::<usize>();
                let mut table = [std::ptr::null_mut(); LENGTH];
                $crate::symbols::look_up($api::REQUIRED, $api::OPTIONAL, symbol, &mut table)?;
                // SAFETY: a field is a pointer to a function, in the order of
                // the names; by this function's contract that is the C function
                // of the prototype. Only one that is optional is null: None.
                Ok(unsafe { std::mem::transmute::<[*mut std::ffi::c_void; LENGTH], $api>(table) })
            }
        }
    };
}
pub(crate) use functions;

/// Fill the table with what is found under these names, each of which a NUL
/// ends; or say which of those required is not there.
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
