//! What an entry point can return: values that push themselves.

use std::mem::MaybeUninit;
use std::os::raw::c_int;

use super::Writer;

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
}

/// Results of which some own nothing, and so are pushed without a protected
/// call.
pub enum Either<P, O> {
    Plain(P),
    Owned(O),
}

/// Scratch in an entry point's own frame: what is copied there is owned by nobody.
pub struct Scratch([MaybeUninit<u8>; Scratch::SIZE]);

impl Scratch {
    pub const SIZE: usize = 512;

    #[expect(clippy::new_without_default, reason = "it is no value to begin with")]
    pub fn new() -> Scratch {
        Scratch([MaybeUninit::uninit(); Scratch::SIZE])
    }

    /// All of it.
    pub fn all(&mut self) -> &mut [MaybeUninit<u8>] {
        &mut self.0
    }
}

/// A copy of the text in the room that is left, where it fits there.
#[inline]
pub fn copy<'r>(left: &mut &'r mut [MaybeUninit<u8>], text: &[u8]) -> Option<&'r [u8]> {
    let (to, rest) = std::mem::take(left).split_at_mut_checked(text.len())?;
    *left = rest;
    // SAFETY: as long as the text is, and filled by it.
    unsafe {
        text.as_ptr()
            .copy_to_nonoverlapping(to.as_mut_ptr().cast(), text.len());
        Some(std::slice::from_raw_parts(to.as_ptr().cast(), text.len()))
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

impl Push for &[u8] {
    #[inline]
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.bytes(self);
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
}
