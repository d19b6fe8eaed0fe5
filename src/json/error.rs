//! What is wrong with a value or a text, and where: the errors of both
//! directions, and the path to a value in a table.

use std::fmt;
use std::os::raw::c_int;

use super::number::float_text;
use crate::lua::{Error, Kind, StackError, State};

/// Why a value has no JSON text.
#[derive(Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The value would become something else than the object it must be.
    NotAnObject,
    /// What cannot be encoded, and where it is.
    Value(String),
    /// The stack has no room to look at it.
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
    /// As a script gets it, about its argument at `index`, or about none.
    pub fn raised(self, index: Option<c_int>) -> Error {
        match (self, index) {
            (EncodeError::Stack(error), _) => error.into(),
            (error, Some(index)) => Error::argument(index, error.to_string()),
            (error, None) => Error::raise(error.to_string()),
        }
    }
}

/// An error on its way up through the tables that it is in.
pub struct Fault {
    message: String,
    stack: Option<StackError>,
    /// The innermost first.
    path: Vec<String>,
}

/// Of a longer path, so many steps at each end are named.
const PATH_ENDS: usize = 8;
/// Of a longer key, so many characters are named.
const KEY_LENGTH: usize = 40;

impl Fault {
    #[cold]
    pub fn new(message: impl Into<String>) -> Box<Fault> {
        Box::new(Fault {
            message: message.into(),
            stack: None,
            path: Vec::new(),
        })
    }

    /// Of a stack without room, which is no value's fault.
    #[cold]
    pub fn no_stack(error: StackError) -> Box<Fault> {
        Box::new(Fault {
            message: String::new(),
            stack: Some(error),
            path: Vec::new(),
        })
    }

    /// The same, under the key that is at `index`.
    #[cold]
    pub fn under(mut self: Box<Fault>, state: State<'_>, index: c_int) -> Box<Fault> {
        self.path.push(match state.bytes(index) {
            Some(name) => name_step(&String::from_utf8_lossy(name)),
            None => format!("[{}]", number_text(state, index)),
        });
        self
    }

    /// The same, under the array item `n`.
    #[cold]
    pub fn under_item(mut self: Box<Fault>, n: i64) -> Box<Fault> {
        self.path.push(format!("[{n}]"));
        self
    }

    #[cold]
    pub fn finish(mut self) -> EncodeError {
        if let Some(error) = self.stack {
            return EncodeError::Stack(error);
        }
        if self.path.is_empty() {
            return EncodeError::Value(self.message);
        }
        let steps = &mut self.path;
        if steps.len() > 2 * PATH_ENDS {
            let cut = PATH_ENDS..steps.len() - PATH_ENDS;
            steps.splice(cut, ["…".to_owned()]);
        }
        steps.reverse();
        EncodeError::Value(format!("{} at {}", self.message, steps.concat()))
    }
}

fn name_step(name: &str) -> String {
    let is_identifier = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let shown = match name.char_indices().nth(KEY_LENGTH) {
        Some((end, _)) => &format!("{}…", &name[..end]),
        None => name,
    };
    if is_identifier {
        format!(".{shown}")
    } else {
        format!("[{shown:?}]")
    }
}

/// The number key at `index`, as an error names it.
fn number_text(state: State<'_>, index: c_int) -> String {
    match (state.kind(index), state.integer(index), state.number(index)) {
        (Kind::Number, Some(n), _) => n.to_string(),
        (Kind::Number, None, Some(x)) => float_text(x),
        _ => "?".to_owned(),
    }
}

/// Why a text is not JSON, or not JSON that Lua can have. Owns nothing: it
/// passes through frames that a Lua error may jump over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    pub reason: Reason,
    /// The byte of the text that is wrong, or that the wrong thing starts at;
    /// 0 is the first.
    pub offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    NotUtf8,
    End,
    Value,
    Name,
    Colon,
    ArrayEnd,
    ObjectEnd,
    Trailing,
    Number,
    NumberRange,
    Control,
    Escape,
    Surrogate,
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
    /// Bytes count from 1 here, as in Lua's strings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason.text(), self.offset + 1)
    }
}

impl std::error::Error for DecodeError {}
