//! `jansson-lua.h`: conversions between Lua values and jansson's objects, without
//! text between them, and conversions to and from JSON text. The rules are those
//! of `crate::json`; `jansson` has the calls of the library.

use std::ffi::{CStr, c_char, c_int};

use super::jansson::{self, Api, Json, Type, json_t};
use super::{Count, enter, set_errno};
use crate::exported;
use crate::json::{self, MAX_DEPTH};
use crate::lua::{Kind, Push, Result, Scratch, State, Writer, lua_State};

exported! {
    /// Pushes `flux.NULL`.
    ///
    /// # Safety
    /// `state` is live, and the caller may use it on this thread. No frame
    /// between this one and Lua has a destructor to run.
    fn lua_push_json_null(state: *mut lua_State) {
        // SAFETY: by the contract; this frame owns nothing.
        unsafe { Writer::new(state) }.light_userdata(std::ptr::null());
    } unbound(error) {
        // SAFETY: by the contract.
        unsafe { error.push_nil(state) }
    }
}

exported! {
    /// Returns 1 if the value is `flux.NULL`, else 0.
    ///
    /// # Safety
    /// As for [`lua_push_json_null`]. `index` is acceptable.
    fn lua_is_json_null(state: *mut lua_State, index: c_int) -> c_int {
        // SAFETY: by the contract.
        let state = unsafe { State::new(state) };
        let is_null = state.kind(index) == Kind::LightUserdata && state.userdata(index).is_none();
        is_null.into()
    } unbound(error) {
        error.print();
        0
    }
}

exported! {
    /// Pushes the value of a jansson object.
    ///
    /// # Safety
    /// As for [`lua_push_json_null`]. `value` is null or a valid value, which nobody
    /// changes during the call.
    fn json_object_to_lua(state: *mut lua_State, value: *mut json_t) -> c_int {
        // SAFETY: by the contract.
        unsafe { enter(state, |_| Ok(Pushed(value))) }
    } unbound(error) {
        error.print();
        set_errno(libc::ENOTSUP);
        -1
    }
}

exported! {
    /// Pushes the value of a JSON text.
    ///
    /// # Safety
    /// As for [`lua_push_json_null`]. `text` is null or ends with a NUL.
    fn json_object_string_to_lua(state: *mut lua_State, text: *const c_char) -> c_int {
        // SAFETY: by the contract.
        unsafe {
            enter(state, |state| {
                if text.is_null() {
                    return Ok(failed(libc::EINVAL));
                }
                decode(state, CStr::from_ptr(text).to_bytes())
            })
        }
    } unbound(error) {
        error.print();
        set_errno(libc::ENOTSUP);
        -1
    }
}

exported! {
    /// Makes a jansson object of the value at `index`.
    ///
    /// # Safety
    /// As for [`lua_push_json_null`]. `value` is null or points to a pointer, which
    /// is overwritten.
    fn lua_value_to_json(state: *mut lua_State, index: c_int, value: *mut *mut json_t) -> c_int {
        // SAFETY: by the contract. The caller gets the reference that `made` owns.
        unsafe {
            enter(state, |state| match to_jansson(state, index) {
                Ok(made) if !value.is_null() => {
                    value.write(made.into_raw());
                    Ok(Count(0))
                }
                Ok(_) => Ok(failed(libc::EINVAL)),
                Err(errnum) => Ok(failed(errnum)),
            })
        }
    } unbound(error) {
        error.print();
        set_errno(libc::ENOTSUP);
        -1
    }
}

exported! {
    /// Makes a JSON text of the value at `index`.
    ///
    /// # Safety
    /// As for [`lua_push_json_null`]. `text` is null or points to a pointer, which is
    /// overwritten.
    fn lua_value_to_json_string(state: *mut lua_State, index: c_int, text: *mut *mut c_char) -> c_int {
        // SAFETY: by the contract.
        unsafe {
            enter(state, |state| match encode(state, index) {
                Ok(made) if !text.is_null() => {
                    text.write(made);
                    Ok(Count(0))
                }
                Ok(made) => {
                    libc::free(made.cast());
                    Ok(failed(libc::EINVAL))
                }
                Err(errnum) => Ok(failed(errnum)),
            })
        }
    } unbound(error) {
        error.print();
        set_errno(libc::ENOTSUP);
        -1
    }
}

/// Sets errno, and returns -1 to C code.
fn failed(errnum: c_int) -> Count {
    set_errno(errnum);
    Count(-1)
}

/// Pushes the value of a JSON text.
fn decode(state: State<'_>, text: &[u8]) -> Result<Count> {
    let mut decoded = Ok(());
    state.protect(0, |writer| {
        decoded = json::decode(writer, text, json::Options::default());
        decoded.is_ok().into()
    })?;
    match decoded {
        Ok(()) => Ok(Count(1)),
        Err(_) => Ok(failed(libc::EINVAL)),
    }
}

/// The value's JSON text, in memory from malloc. The error is an errno.
fn encode(state: State<'_>, index: c_int) -> std::result::Result<*mut c_char, c_int> {
    let mut scratch = Scratch::new();
    let mut text = json::Output::new(&mut scratch);
    if json::encode(state, index, &mut text).is_err() {
        return Err(libc::EINVAL);
    }
    // A JSON text contains no NUL: strings escape it.
    // SAFETY: malloc returns null or memory for the text and the NUL.
    unsafe {
        let copy: *mut c_char = libc::malloc(text.len() + 1).cast();
        if copy.is_null() {
            return Err(libc::ENOMEM);
        }
        copy.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        copy.add(text.len()).write(0);
        Ok(copy)
    }
}

/// The value at `index` as a jansson value. The error is an errno.
fn to_jansson(state: State<'_>, index: c_int) -> std::result::Result<Json, c_int> {
    let api = jansson::api().ok_or(libc::ENOSYS)?;
    let top = state.top();
    let index = state.absolute(index);
    let made = Reader { state, api }.value(index, 0);
    state.set_top(top);
    made
}

/// Makes jansson values from the Lua stack. It owns the values that it has made
/// so far, so it calls no Lua function that can raise.
struct Reader<'s> {
    state: State<'s>,
    api: &'static Api,
}

/// The slots that one level of nesting takes: key, value, and two for checks.
const READ_SLOTS: c_int = 4;

/// The error is an errno.
type Made<T = Json> = std::result::Result<T, c_int>;

impl Reader<'_> {
    fn value(&self, index: c_int, depth: u32) -> Made {
        match self.state.kind(index) {
            Kind::String => self.string(self.state.bytes(index).unwrap_or_default()),
            Kind::Number => self.number(index),
            Kind::Table => self.table(index, depth),
            Kind::Boolean if self.state.boolean(index) => self.constant(self.api.json_true),
            Kind::Boolean => self.constant(self.api.json_false),
            Kind::LightUserdata if self.state.userdata(index).is_none() => {
                self.constant(self.api.json_null)
            }
            _ => Err(libc::EINVAL),
        }
    }

    fn constant(&self, make: unsafe extern "C" fn() -> *mut json_t) -> Made {
        // SAFETY: jansson returns null, a new value, or one that is never freed.
        unsafe { Json::from_owned(self.api, make()) }.ok_or(libc::ENOMEM)
    }

    fn string(&self, text: &[u8]) -> Made {
        if std::str::from_utf8(text).is_err() {
            return Err(libc::EINVAL);
        }
        // SAFETY: jansson copies that many bytes into a new value.
        let made = unsafe {
            let value = (self.api.json_stringn_nocheck)(text.as_ptr().cast(), text.len());
            Json::from_owned(self.api, value)
        };
        made.ok_or(libc::ENOMEM)
    }

    fn number(&self, index: c_int) -> Made {
        let x = self.state.number(index).unwrap_or_default();
        let n = match self.state.has_integer_subtype(index) {
            true => self.state.integer(index),
            false => json::integral(x),
        };
        if n.is_none() && !x.is_finite() {
            return Err(libc::EINVAL);
        }
        // SAFETY: jansson makes a new value from a number.
        let made = unsafe {
            let value = match n {
                Some(n) => (self.api.json_integer)(n),
                None => (self.api.json_real)(x),
            };
            Json::from_owned(self.api, value)
        };
        made.ok_or(libc::ENOMEM)
    }

    fn table(&self, table: c_int, depth: u32) -> Made {
        if depth == MAX_DEPTH {
            return Err(libc::ELOOP);
        }
        if self.state.reserve(READ_SLOTS).is_err() {
            return Err(libc::ENOMEM);
        }
        match json::array_len(self.state, table) {
            Some(count) => self.array(table, count, depth),
            None => self.object(table, depth),
        }
    }

    fn array(&self, table: c_int, count: i64, depth: u32) -> Made {
        let array = self.constant(self.api.json_array)?;
        let value = self.state.top() + 1;
        for n in 1..=count {
            self.state.raw_get_index(table, n);
            let item = self.value(value, depth + 1)?;
            // SAFETY: `array` is an array, which takes ownership of the item.
            let rc = unsafe { (self.api.json_array_append_new)(array.as_ptr(), item.into_raw()) };
            check(rc)?;
            self.state.set_top(value - 1);
        }
        Ok(array)
    }

    fn object(&self, table: c_int, depth: u32) -> Made {
        let object = self.constant(self.api.json_object)?;
        let key = self.state.top() + 1;
        let mut count = 0;
        self.state.push_nil();
        // SAFETY: a table is there; the key is nil, or came from there.
        while unsafe { self.state.next(table) } {
            let value = self.value(key + 1, depth + 1)?;
            self.add(&object, key, value)?;
            count += 1;
            self.state.set_top(key);
        }
        // SAFETY: `object` is an object.
        let size = unsafe { (self.api.json_object_size)(object.as_ptr()) };
        // In Lua, 1 and "1" are two keys. In JSON they would be the same name.
        if size == count {
            Ok(object)
        } else {
            Err(libc::EINVAL)
        }
    }

    /// Adds the value under the key at `key`. Never inlined into the recursion: a
    /// 512-byte buffer at each level would exhaust the C stack.
    #[inline(never)]
    fn add(&self, object: &Json, key: c_int, value: Json) -> Made<()> {
        let mut scratch = Scratch::new();
        let mut number = json::Output::new(&mut scratch);
        let name = self.name(key, &mut number)?;
        self.set(object, name, value)
    }

    /// The name for a key. A number's name is written to `number`.
    fn name<'n>(&'n self, key: c_int, number: &'n mut json::Output<'_>) -> Made<&'n [u8]> {
        if let Some(name) = self.state.bytes(key) {
            return match std::str::from_utf8(name) {
                Ok(_) => Ok(name),
                Err(_) => Err(libc::EINVAL),
            };
        }
        match json::number_name(self.state, key, number) {
            true => Ok(number),
            false => Err(libc::EINVAL),
        }
    }

    fn set(&self, object: &Json, name: &[u8], value: Json) -> Made<()> {
        if let Some(set) = self.api.json_object_setn_new_nocheck {
            // SAFETY: `object` is an object, which copies the name and takes
            // ownership of the value.
            return check(unsafe {
                let value = value.into_raw();
                set(object.as_ptr(), name.as_ptr().cast(), name.len(), value)
            });
        }
        // Before jansson 2.14 a name cannot contain a NUL.
        let name = std::ffi::CString::new(name).map_err(|_| libc::EINVAL)?;
        // SAFETY: as above; the name ends with a NUL.
        check(unsafe {
            let value = value.into_raw();
            (self.api.json_object_set_new_nocheck)(object.as_ptr(), name.as_ptr(), value)
        })
    }
}

/// With valid arguments, jansson's functions fail only for lack of memory.
fn check(rc: c_int) -> Made<()> {
    if rc < 0 { Err(libc::ENOMEM) } else { Ok(()) }
}

/// A jansson value, which pushes itself as a Lua value. If that fails, C code
/// gets -1.
struct Pushed(*mut json_t);

impl Push for Pushed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        if self.0.is_null() {
            writer.nil();
            return 1;
        }
        let Some(api) = jansson::api() else {
            return failed(libc::ENOSYS).0;
        };
        let top = writer.state().top();
        // SAFETY: the value is valid, by the contract of `json_object_to_lua`.
        match unsafe { Pusher { writer, api }.value(self.0, 0) } {
            Ok(()) => 1,
            Err(errnum) => {
                writer.state().set_top(top);
                failed(errnum).0
            }
        }
    }
}

/// Pushes jansson values onto the Lua stack. It owns nothing, because each
/// allocation by Lua may raise.
struct Pusher<'w> {
    writer: &'w Writer<'w>,
    api: &'static Api,
}

/// The slots that one level of nesting takes: table, name and value, and one more.
const PUSH_SLOTS: c_int = 4;

impl Pusher<'_> {
    /// Pushes a value.
    ///
    /// # Safety
    /// `value` is valid, and nobody changes it during the call. For the methods
    /// below it also has the type that the method is named for.
    unsafe fn value(&self, value: *mut json_t, depth: u32) -> Made<()> {
        // SAFETY: by the contract; each method gets a value of its type.
        unsafe {
            match jansson::type_of(value) {
                Some(Type::Object) => return self.object(value, depth),
                Some(Type::Array) => return self.array(value, depth),
                Some(Type::String) => self.string(value),
                Some(Type::Integer) => self.writer.integer((self.api.json_integer_value)(value)),
                Some(Type::Real) => self.writer.number((self.api.json_real_value)(value)),
                Some(Type::True) => self.writer.boolean(true),
                Some(Type::False) => self.writer.boolean(false),
                Some(Type::Null) => self.writer.nil(),
                None => return Err(libc::EINVAL),
            }
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Pusher::value`].
    unsafe fn string(&self, value: *mut json_t) {
        // SAFETY: the string has that many bytes, which live as long as it does.
        let text = unsafe {
            let start = (self.api.json_string_value)(value);
            std::slice::from_raw_parts(start.cast(), (self.api.json_string_length)(value))
        };
        self.writer.bytes(text);
    }

    /// Checks the depth, and reserves slots for one more level.
    fn go_down(&self, depth: u32) -> Made<()> {
        if depth == MAX_DEPTH {
            return Err(libc::ELOOP);
        }
        self.writer.reserve(PUSH_SLOTS);
        Ok(())
    }

    /// # Safety
    /// As for [`Pusher::value`].
    unsafe fn array(&self, array: *mut json_t, depth: u32) -> Made<()> {
        self.go_down(depth)?;
        // SAFETY: by the contract, this is an array.
        let size = unsafe { (self.api.json_array_size)(array) };
        self.writer.table(size, 0);
        let table = self.writer.state().top();
        let mut is_empty = true;
        for position in 0..size {
            // Nulls leave holes in the table.
            // SAFETY: this is an array, which keeps its items.
            unsafe {
                let item = (self.api.json_array_get)(array, position);
                if item.is_null() || jansson::type_of(item) == Some(Type::Null) {
                    continue;
                }
                self.value(item, depth + 1)?;
            }
            let n = c_int::try_from(position + 1).map_err(|_| libc::EOVERFLOW)?;
            self.writer.raw_set_index(table, n);
            is_empty = false;
        }
        if is_empty {
            json::mark_array(self.writer, table);
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Pusher::value`].
    unsafe fn object(&self, object: *mut json_t, depth: u32) -> Made<()> {
        self.go_down(depth)?;
        // SAFETY: by the contract, this is an object.
        let size = unsafe { (self.api.json_object_size)(object) };
        self.writer.table(0, size);
        let table = self.writer.state().top();
        // SAFETY: this is an object, which nobody changes while it is iterated.
        unsafe {
            let mut iter = (self.api.json_object_iter)(object);
            while !iter.is_null() {
                let value = (self.api.json_object_iter_value)(iter);
                if jansson::type_of(value) != Some(Type::Null) {
                    self.name(iter);
                    self.value(value, depth + 1)?;
                    self.writer.raw_set(table);
                }
                iter = (self.api.json_object_iter_next)(object, iter);
            }
        }
        Ok(())
    }

    /// Pushes the name at an iterator.
    ///
    /// # Safety
    /// `iter` is valid and not at the end.
    unsafe fn name(&self, iter: *mut std::ffi::c_void) {
        // SAFETY: by the contract; the name ends with a NUL, and has that length.
        let name = unsafe {
            let start = (self.api.json_object_iter_key)(iter);
            match self.api.json_object_iter_key_len {
                Some(length) => std::slice::from_raw_parts(start.cast(), length(iter)),
                None => CStr::from_ptr(start).to_bytes(),
            }
        };
        self.writer.bytes(name);
    }
}
