//! The results of `recv` and `recv_event`.

use std::os::raw::c_int;
use std::sync::Arc;

use crate::api::payload;
use crate::api::text::{MessageText, Part};
use crate::backend::{self, msgtype};
use crate::lua::{Push, Result, Scratch, Writer};

/// A message that was received. Pushes its payload as a table, and its topic. For an
/// error response, the table has the fields `errnum` and `errstr`.
pub struct Received<'s> {
    /// The errno of an error response, else 0.
    errnum: i32,
    payload: MessageText<'s>,
    topic: MessageText<'s>,
}

impl<'s> Received<'s> {
    /// The results for a message. `scratch` holds copies of short texts.
    pub fn new(
        message: &Arc<dyn backend::Message>,
        scratch: &'s mut Scratch,
    ) -> Result<Received<'s>> {
        let errnum = match message.msgtype() {
            msgtype::RESPONSE => message.errnum()?,
            _ => 0,
        };
        let mut free = scratch.all();
        Ok(Received {
            errnum,
            payload: MessageText::new(message, Part::Payload, &mut free),
            topic: MessageText::new(message, Part::Topic, &mut free),
        })
    }
}

impl Push for Received<'_> {
    fn owns_nothing(&self) -> bool {
        self.payload.owns_nothing() && self.topic.owns_nothing()
    }

    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let payload = self.payload.bytes();
        let pushed = match self.errnum {
            0 => payload::push(writer, payload),
            errnum => push_error_table(writer, errnum, payload),
        };
        if pushed != 1 {
            return pushed;
        }
        match self.topic.bytes() {
            Some(topic) => writer.bytes(topic),
            None => writer.nil(),
        }
        2
    }
}

/// Pushes `{ errnum = …, errstr = … }` for an error response. Its payload is its text.
fn push_error_table(writer: &Writer<'_>, errnum: i32, text: Option<&[u8]>) -> c_int {
    writer.table(0, 2);
    let table = writer.state().top();
    writer.integer(errnum.into());
    writer.set_field(table, c"errnum");
    if let Some(text) = text {
        writer.bytes(text);
        writer.set_field(table, c"errstr");
    }
    1
}
