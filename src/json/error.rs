//! The errors of encoding and decoding. An encoding error names the path to the
//! offending value; a decoding error names the byte offset.

use std::fmt;
use std::os::raw::c_int;

use super::number::float_text;
use crate::lua::{Error, Kind, StackError, State};

/// Why a Lua value cannot be encoded.
#[derive(Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The value must be a JSON object, and is not.
    NotAnObject,
    /// A value has no JSON form. The message includes the path to it.
    Value(String),
    /// The Lua stack could not grow.
    Stack(StackError),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::NotAnObject => f.write_str("not an object"),
            EncodeError::Value(message) => f.write_str(message),
            EncodeError::Stack(error) => f.write_str(error.text()),
        }
    }
}

impl std::error::Error for EncodeError {}

impl EncodeError {
    /// The error to raise in the script. With an `index`, it is an argument error
    /// that names this argument.
    pub fn raised(self, index: Option<c_int>) -> Error {
        match (self, index) {
            (EncodeError::Stack(error), _) => error.into(),
            (error, Some(index)) => Error::argument(index, error.to_string()),
            (error, None) => Error::raise(error.to_string()),
        }
    }
}

/// An encoding error while it propagates: each enclosing table adds a step to
/// the path.
pub struct Fault {
    message: String,
    stack: Option<StackError>,
    /// Innermost step first.
    path: Vec<String>,
}

/// A path of more than twice as many steps is cut in the middle, and only this
/// many steps at each end are shown.
const MAX_PATH_END: usize = 8;
/// A longer key is cut to this many characters.
const MAX_KEY_CHARS: usize = 40;

impl Fault {
    /// An error with an empty path.
    #[cold]
    pub fn new(message: impl Into<String>) -> Box<Fault> {
        Box::new(Fault {
            message: message.into(),
            stack: None,
            path: Vec::new(),
        })
    }

    /// The Lua stack could not grow. The error then has no path, because no value
    /// caused it.
    #[cold]
    pub fn no_stack(error: StackError) -> Box<Fault> {
        Box::new(Fault {
            message: String::new(),
            stack: Some(error),
            path: Vec::new(),
        })
    }

    /// Add the key at stack index `index` to the path.
    #[cold]
    pub fn at_key(mut self: Box<Fault>, state: State<'_>, index: c_int) -> Box<Fault> {
        self.path.push(match state.bytes(index) {
            Some(name) => key_step(&String::from_utf8_lossy(name)),
            None => format!("[{}]", number_text(state, index)),
        });
        self
    }

    /// Add the array index `n` to the path.
    #[cold]
    pub fn at_item(mut self: Box<Fault>, n: i64) -> Box<Fault> {
        self.path.push(format!("[{n}]"));
        self
    }

    /// The final error, with the path as text.
    #[cold]
    pub fn finish(mut self) -> EncodeError {
        if let Some(error) = self.stack {
            return EncodeError::Stack(error);
        }
        if self.path.is_empty() {
            return EncodeError::Value(self.message);
        }
        let steps = &mut self.path;
        if steps.len() > 2 * MAX_PATH_END {
            let middle = MAX_PATH_END..steps.len() - MAX_PATH_END;
            steps.splice(middle, ["…".to_owned()]);
        }
        steps.reverse();
        EncodeError::Value(format!("{} at {}", self.message, steps.concat()))
    }
}

/// A string key as a step of a path: `.name` if it is an identifier, else
/// `["a name"]`.
fn key_step(name: &str) -> String {
    let is_identifier = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let shown = match name.char_indices().nth(MAX_KEY_CHARS) {
        Some((end, _)) => &format!("{}…", &name[..end]),
        None => name,
    };
    if is_identifier {
        format!(".{shown}")
    } else {
        format!("[{shown:?}]")
    }
}

/// The text of the number key at `index`.
fn number_text(state: State<'_>, index: c_int) -> String {
    match (state.kind(index), state.integer(index), state.number(index)) {
        (Kind::Number, Some(n), _) => n.to_string(),
        (Kind::Number, None, Some(x)) => float_text(x),
        _ => "?".to_owned(),
    }
}

/// Why a text cannot be decoded. Has no destructor, because it passes through
/// frames that a Lua error may jump over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The kind of error.
    pub reason: Reason,
    /// The offset in bytes, from 0, of the invalid byte or of the start of the
    /// invalid token.
    pub offset: usize,
}

/// The kinds of decoding errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The text is not UTF-8.
    NotUtf8,
    /// The text ends too early.
    End,
    /// A value is missing.
    Value,
    /// A name in an object is missing.
    Name,
    /// The colon after a name is missing.
    Colon,
    /// An array continues with neither a comma nor its bracket.
    ArrayEnd,
    /// An object continues with neither a comma nor its brace.
    ObjectEnd,
    /// The text continues after the value.
    Trailing,
    /// A number does not follow JSON's grammar.
    Number,
    /// A number is too large for a float.
    NumberRange,
    /// A string contains an unescaped control character.
    Control,
    /// A string contains an unknown or malformed escape.
    Escape,
    /// A string escapes one half of a surrogate pair alone.
    Surrogate,
    /// Arrays and objects are nested deeper than [`super::MAX_DEPTH`].
    Nesting,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Reason::NotUtf8 => "invalid UTF-8",
            Reason::End => "unexpected end of text",
            Reason::Value => "expected a value",
            Reason::Name => "expected a name",
            Reason::Colon => "expected ':'",
            Reason::ArrayEnd => "expected ',' or ']'",
            Reason::ObjectEnd => "expected ',' or '}'",
            Reason::Trailing => "unexpected text after the value",
            Reason::Number => "invalid number",
            Reason::NumberRange => "number out of range",
            Reason::Control => "control character in a string",
            Reason::Escape => "invalid escape",
            Reason::Surrogate => "lone surrogate",
            Reason::Nesting => "nesting deeper than 1000",
        }
    }
}

impl fmt::Display for DecodeError {
    /// Shows the offset counted from 1, as Lua counts bytes in strings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason.text(), self.offset + 1)
    }
}

impl std::error::Error for DecodeError {}
