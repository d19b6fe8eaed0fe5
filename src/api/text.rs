//! The topic or payload of a message on its way to Lua. Fields of messages and the results
//! of `rpc`, `recv` and `recv_event` use it.

use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::backend::Message;
use crate::lua;

/// One of the texts of a message.
#[derive(Clone, Copy)]
pub enum Part {
    /// The topic.
    Topic,
    /// The payload, which is any bytes.
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

/// A text of a message, to be pushed.
pub enum MessageText<'s> {
    /// A copy of a short text in the scratch buffer of the entry point. It owns nothing,
    /// so that pushing it needs no protected call. None if the message lacks the text.
    Copied(Option<&'s [u8]>),
    /// A text that is too long for the buffer. It stays in the message, which this keeps
    /// alive.
    Kept(Arc<dyn Message>, Part),
}

impl<'s> MessageText<'s> {
    /// The text of a message. `free` is the unused rest of the scratch buffer.
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

    /// The text. None if the message lacks it.
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
