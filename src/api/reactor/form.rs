//! The table that a constructor takes: reads the fields that the constructor knows,
//! and refuses misspelled ones. All other keys are the script's own.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::quote::quoted;
use crate::lua::{Error, Failure, Kind, Result, State, upvalue_index};

/// The first of a constructor's upvalues that are its fields' names, in the order of
/// its form. A lookup by an upvalue creates no string.
pub(super) const NAMES: c_int = 2;

/// The table that a constructor takes.
pub struct Form {
    /// The fields that it knows.
    pub fields: &'static [Field],
    /// Whether the first two fields stand for each other: one of them is enough.
    pub has_alternatives: bool,
    /// A correct call, shown where the argument is no table.
    pub usage: &'static str,
}

pub struct Field {
    pub(super) name: &'static CStr,
    letters: Letters,
}

impl Field {
    pub const fn new(name: &'static CStr) -> Field {
        let letters = Letters::of(name.to_bytes());
        Field { name, letters }
    }
}

/// Push the values of the form's fields in the table that is argument 2, nil for
/// each that is absent, and return the index of the first.
pub fn read(state: State<'_>, form: &Form) -> Result<c_int> {
    if state.kind(2) != Kind::Table {
        return Err(no_table(form));
    }
    let first = state.top() + 1;
    if state.push_metatable(2) {
        state.pop(1);
        return read_computed(state, form, first);
    }
    let count = form.fields.len() as c_int;
    let mut given = 0;
    for position in 0..count {
        state.push_value(upvalue_index(NAMES + position));
        given += c_int::from(state.raw_get(2) != Kind::Nil);
    }
    // Where no field is lacking, no key is a slip for one.
    if given < count && has_more_than(state, given) {
        check_names(state, form, first)?;
    }
    Ok(first)
}

/// Whether the table that is argument 2 has more than `count` keys. Lua's API counts
/// keys only by a walk.
#[inline]
fn has_more_than(state: State<'_>, count: c_int) -> bool {
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

/// The same for a table with a metatable: its metamethods may compute fields, and
/// may raise.
#[cold]
fn read_computed(state: State<'_>, form: &Form, first: c_int) -> Result<c_int> {
    state.push_value(2);
    state.protect(1, |writer| {
        for field in form.fields {
            writer.field(1, field.name);
        }
        form.fields.len() as c_int
    })?;
    check_names(state, form, first)?;
    Ok(first)
}

/// The C bindings' text for an argument that is no table, and a hint.
#[cold]
fn no_table(form: &Form) -> Error {
    let failure = Failure {
        text: "Expected table as 2nd argument".to_owned(),
        code: None,
        detail: Some(format!("write {}", form.usage)),
    };
    failure.into()
}

/// Refuse a key of the table that is a slip for a field that the table lacks. The
/// values of the fields are on the stack, from `first` on.
#[cold]
fn check_names(state: State<'_>, form: &Form, first: c_int) -> Result<()> {
    let is_given = |position: usize| state.kind(first + position as c_int) != Kind::Nil;
    let is_lacking = |position: usize| match form.has_alternatives && position < 2 {
        true => !is_given(0) && !is_given(1),
        false => !is_given(position),
    };
    // A hook that ran in a metamethod can put anything in the table's place.
    if state.kind(2) != Kind::Table {
        return Err(no_table(form));
    }
    state.push_nil();
    // SAFETY: a table is at this index; the key is nil, or came from there.
    while unsafe { state.next(2) } {
        state.pop(1);
        let Some(key) = state.bytes(-1) else { continue };
        let letters = Letters::of(key);
        let mut fields = form.fields.iter().enumerate();
        let meant = fields.find(|(position, field)| {
            let name = field.name.to_bytes();
            letters.may_be_slip(&field.letters) && is_lacking(*position) && is_slip(key, name)
        });
        if let Some((_, field)) = meant
            && !form.fields.iter().any(|field| field.name.to_bytes() == key)
        {
            let key = quoted(&String::from_utf8_lossy(key));
            let name = quoted(&field.name.to_string_lossy());
            let message = format!("unknown field {key} (did you mean {name}?)");
            return Err(Error::argument(2, message));
        }
    }
    Ok(())
}

// Case and underscores do not count when names are compared.

/// How many letters of a name count, and which they are, as bits.
struct Letters {
    count: u32,
    set: u32,
}

impl Letters {
    const fn of(name: &[u8]) -> Letters {
        let mut letters = Letters { count: 0, set: 0 };
        let mut at = 0;
        while at < name.len() {
            if name[at] != b'_' {
                letters.count += 1;
                // The same bit for either case.
                letters.set |= 1 << (name[at] % 32);
            }
            at += 1;
        }
        letters
    }

    /// How many letters may differ in a slip for this name.
    fn limit(&self) -> u32 {
        if self.count < 5 { 1 } else { 2 }
    }

    /// Whether a key of these letters may be a slip for the name. This quick test
    /// rules out most keys.
    #[inline]
    fn may_be_slip(&self, name: &Letters) -> bool {
        let (added, lost) = (self.set & !name.set, name.set & !self.set);
        let limit = name.limit();
        self.count.abs_diff(name.count) <= limit
            && added.count_ones() <= limit
            && lost.count_ones() <= limit
    }
}

/// Whether the key is a likely slip for the name: they differ by two letters at
/// most, or by one where the name has fewer than five. A letter is added, missing
/// or another one, or two neighbours are swapped. In a name of two letters another
/// one makes no slip, as half of the name would differ.
fn is_slip(key: &[u8], name: &[u8]) -> bool {
    let limit = Letters::of(name).limit() as usize;
    let (key, name) = (compared(key), compared(name));
    let replacement = if name.len() < 3 { 2 } else { 1 };
    distance(&key, &name, replacement) <= limit
}

/// The letters of a name that count, in lower case.
fn compared(name: &[u8]) -> Vec<u8> {
    let counts = name.iter().filter(|letter| **letter != b'_');
    counts.map(u8::to_ascii_lowercase).collect()
}

/// How many letters are to be added, removed, replaced (at a price) or swapped
/// with their neighbour to make `a` of `b`: the optimal string alignment.
fn distance(a: &[u8], b: &[u8], replacement: usize) -> usize {
    // The distances of the first letters of `a` from those of `b`.
    let mut of = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                of[i][j] = i + j;
                continue;
            }
            let differ = if a[i - 1] == b[j - 1] { 0 } else { replacement };
            let mut least = of[i - 1][j - 1] + differ;
            least = least.min(of[i - 1][j] + 1).min(of[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(of[i - 2][j - 2] + 1);
            }
            of[i][j] = least;
        }
    }
    of[a.len()][b.len()]
}

// The fields' readers take the index of a value that `read` pushed.

/// The C bindings' text for a field that is absent.
pub fn missing(name: &str) -> Error {
    Error::failure(format!("Mandatory table argument '{name}' missing"))
}

/// Refuse a field for its value: `what` is expected.
#[cold]
pub fn invalid(name: &str, what: &str) -> Error {
    Error::argument(2, format!("field '{name}': {what} expected"))
}

/// A string, or a number's text, in UTF-8.
pub fn text<'a>(state: State<'a>, index: c_int, name: &str) -> Result<&'a str> {
    state
        .to_bytes(index)?
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or_else(|| invalid(name, "a string"))
}

/// A number that is finite and not negative; `what` it is.
#[inline]
pub fn amount(state: State<'_>, index: c_int, name: &str, what: &str) -> Result<f64> {
    state
        .to_number(index)
        .filter(|n| *n >= 0.0 && n.is_finite())
        .ok_or_else(|| invalid(name, what))
}

/// A boolean; `default` if it is absent. Numbers and strings are errors: Lua takes
/// even `0` and `"false"` for true, and the script that says so means false.
#[inline]
pub fn boolean(state: State<'_>, index: c_int, name: &str, default: bool) -> Result<bool> {
    match state.kind(index) {
        Kind::Nil => Ok(default),
        Kind::Boolean => Ok(state.boolean(index)),
        _ => Err(invalid(name, "true or false")),
    }
}

/// The handler, which must be there and be something to call.
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
