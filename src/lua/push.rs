//! What an entry point can return: values that push themselves.

use std::os::raw::c_int;

use super::{State, Writer};

/// A result of an entry point.
pub trait Push {
    /// Whether [`Push::push`] looks at the call's arguments: they then are at
    /// their indices, which costs moving them.
    fn looks_at_arguments(&self) -> bool {
        true
    }

    /// Push the values and return how many. May raise at any point, so the
    /// body keeps nothing that has a destructor in its own frame: that is in
    /// `self`, which outlives the jump.
    fn push(&mut self, writer: &Writer<'_>) -> c_int;

    /// Push what cannot raise, and so needs no protection: `None` where this
    /// may, and has pushed nothing.
    fn push_at_once(&mut self, _: State<'_>) -> Option<c_int> {
        None
    }
}

/// The topmost value, already on the stack.
pub struct OnTop;
/// What an index finds: the topmost value, already on the stack, or an integer.
pub enum Indexed {
    OnTop,
    Integer(i64),
}
/// One nil.
pub struct Nil;
/// One integer.
pub struct Integer(pub i64);
/// One string, of bytes.
pub struct Bytes(pub Vec<u8>);
/// One string, of text.
pub struct Text(pub String);

impl Push for () {
    fn push(&mut self, _: &Writer<'_>) -> c_int {
        0
    }
}

impl Push for OnTop {
    fn push(&mut self, _: &Writer<'_>) -> c_int {
        1
    }
}

impl Push for Indexed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        if let Indexed::Integer(n) = self {
            writer.integer(*n);
        }
        1
    }
}

impl Push for Nil {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.nil();
        1
    }
}

impl Push for bool {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.boolean(*self);
        1
    }
}

impl Push for Integer {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.integer(self.0);
        1
    }
}

impl Push for &'static str {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.bytes(self.as_bytes());
        1
    }
}

impl Push for Bytes {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.bytes(&self.0);
        1
    }
}

impl Push for Text {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.bytes(self.0.as_bytes());
        1
    }
}

impl<A: Push, B: Push> Push for (A, B) {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        self.0.push(writer) + self.1.push(writer)
    }
}

impl<A: Push, B: Push, C: Push> Push for (A, B, C) {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        self.0.push(writer) + self.1.push(writer) + self.2.push(writer)
    }
}

impl<P: Push> Push for Option<P> {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        match self {
            Some(value) => value.push(writer),
            None => Nil.push(writer),
        }
    }

    fn push_at_once(&mut self, state: State<'_>) -> Option<c_int> {
        match self {
            Some(value) => value.push_at_once(state),
            None => {
                state.push_nil();
                Some(1)
            }
        }
    }
}
