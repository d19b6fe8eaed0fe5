//! The options table that a constructor takes as its argument, as in
//! `f:timer{ timeout = 100, handler = h }`. Reads the fields that the constructor
//! knows and refuses misspelled ones. All other keys belong to the script.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::quote::quoted;
use crate::api::reactor::spelling::{Letters, is_misspelling};
use crate::lua::{Error, Failure, Kind, Result, State, upvalue_index};

/// The first upvalue of a constructor that holds the name of a field. The names
/// follow in the order of [`Options::fields`]. Looking up a field by an upvalue
/// creates no string.
pub(super) const FIRST_NAME: c_int = 2;

/// The options table of a constructor.
pub struct Options {
    /// The fields that the constructor knows.
    pub fields: &'static [Field],
    /// Whether one of the first two fields is enough.
    pub has_alternatives: bool,
    /// A correct call. The error for an argument that is not a table shows it.
    pub usage: &'static str,
}

/// A field of an options table.
pub struct Field {
    pub(super) name: &'static CStr,
    letters: Letters,
}

impl Field {
    /// A field of this name.
    pub const fn new(name: &'static CStr) -> Field {
        let letters = Letters::of(name.to_bytes());
        Field { name, letters }
    }
}

/// Reads the options table, which is argument 2. Pushes the value of each field, nil
/// for an absent one, and returns the index of the first value.
///
/// Raises an error for an argument that is not a table, and for a misspelled field.
pub fn read(state: State<'_>, options: &Options) -> Result<c_int> {
    if state.kind(2) != Kind::Table {
        return Err(not_a_table(options));
    }
    let first = state.top() + 1;
    if state.push_metatable(2) {
        state.pop(1);
        return read_with_metamethods(state, options, first);
    }
    let count = options.fields.len() as c_int;
    let mut present = 0;
    for position in 0..count {
        state.push_value(upvalue_index(FIRST_NAME + position));
        // SAFETY: argument 2 is a table, which nothing replaces meanwhile.
        present += c_int::from(unsafe { state.raw_get_unchecked(2) } != Kind::Nil);
    }
    // A key can be a misspelling only of a field that is absent.
    if present < count && has_more_keys_than(state, present) {
        refuse_misspelled_keys(state, options, first)?;
    }
    Ok(first)
}

/// Whether the table in argument 2 has more than `count` keys. Lua's API has no
/// function that counts them, so this walks the table.
#[inline]
fn has_more_keys_than(state: State<'_>, count: c_int) -> bool {
    let top = state.top();
    state.push_nil();
    for _ in 0..count {
        // SAFETY: a table is at this index; the key is nil, or came from there.
        if !unsafe { state.next(2) } {
            return false;
        }
        state.set_top(top + 1);
    }
    // SAFETY: a table is at this index; the key is nil, or came from there.
    let has_more = unsafe { state.next(2) };
    state.set_top(top);
    has_more
}

/// [`read`] for a table with a metatable. Its metamethods may compute fields, and
/// may raise an error.
#[cold]
fn read_with_metamethods(state: State<'_>, options: &Options, first: c_int) -> Result<c_int> {
    state.push_value(2);
    state.protect(1, |writer| {
        for field in options.fields {
            writer.field(1, field.name);
        }
        options.fields.len() as c_int
    })?;
    refuse_misspelled_keys(state, options, first)?;
    Ok(first)
}

/// The error for an argument that is not a table: the text of the C bindings, with the
/// usage as the detail.
#[cold]
fn not_a_table(options: &Options) -> Error {
    let failure = Failure {
        text: "Expected table as 2nd argument".to_owned(),
        code: None,
        detail: Some(format!("write {}", options.usage)),
    };
    failure.into()
}

/// Returns an error if a key of the table is a misspelling of a field that is absent. The
/// values of the fields are on the stack, the first one at `first`.
#[cold]
fn refuse_misspelled_keys(state: State<'_>, options: &Options, first: c_int) -> Result<()> {
    let is_present = |position: usize| state.kind(first + position as c_int) != Kind::Nil;
    let is_absent = |position: usize| match options.has_alternatives && position < 2 {
        true => !is_present(0) && !is_present(1),
        false => !is_present(position),
    };
    // A debug hook that ran in a metamethod can replace argument 2.
    if state.kind(2) != Kind::Table {
        return Err(not_a_table(options));
    }
    state.push_nil();
    // SAFETY: a table is at this index; the key is nil, or came from there.
    while unsafe { state.next(2) } {
        state.pop(1);
        let Some(key) = state.bytes(-1) else { continue };
        let letters = Letters::of(key);
        let mut fields = options.fields.iter().enumerate();
        let meant = fields.find(|(position, field)| {
            letters.may_misspell(&field.letters)
                && is_absent(*position)
                && is_misspelling(key, field.name.to_bytes())
        });
        if let Some((_, field)) = meant
            && !options
                .fields
                .iter()
                .any(|field| field.name.to_bytes() == key)
        {
            let key = quoted(&String::from_utf8_lossy(key));
            let name = quoted(&field.name.to_string_lossy());
            let message = format!("unknown field {key} (did you mean {name}?)");
            return Err(Error::argument(2, message));
        }
    }
    Ok(())
}

/// The error for a mandatory field that is absent. The text is the C bindings'.
pub fn missing(name: &str) -> Error {
    Error::failure(format!("Mandatory table argument '{name}' missing"))
}

/// The error for a field with a wrong value. `expected` describes a correct one.
#[cold]
pub fn invalid(name: &str, expected: &str) -> Error {
    Error::argument(2, format!("field '{name}': {expected} expected"))
}

// The functions below check the value of one field. `index` is the stack index of a
// value that `read` pushed.

/// A string in UTF-8, or the text of a number.
pub fn text<'a>(state: State<'a>, index: c_int, name: &str) -> Result<&'a str> {
    state
        .to_bytes(index)?
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or_else(|| invalid(name, "a string"))
}

/// A finite number that is not negative. `expected` describes it in the error.
#[inline]
pub fn amount(state: State<'_>, index: c_int, name: &str, expected: &str) -> Result<f64> {
    state
        .to_number(index)
        .filter(|n| *n >= 0.0 && n.is_finite())
        .ok_or_else(|| invalid(name, expected))
}

/// A boolean, or `default` if the field is absent. Numbers and strings are errors:
/// Lua treats even `0` and `"false"` as true, but a script that writes them means
/// false.
#[inline]
pub fn boolean(state: State<'_>, index: c_int, name: &str, default: bool) -> Result<bool> {
    match state.kind(index) {
        Kind::Nil => Ok(default),
        Kind::Boolean => Ok(state.boolean(index)),
        _ => Err(invalid(name, "true or false")),
    }
}

/// Checks the field `handler`, which is mandatory: a function, or a table or userdata
/// that may have a `__call` metamethod.
pub fn handler(state: State<'_>, index: c_int) -> Result<()> {
    match state.kind(index) {
        Kind::Nil => Err(missing("handler")),
        Kind::Function | Kind::Table | Kind::Userdata => Ok(()),
        kind => Err(Error::argument(
            2,
            format!("field 'handler': function expected, got {}", kind.name()),
        )),
    }
}
