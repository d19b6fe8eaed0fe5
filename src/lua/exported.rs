//! The functions that C code finds by name, `luaopen_flux` among them. Each
//! first makes sure that the module is bound to its caller's Lua, for which it
//! needs its own return address.
//!
//! Rust gives no function its return address. So the exported symbol is two
//! instructions of assembler that pass it on as one more argument.

/// Defines exported functions. Where the caller's Lua is not the one that the
/// module works with, `refused` makes the result.
#[macro_export]
macro_rules! exported {
    ($(
        $(#[$meta:meta])*
        fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block
        refused($refusal:ident) $refused:block
    )*) => {$(
        $(#[$meta])*
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C-unwind" fn $name($($argument: $type),*) $(-> $result)? {
            $crate::pass_return_address!($name::called; $($argument)*)
        }

        // On other machines the Lua that the process shares is taken.
        $(#[$meta])*
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's promise.
            unsafe { $name::called($($argument,)* ::std::ptr::null()) }
        }

        /// What the exported function of this name does.
        #[allow(non_snake_case, reason = "C's name may be `luaL_…`")]
        mod $name {
            #[allow(clippy::wildcard_imports, unused_imports)]
            use super::*;

            pub unsafe extern "C-unwind" fn called(
                $($argument: $type,)*
                caller: *const ::std::ffi::c_void,
            ) $(-> $result)? {
                // SAFETY: C code passes a live state of its Lua.
                match unsafe { $crate::lua::bind($crate::first!($($argument)*), caller) } {
                    Ok(()) => $body
                    Err($refusal) => $refused
                }
            }
        }
    )*};
}

/// The first of some expressions.
#[macro_export]
macro_rules! first {
    ($first:ident $($rest:ident)*) => {
        $first
    };
}

/// The body of a naked function: a jump to another that takes the same
/// arguments, and then the return address.
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
