//! Tables of C functions that are looked up by name at run time, because the
//! module does not link their libraries. The tables are where they are used; this
//! file defines the macro that makes them.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

/// Defines a struct of function pointers from a list of C prototypes, and the
/// function that fills it. In place of a replaceable function that is missing, the
/// pointer is that of a stand-in, which fails with ENOSYS. A pointer that may be
/// missing is an `Option`.
macro_rules! functions {
    (
        $(#[$doc:meta])*
        $api:ident, $abi:tt;
        required { $(fn $name:ident $args:tt $(-> $ret:ty)?;)* }
        $(replaceable { $(fn $rep_name:ident $rep_args:tt $(-> $rep_ret:ty)?;)* })?
        optional { $(fn $opt_name:ident $opt_args:tt $(-> $opt_ret:ty)?;)* }
    ) => {
        $(#[$doc])*
        #[repr(C)]
        pub struct $api {
            $(pub $name: unsafe extern $abi fn $args $(-> $ret)?,)*
            $($(pub $rep_name: unsafe extern $abi fn $rep_args $(-> $rep_ret)?,)*)?
            $(pub $opt_name: Option<unsafe extern $abi fn $opt_args $(-> $opt_ret)?>,)*
        }

        impl $api {
            const REQUIRED: &str = concat!($(stringify!($name), "\0",)*);
            const REPLACEABLE: &str = concat!($($(stringify!($rep_name), "\0",)*)?);
            const OPTIONAL: &str = concat!($(stringify!($opt_name), "\0",)*);

            /// One for each replaceable function, in the order of the names.
            const STAND_INS: &[*mut std::ffi::c_void] = &[$($({
                #[allow(unused_variables, reason = "it fails whatever it is passed")]
                unsafe extern $abi fn stand_in $rep_args $(-> $rep_ret)? {
                    $crate::symbols::Failure::not_implemented()
                }
                stand_in as *mut std::ffi::c_void
            },)*)?];

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
                let names = [$api::REQUIRED, $api::REPLACEABLE, $api::OPTIONAL];
                $crate::symbols::look_up(names, $api::STAND_INS, symbol, &mut table)?;
                // SAFETY: the fields are pointers to functions, in the order of the
                // names. By the contract each has the type of its prototype, and so
                // does a stand-in. Only an optional one can be null, which is None.
                Ok(unsafe { std::mem::transmute::<[*mut std::ffi::c_void; LENGTH], $api>(table) })
            }
        }
    };
}
pub(crate) use functions;

/// Fills `table` with the addresses of the functions of these names: the required,
/// the replaceable, for which there are stand-ins, and the optional ones. Each name
/// ends with a NUL. The error is the name of a required function that is missing.
pub fn look_up(
    [required, replaceable, optional]: [&'static str; 3],
    stand_ins: &[*mut c_void],
    symbol: &dyn Fn(&CStr) -> *mut c_void,
    table: &mut [*mut c_void],
) -> Result<(), &'static str> {
    let find = |name: &str| match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => symbol(name),
        Err(_) => ptr::null_mut(),
    };
    let mut places = table.iter_mut();
    for (name, place) in required.split_inclusive('\0').zip(places.by_ref()) {
        *place = find(name);
        if place.is_null() {
            return Err(name.trim_end_matches('\0'));
        }
    }
    let replaceable = replaceable.split_inclusive('\0').zip(stand_ins);
    for ((name, &stand_in), place) in replaceable.zip(places.by_ref()) {
        let found = find(name);
        *place = if found.is_null() { stand_in } else { found };
    }
    for (name, place) in optional.split_inclusive('\0').zip(places) {
        *place = find(name);
    }
    Ok(())
}

/// The result of a C function that fails.
pub trait Failure {
    /// Sets errno to ENOSYS, and returns the value that means failure.
    fn not_implemented() -> Self;
}

macro_rules! failures {
    ($($type:ty: $value:expr;)*) => {$(
        impl Failure for $type {
            fn not_implemented() -> $type {
                set_errno(libc::ENOSYS);
                $value
            }
        }
    )*};
}

failures! {
    (): ();
    bool: false;
    c_int: -1;
    // No matchtag.
    u32: 0;
}

impl<T> Failure for *mut T {
    fn not_implemented() -> *mut T {
        set_errno(libc::ENOSYS);
        ptr::null_mut()
    }
}

impl<T> Failure for *const T {
    fn not_implemented() -> *const T {
        set_errno(libc::ENOSYS);
        ptr::null()
    }
}

fn set_errno(errnum: c_int) {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() = errnum };
}
