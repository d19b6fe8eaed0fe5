//! The values that an entry point can return. Each pushes itself. `entry`
//! decides whether to push it in a protected call.

use std::mem::MaybeUninit;
use std::os::raw::c_int;

use super::Writer;

/// The results of an entry point.
pub trait Push: Sized {
    /// Whether this value owns nothing. Then a Lua error may jump over it, so
    /// it is pushed without a protected call. If only some values of a type own
    /// something, the answer depends on the value. A wrong `true` leaks memory.
    #[inline(always)]
    fn owns_nothing(&self) -> bool {
        !std::mem::needs_drop::<Self>()
    }

    /// Pushes the values and returns how many. The call's arguments are at
    /// their indices.
    ///
    /// May raise at any point. So the body must keep values that have a
    /// destructor in `self`, which outlives the jump, and not in its own frame.
    fn push(&mut self, writer: &Writer<'_>) -> c_int;
}

/// A buffer in an entry point's own frame. No value that must be dropped owns
/// the bytes that are copied there.
pub struct Scratch([MaybeUninit<u8>; Scratch::SIZE]);

impl Scratch {
    /// The size of the buffer in bytes.
    pub const SIZE: usize = 512;

    /// A buffer of undefined content.
    #[expect(clippy::new_without_default, reason = "the content is undefined")]
    #[inline(always)]
    pub fn new() -> Scratch {
        Scratch([MaybeUninit::uninit(); Scratch::SIZE])
    }

    /// The whole buffer.
    pub fn all(&mut self) -> &mut [MaybeUninit<u8>] {
        &mut self.0
    }
}

/// Copies a text to the start of `free`, which is the rest of that buffer
/// afterwards. None if the text does not fit; nothing is free then.
#[inline]
pub fn copy<'s>(free: &mut &'s mut [MaybeUninit<u8>], text: &[u8]) -> Option<&'s [u8]> {
    let (to, rest) = std::mem::take(free).split_at_mut_checked(text.len())?;
    *free = rest;
    // SAFETY: `to` is as long as the text, which fills it; a copy does not
    // overlap its source, as `to` is borrowed mutably.
    unsafe {
        text.as_ptr()
            .copy_to_nonoverlapping(to.as_mut_ptr().cast(), text.len());
        Some(std::slice::from_raw_parts(to.as_ptr().cast(), text.len()))
    }
}

/// One value, which is on top of the stack already.
pub struct OnTop;

/// The value of a field: on top of the stack already, or an integer.
pub enum FieldValue {
    /// On top of the stack already.
    OnTop,
    /// An integer that is not pushed yet.
    Integer(i64),
}

/// One nil.
pub struct Nil;

/// One integer.
pub struct Integer(pub i64);

/// One string of any bytes.
pub struct Bytes(pub Vec<u8>);

/// One string of text.
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

impl Push for FieldValue {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        if let FieldValue::Integer(n) = self {
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
}
