//! libjansson's objects, by the libjansson of the process that passes them:
//! it is found at run time, and nothing here links it. One Rust type owns a
//! value that is being made; what the values mean is `json`'s business.

use std::ffi::{CStr, c_char, c_double, c_int, c_longlong, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::symbols::functions;

/// The head of each value, whose inside is libjansson's.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct json_t {
    kind: c_int,
    refcount: usize,
}

/// What a value is: jansson's `json_type`, in its order.
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

/// The type of a value; none for a number that is no type.
///
/// # Safety
/// `value` is a valid value.
pub unsafe fn type_of(value: *const json_t) -> Option<Type> {
    // SAFETY: valid by the contract.
    let kind = unsafe { (*value).kind };
    TYPES.get(usize::try_from(kind).ok()?).copied()
}

functions! {
    /// libjansson's functions, of version 2.7 or newer. What is newer than that
    /// is optional.
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

/// The libjansson that is in this process; a search that failed is made again
/// by the next call.
pub fn api() -> Option<&'static Api> {
    static API: OnceLock<Api> = OnceLock::new();
    if let Some(api) = API.get() {
        return Some(api);
    }
    // SAFETY: a terminated name. Nothing is loaded: it is there already, or not.
    let library = unsafe { libc::dlopen(SONAME.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    let place = match library.is_null() {
        true => libc::RTLD_DEFAULT,
        false => library,
    };
    // SAFETY: a terminated name, and a library that is never closed, or the
    // process itself. The symbols are libjansson's by the library's name, or
    // all there by the names of its functions.
    let found = unsafe { Api::load(&|name| libc::dlsym(place, name.as_ptr())) };
    found.ok().map(|found| API.get_or_init(|| found))
}

/// Owns the only reference on a value that is being made.
pub struct Json {
    api: &'static Api,
    value: NonNull<json_t>,
}

impl Json {
    /// Take over what a jansson call returned; none for null, which it is when
    /// memory is short.
    ///
    /// # Safety
    /// `value` is null, or a value of which the caller has the only reference,
    /// or one of the three that are never freed.
    pub unsafe fn from_owned(api: &'static Api, value: *mut json_t) -> Option<Json> {
        let value = NonNull::new(value)?;
        Some(Json { api, value })
    }

    pub fn as_ptr(&self) -> *mut json_t {
        self.value.as_ptr()
    }

    /// Give the reference away.
    pub fn into_raw(self) -> *mut json_t {
        std::mem::ManuallyDrop::new(self).value.as_ptr()
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        // SAFETY: the only reference, so that what json_decref would come to
        // is this; it leaves true, false and null alone.
        unsafe { (self.api.json_delete)(self.value.as_ptr()) }
    }
}
