//! Functions that C code finds by name, `luaopen_flux` among them. Each first
//! makes sure that the module is bound to its caller's Lua; `library` does that.
//! The head of `entry` says how these functions fit with the others.
//!
//! The caller is known by the return address. Rust does not give a function its
//! return address, so the exported symbol is two instructions of assembler that
//! pass it to the real function as one more argument.

/// Defines exported functions. The first argument is the Lua state. If the module
/// cannot work with the caller's Lua, the block after `unbound` makes the result
/// from the [`BindError`](crate::lua::BindError).
#[macro_export]
macro_rules! exported {
    ($(
        $(#[$meta:meta])*
        fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block
        unbound($error:ident) $unbound:block
    )*) => {$(
        $(#[$meta])*
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C-unwind" fn $name($($argument: $type),*) $(-> $result)? {
            $crate::pass_return_address!($name::called; $($argument)*)
        }

        // On other machines the caller is unknown, and the module is bound to
        // the Lua whose symbols the process shares.
        $(#[$meta])*
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller keeps the contract above.
            unsafe { $name::called($($argument,)* ::std::ptr::null()) }
        }

        /// The function behind the exported symbol of this name.
        #[allow(non_snake_case, reason = "C's name may be `luaL_…`")]
        mod $name {
            #[allow(clippy::wildcard_imports, unused_imports)]
            use super::*;

            /// # Safety
            /// As for the exported function. `caller` is an address in the code
            /// that called it, or null.
            pub unsafe extern "C-unwind" fn called(
                $($argument: $type,)*
                caller: *const ::std::ffi::c_void,
            ) $(-> $result)? {
                // SAFETY: the caller passes a live state of its Lua.
                match unsafe { $crate::lua::bind($crate::first!($($argument)*), caller) } {
                    Ok(()) => $body
                    Err($error) => $unbound
                }
            }
        }
    )*};
}

/// The first of several names.
#[macro_export]
macro_rules! first {
    ($first:ident $($rest:ident)*) => {
        $first
    };
}

/// The body of a naked function: a jump to a function that takes the same
/// arguments and the return address after them.
#[cfg(target_arch = "x86_64")]
#[macro_export]
macro_rules! pass_return_address {
    ($to:path; $a:ident) => {
        ::std::arch::naked_asm!("mov rsi, [rsp]", "jmp {}", sym $to)
    };
    ($to:path; $a:ident $b:ident) => {
        ::std::arch::naked_asm!("mov rdx, [rsp]", "jmp {}", sym $to)
    };
    ($to:path; $a:ident $b:ident $c:ident) => {
        ::std::arch::naked_asm!("mov rcx, [rsp]", "jmp {}", sym $to)
    };
}

#[cfg(target_arch = "aarch64")]
#[macro_export]
macro_rules! pass_return_address {
    ($to:path; $a:ident) => {
        ::std::arch::naked_asm!("mov x1, x30", "b {}", sym $to)
    };
    ($to:path; $a:ident $b:ident) => {
        ::std::arch::naked_asm!("mov x2, x30", "b {}", sym $to)
    };
    ($to:path; $a:ident $b:ident $c:ident) => {
        ::std::arch::naked_asm!("mov x3, x30", "b {}", sym $to)
    };
}
