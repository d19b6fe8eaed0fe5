//! Texts of messages on their way to Lua, once for all that returns them: the
//! fields of messages, and the results of `rpc`, `recv` and `recv_event`.

use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::backend::Message;
use crate::lua;

/// Which text of a message.
#[derive(Clone, Copy)]
pub enum Part {
    Topic,
    Payload,
}

impl Part {
    fn of(self, message: &dyn Message) -> Option<&[u8]> {
        match self {
            Part::Topic => message.topic(),
            Part::Payload => message.payload(),
        }
    }
}

/// A text of a message, to be pushed. A short one is copied to the entry point's
/// scratch buffer: it owns nothing, so pushing it takes no protected call. A
/// long one stays where it is, and this keeps the message alive.
pub enum MessageText<'s> {
    Copied(Option<&'s [u8]>),
    Kept(Arc<dyn Message>, Part),
}

impl<'s> MessageText<'s> {
    /// `free` is the unused rest of the scratch buffer.
    #[inline]
    pub fn new(
        message: &Arc<dyn Message>,
        part: Part,
        free: &mut &'s mut [MaybeUninit<u8>],
    ) -> MessageText<'s> {
        let Some(text) = part.of(&**message) else {
            return MessageText::Copied(None);
        };
        match lua::copy(free, text) {
            Some(copied) => MessageText::Copied(Some(copied)),
            None => MessageText::Kept(message.clone(), part),
        }
    }

    /// The text, if the message has it.
    #[inline]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            MessageText::Copied(text) => *text,
            MessageText::Kept(message, part) => part.of(&**message),
        }
    }

    /// As for [`lua::Push::owns_nothing`].
    #[inline]
    pub fn owns_nothing(&self) -> bool {
        matches!(self, MessageText::Copied(_))
    }
}
