//! The errors of entry points. `entry` raises them, or returns them as `nil,
//! text, …`. The code that detects an error makes its text.

use std::os::raw::c_int;

/// The result of an entry point's body, and of the functions that it calls.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why an entry point has no result. It has the size of one pointer,
/// because every function that may fail returns it.
#[derive(Debug)]
pub struct Error(Box<Cause>);

/// The kinds of errors, which decide how the script gets them.
#[derive(Debug)]
pub enum Cause {
    /// A wrong argument: raised by `luaL_argerror`, which names the argument.
    Argument {
        /// The number of the argument, from 1.
        index: c_int,
        /// The text that tells what is wrong with the argument.
        message: String,
    },
    /// Raised with this message and the caller's position.
    Raise(String),
    /// The value on top of the stack is raised as it is.
    RaiseTop,
    /// Lua's memory error is raised.
    Memory,
    /// Nothing is raised: the call returns `nil, text, code, detail`.
    Failure(Failure),
}

/// The results of a call that failed at run time.
#[derive(Debug)]
pub struct Failure {
    /// The error's text.
    pub text: String,
    /// The errno, if there is one.
    pub code: Option<i32>,
    /// More about the reason, if the service or the module says more.
    pub detail: Option<String>,
}

impl From<Cause> for Error {
    #[cold]
    fn from(cause: Cause) -> Error {
        Error(Box::new(cause))
    }
}

impl Error {
    /// The kind of the error.
    pub fn cause(self) -> Cause {
        *self.0
    }

    /// The argument at `index` is wrong.
    pub fn argument(index: c_int, message: impl Into<String>) -> Error {
        let message = message.into();
        Cause::Argument { index, message }.into()
    }

    /// An error that is raised with the caller's position.
    pub fn raise(message: impl Into<String>) -> Error {
        Cause::Raise(message.into()).into()
    }

    /// The call returns `nil, text`.
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

/// The reason why the Lua stack does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackError {
    /// Memory is lacking.
    Memory,
    /// The stack has the largest size that Lua allows.
    Overflow,
}

impl StackError {
    /// Lua's own text for this error.
    pub fn text(self) -> &'static str {
        match self {
            StackError::Memory => "not enough memory",
            StackError::Overflow => "stack overflow",
        }
    }
}

impl From<StackError> for Error {
    fn from(error: StackError) -> Error {
        match error {
            StackError::Memory => Cause::Memory.into(),
            StackError::Overflow => Error::raise(error.text()),
        }
    }
}

/// A protected call ended with an error, whose value is on top of the stack.
#[derive(Debug)]
pub struct Raised;

impl From<Raised> for Error {
    fn from(_: Raised) -> Error {
        Cause::RaiseTop.into()
    }
}
