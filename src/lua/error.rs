//! How an entry point ends without a result.

use std::os::raw::c_int;

use super::{Kind, Raised, State, Writer};

pub type Result<T> = std::result::Result<T, Error>;

/// Why an entry point has no result. One word, as each function that may fail
/// hands it on.
#[derive(Debug)]
pub struct Error(Box<Cause>);

/// What `entry` makes of an error is up to its kind.
#[derive(Debug)]
pub enum Cause {
    /// A wrong kind of argument: raised as `luaL_argerror` does, naming it.
    Argument { index: c_int, message: String },
    /// Raised with this message and the caller's position.
    Raise(String),
    /// The value on top of the stack is raised as it is.
    RaiseTop,
    /// Lua's memory error is raised.
    Memory,
    /// Nothing raised: the call returns `nil, text, code, detail`.
    Failure(Failure),
}

/// What a call that failed at run time returns.
#[derive(Debug)]
pub struct Failure {
    pub text: String,
    /// The errno, where there is one.
    pub code: Option<i32>,
    /// What whoever refused said about it.
    pub detail: Option<String>,
}

impl From<Cause> for Error {
    #[cold]
    fn from(cause: Cause) -> Error {
        Error(Box::new(cause))
    }
}

impl Error {
    pub fn cause(self) -> Cause {
        *self.0
    }

    pub fn argument(index: c_int, message: impl Into<String>) -> Error {
        let message = message.into();
        Cause::Argument { index, message }.into()
    }

    /// Raised with this message and the caller's position.
    pub fn raise(message: impl Into<String>) -> Error {
        Cause::Raise(message.into()).into()
    }

    /// "string expected, got nil", of the argument at `index`.
    pub fn expected(state: State<'_>, index: c_int, what: &str) -> Error {
        let got = match state.kind(index) {
            Kind::None => "no value",
            kind => kind.name(),
        };
        Error::argument(index, format!("{what} expected, got {got}"))
    }

    /// `nil, text`.
    pub fn failure(text: impl Into<String>) -> Error {
        let failure = Failure {
            text: text.into(),
            code: None,
            detail: None,
        };
        failure.into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Cause::Failure(failure).into()
    }
}

/// Why the stack has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackError {
    Memory,
    /// It is as large as Lua lets it be.
    Stack,
}

impl StackError {
    /// Lua's words.
    pub fn text(self) -> &'static str {
        match self {
            StackError::Memory => "not enough memory",
            StackError::Stack => "stack overflow",
        }
    }
}

impl From<StackError> for Error {
    fn from(lack: StackError) -> Error {
        match lack {
            StackError::Memory => Cause::Memory.into(),
            StackError::Stack => Error::raise(lack.text()),
        }
    }
}

impl From<Raised> for Error {
    fn from(_: Raised) -> Error {
        Cause::RaiseTop.into()
    }
}

impl Failure {
    /// Pushes the values, and returns how many there are.
    pub(super) fn push(&self, writer: &Writer<'_>) -> c_int {
        writer.nil();
        writer.bytes(self.text.as_bytes());
        if self.code.is_none() && self.detail.is_none() {
            return 2;
        }
        match self.code {
            Some(code) => writer.integer(code.into()),
            None => writer.nil(),
        }
        match &self.detail {
            Some(detail) => {
                writer.bytes(detail.as_bytes());
                4
            }
            None => 3,
        }
    }
}
