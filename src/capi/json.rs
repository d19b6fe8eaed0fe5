//! `jansson-lua.h`: Lua values as jansson's objects and back, straight between
//! the stack and those, and both as text. By the rules of `crate::json`.

use std::ffi::{CStr, c_char, c_int};

use super::jansson::{self, Api, Json, Type, json_t};
use super::{Count, enter, set_errno};
use crate::exported;
use crate::json::{self, MAX_DEPTH};
use crate::lua::{Kind, Push, Result, Scratch, State, Writer, lua_State};

exported! {
    /// Push `flux.NULL`.
    ///
    /// # Safety
    /// A C function, or the host, of this live state calls; and so below.
    fn lua_push_json_null(state: *mut lua_State) {
        // SAFETY: by the contract; the frame owns nothing.
        unsafe { Writer::new(state) }.light_userdata(std::ptr::null());
    } unbound(error) {
        // SAFETY: the caller's promise.
        unsafe { error.push_nil(state) }
    }
}

exported! {
    /// # Safety
    /// As for [`lua_push_json_null`]; any acceptable index.
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
    /// # Safety
    /// As for [`lua_push_json_null`]; `value` is null or a valid value, which
    /// nobody changes meanwhile.
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
    /// # Safety
    /// As for [`lua_push_json_null`]; `text` is null or a terminated string.
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
    /// # Safety
    /// As for [`lua_push_json_null`]; `value` is null or a place for a pointer.
    fn lua_value_to_json(state: *mut lua_State, index: c_int, value: *mut *mut json_t) -> c_int {
        // SAFETY: by the contract; `made` is a reference to give away.
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
    /// # Safety
    /// As for [`lua_push_json_null`]; `text` is null or a place for a pointer.
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

fn failed(errnum: c_int) -> Count {
    set_errno(errnum);
    Count(-1)
}

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

/// The value's JSON text in memory that C may free, or an errno.
fn encode(state: State<'_>, index: c_int) -> std::result::Result<*mut c_char, c_int> {
    let mut scratch = Scratch::new();
    let mut text = json::Output::new(&mut scratch);
    if json::encode(state, index, &mut text).is_err() {
        return Err(libc::EINVAL);
    }
    // JSON text holds no NUL: in strings it is escaped.
    // SAFETY: malloc gives null or as many bytes, into which the text goes.
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

/// The value at `index` as a value of jansson's, or an errno.
fn to_jansson(state: State<'_>, index: c_int) -> std::result::Result<Json, c_int> {
    let api = jansson::api().ok_or(libc::ENOSYS)?;
    let top = state.top();
    let index = state.absolute(index);
    let made = Reader { state, api }.value(index, 0);
    state.set_top(top);
    made
}

/// From the Lua stack to jansson's objects. Reads with what cannot raise.
struct Reader<'s> {
    state: State<'s>,
    api: &'static Api,
}

/// What a level has on the stack: the key, the value, and one to look up.
const READ_SLOTS: c_int = 4;

type Made<T = Json> = std::result::Result<T, c_int>;

impl Reader<'_> {
    fn value(&self, index: c_int, depth: u32) -> Made {
        match self.state.kind(index) {
            Kind::String => self.string(self.state.bytes(index).unwrap_or_default()),
            Kind::Number => self.number(index),
            Kind::Table => self.table(index, depth),
            Kind::Boolean if self.state.boolean(index) => self.own(self.api.json_true),
            Kind::Boolean => self.own(self.api.json_false),
            Kind::LightUserdata if self.state.userdata(index).is_none() => {
                self.own(self.api.json_null)
            }
            _ => Err(libc::EINVAL),
        }
    }

    fn own(&self, make: unsafe extern "C" fn() -> *mut json_t) -> Made {
        // SAFETY: a new value, null, or one that is never freed.
        unsafe { Json::from_owned(self.api, make()) }.ok_or(libc::ENOMEM)
    }

    fn string(&self, text: &[u8]) -> Made {
        if std::str::from_utf8(text).is_err() {
            return Err(libc::EINVAL);
        }
        // SAFETY: as many bytes, which are copied, into a new value.
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
        // SAFETY: numbers, of which a new value is made.
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
        let array = self.own(self.api.json_array)?;
        let value = self.state.top() + 1;
        for n in 1..=count {
            self.state.raw_get_index(table, n);
            let item = self.value(value, depth + 1)?;
            // SAFETY: an array of ours, and an item that it takes over.
            let rc = unsafe { (self.api.json_array_append_new)(array.as_ptr(), item.into_raw()) };
            check(rc)?;
            self.state.set_top(value - 1);
        }
        Ok(array)
    }

    fn object(&self, table: c_int, depth: u32) -> Made {
        let object = self.own(self.api.json_object)?;
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
        // SAFETY: an object of ours.
        let size = unsafe { (self.api.json_object_size)(object.as_ptr()) };
        // A number key and a string that is its text are two keys, and one name.
        if size == count {
            Ok(object)
        } else {
            Err(libc::EINVAL)
        }
    }

    /// Give the object the value under the key at `key`. Not part of what is in
    /// itself: of a room for each level the C stack would be full soon.
    #[inline(never)]
    fn add(&self, object: &Json, key: c_int, value: Json) -> Made<()> {
        let mut scratch = Scratch::new();
        let mut number = json::Output::new(&mut scratch);
        let name = self.name(key, &mut number)?;
        self.set(object, name, value)
    }

    /// The name that a key becomes; `number` holds that of a number.
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
            // SAFETY: an object of ours, as many bytes, and a value that the
            // object takes over.
            return check(unsafe {
                let value = value.into_raw();
                set(object.as_ptr(), name.as_ptr().cast(), name.len(), value)
            });
        }
        // Before jansson 2.14 no name could hold a NUL.
        let name = std::ffi::CString::new(name).map_err(|_| libc::EINVAL)?;
        // SAFETY: as above, the name being terminated.
        check(unsafe {
            let value = value.into_raw();
            (self.api.json_object_set_new_nocheck)(object.as_ptr(), name.as_ptr(), value)
        })
    }
}

/// What jansson refuses of valid arguments is what it has no memory for.
fn check(rc: c_int) -> Made<()> {
    if rc < 0 { Err(libc::ENOMEM) } else { Ok(()) }
}

/// A value of jansson's, to be pushed; -1 where it is not.
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
        // SAFETY: a valid value by the contract of `json_object_to_lua`.
        match unsafe { Pusher { writer, api }.value(self.0, 0) } {
            Ok(()) => 1,
            Err(errnum) => {
                writer.state().set_top(top);
                failed(errnum).0
            }
        }
    }
}

/// From jansson's objects to the Lua stack. Owns nothing: any allocation of
/// Lua's may raise.
struct Pusher<'w> {
    writer: &'w Writer<'w>,
    api: &'static Api,
}

/// What a level has on the stack: the table, a name and a value.
const PUSH_SLOTS: c_int = 4;

impl Pusher<'_> {
    /// Push the value.
    ///
    /// # Safety
    /// `value` is valid, and nobody changes it meanwhile; and so below, where
    /// it is of the type that the method is named for.
    unsafe fn value(&self, value: *mut json_t, depth: u32) -> Made<()> {
        // SAFETY: by the contract, and of that type.
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
    /// See [`Pusher::value`].
    unsafe fn string(&self, value: *mut json_t) {
        // SAFETY: a string has so many bytes, which stay while it does.
        let text = unsafe {
            let start = (self.api.json_string_value)(value);
            std::slice::from_raw_parts(start.cast(), (self.api.json_string_length)(value))
        };
        self.writer.bytes(text);
    }

    fn go_down(&self, depth: u32) -> Made<()> {
        if depth == MAX_DEPTH {
            return Err(libc::ELOOP);
        }
        self.writer.reserve(PUSH_SLOTS);
        Ok(())
    }

    /// # Safety
    /// See [`Pusher::value`].
    unsafe fn array(&self, array: *mut json_t, depth: u32) -> Made<()> {
        self.go_down(depth)?;
        // SAFETY: an array.
        let size = unsafe { (self.api.json_array_size)(array) };
        self.writer.table(size, 0);
        let table = self.writer.state().top();
        let mut is_empty = true;
        for position in 0..size {
            // SAFETY: an array, which lends its items; nulls leave holes.
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
    /// See [`Pusher::value`].
    unsafe fn object(&self, object: *mut json_t, depth: u32) -> Made<()> {
        self.go_down(depth)?;
        // SAFETY: an object.
        let size = unsafe { (self.api.json_object_size)(object) };
        self.writer.table(0, size);
        let table = self.writer.state().top();
        // SAFETY: an object, over which the iterator goes while it stays as it is.
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

    /// # Safety
    /// `iter` is an iterator that stands at a name.
    unsafe fn name(&self, iter: *mut std::ffi::c_void) {
        // SAFETY: by the contract; a name is terminated, and as long as said.
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
