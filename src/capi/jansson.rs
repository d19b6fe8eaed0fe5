//! libjansson's functions and values. The module does not link the library, but
//! finds the one that C code in this process uses at run time. Conversions are
//! in `json`.

use std::ffi::{CStr, c_char, c_double, c_int, c_longlong, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::symbols::functions;

/// The beginning of each jansson value. The rest is private to libjansson.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct json_t {
    kind: c_int,
    refcount: usize,
}

/// The type of a value: jansson's `json_type`, in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Object,
    Array,
    String,
    Integer,
    Real,
    True,
    False,
    Null,
}

const TYPES: [Type; 8] = [
    Type::Object,
    Type::Array,
    Type::String,
    Type::Integer,
    Type::Real,
    Type::True,
    Type::False,
    Type::Null,
];

/// The type of a value. None if the number is not a type of jansson's.
///
/// # Safety
/// `value` is a valid value.
pub unsafe fn type_of(value: *const json_t) -> Option<Type> {
    // SAFETY: by the contract.
    let kind = unsafe { (*value).kind };
    TYPES.get(usize::try_from(kind).ok()?).copied()
}

functions! {
    /// libjansson's functions. Version 2.7 has the required ones.
    Api, "C";
    required {
        fn json_object() -> *mut json_t;
        fn json_array() -> *mut json_t;
        fn json_stringn_nocheck(*const c_char, usize) -> *mut json_t;
        fn json_integer(c_longlong) -> *mut json_t;
        fn json_real(c_double) -> *mut json_t;
        fn json_true() -> *mut json_t;
        fn json_false() -> *mut json_t;
        fn json_null() -> *mut json_t;
        fn json_object_set_new_nocheck(*mut json_t, *const c_char, *mut json_t) -> c_int;
        fn json_array_append_new(*mut json_t, *mut json_t) -> c_int;
        fn json_string_value(*const json_t) -> *const c_char;
        fn json_string_length(*const json_t) -> usize;
        fn json_integer_value(*const json_t) -> c_longlong;
        fn json_real_value(*const json_t) -> c_double;
        fn json_array_size(*const json_t) -> usize;
        fn json_array_get(*const json_t, usize) -> *mut json_t;
        fn json_object_size(*const json_t) -> usize;
        fn json_object_iter(*mut json_t) -> *mut c_void;
        fn json_object_iter_next(*mut json_t, *mut c_void) -> *mut c_void;
        fn json_object_iter_key(*mut c_void) -> *const c_char;
        fn json_object_iter_value(*mut c_void) -> *mut json_t;
        fn json_delete(*mut json_t);
    }
    optional {
        fn json_object_setn_new_nocheck(*mut json_t, *const c_char, usize, *mut json_t) -> c_int;
        fn json_object_iter_key_len(*mut c_void) -> usize;
    }
}

const SONAME: &CStr = c"libjansson.so.4";

/// The libjansson in this process. If there is none yet, the next call searches
/// again.
pub fn api() -> Option<&'static Api> {
    static API: OnceLock<Api> = OnceLock::new();
    if let Some(api) = API.get() {
        return Some(api);
    }
    // SAFETY: the name ends with a NUL. Nothing is loaded by this call.
    let library = unsafe { libc::dlopen(SONAME.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    let place = match library.is_null() {
        true => libc::RTLD_DEFAULT,
        false => library,
    };
    // SAFETY: the library is never closed. It is libjansson by its name. Otherwise
    // the process has functions of all these names, which are libjansson's too.
    let found = unsafe { Api::load(&|name| libc::dlsym(place, name.as_ptr())) };
    found.ok().map(|found| API.get_or_init(|| found))
}

/// Owns the only reference to a value that is being made.
pub struct Json {
    api: &'static Api,
    value: NonNull<json_t>,
}

impl Json {
    /// Takes ownership of a value that a jansson function returned. None for
    /// null, which means that memory was lacking.
    ///
    /// # Safety
    /// `value` is null, or the only reference to a value, or one of true, false and
    /// null, which are never freed.
    pub unsafe fn from_owned(api: &'static Api, value: *mut json_t) -> Option<Json> {
        let value = NonNull::new(value)?;
        Some(Json { api, value })
    }

    /// The value, which stays owned by this.
    pub fn as_ptr(&self) -> *mut json_t {
        self.value.as_ptr()
    }

    /// Gives up ownership of the reference.
    pub fn into_raw(self) -> *mut json_t {
        std::mem::ManuallyDrop::new(self).value.as_ptr()
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        // SAFETY: this is the only reference, so json_decref (which is inline in C)
        // would call this too. It ignores true, false and null.
        unsafe { (self.api.json_delete)(self.value.as_ptr()) }
    }
}
