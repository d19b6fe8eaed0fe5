//! A message, class `CMB.zmsgi`: its fields. How scripts respond to it is in `respond`,
//! the results of `recv` and `recv_event` are in `received`.

pub mod received;
pub mod respond;
pub mod responder;

use std::ffi::CStr;
use std::os::raw::c_int;
use std::rc::Rc;
use std::sync::Arc;

use crate::api::handle::Handle;
use crate::api::text::{MessageText, Part};
use crate::api::{payload, read_only};
use crate::backend::{self, msgtype};
use crate::json;
use crate::lua::{
    self, Class, ClassInfo, Error, Kind, Push, Result, Scratch, State, Text, Writer, lua_CFunction,
};
use crate::lua_functions;

use responder::Responder;

/// A message, and where it came from.
#[derive(Clone)]
pub struct Message {
    message: Arc<dyn backend::Message>,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// A handle received it. Responses go over that handle.
    Handle(Handle),
    /// C code made it with `zmsg_info_create`.
    External(Rc<External>),
}

struct External {
    /// The type that C code gave the message: one [`msgtype`] bit.
    msgtype: i32,
    responder: Rc<dyn Responder>,
}

/// About how many bytes a message takes, without its topic and payload.
const OVERHEAD: usize = 128;

impl Class for Message {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"CMB.zmsgi", "flux message");
        &INFO
    }

    fn external_memory(&self) -> usize {
        let texts = [self.message.topic(), self.message.payload()];
        OVERHEAD + texts.into_iter().flatten().map(<[u8]>::len).sum::<usize>()
    }
}

impl Message {
    /// A message that `handle` received.
    pub fn new(handle: Handle, message: Arc<dyn backend::Message>) -> Message {
        Message {
            message,
            origin: Origin::Handle(handle),
        }
    }

    /// Its type: one [`msgtype`] bit.
    fn msgtype(&self) -> i32 {
        match &self.origin {
            Origin::Handle(_) => self.message.msgtype(),
            Origin::External(external) => external.msgtype,
        }
    }
}

/// A new message of C code, to be returned as userdata.
pub struct NewMessage(Option<Message>);

impl NewMessage {
    /// A message that C code gave the type `msgtype`, one [`msgtype`] bit. `responder`
    /// sends the responses.
    pub fn with_responder(
        message: Arc<dyn backend::Message>,
        msgtype: i32,
        responder: Rc<dyn Responder>,
    ) -> NewMessage {
        NewMessage(Some(Message {
            message,
            origin: Origin::External(Rc::new(External { msgtype, responder })),
        }))
    }
}

impl Push for NewMessage {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.new_object(&mut self.0);
        1
    }
}

/// The name of a message type, as in `msg.type`.
fn type_name(msgtype: i32) -> &'static str {
    match msgtype {
        msgtype::REQUEST => "request",
        msgtype::RESPONSE => "response",
        msgtype::EVENT => "event",
        msgtype::CONTROL => "control",
        msgtype::ANY => "all",
        _ => "unknown",
    }
}

/// A field of a message.
#[derive(Clone, Copy)]
enum Field {
    Type,
    Tag,
    Data,
    Payload,
    Errnum,
    Matchtag,
    Nodeid,
    Userid,
    Rolemask,
    Streaming,
}

const FIELDS: &[(&CStr, Field)] = &[
    (c"type", Field::Type),
    (c"tag", Field::Tag),
    (c"data", Field::Data),
    (c"payload", Field::Payload),
    (c"errnum", Field::Errnum),
    (c"matchtag", Field::Matchtag),
    (c"nodeid", Field::Nodeid),
    (c"userid", Field::Userid),
    (c"rolemask", Field::Rolemask),
    (c"streaming", Field::Streaming),
];

/// The value of a field.
enum FieldValue<'s> {
    Nil,
    Integer(i64),
    Boolean(bool),
    Name(&'static str),
    Text(MessageText<'s>),
    /// A payload to decode. The message keeps the resulting table.
    Data(MessageText<'s>),
    /// The value on top of the stack.
    OnTop,
}

impl Push for FieldValue<'_> {
    fn owns_nothing(&self) -> bool {
        match self {
            FieldValue::Text(text) | FieldValue::Data(text) => text.owns_nothing(),
            _ => true,
        }
    }

    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        match self {
            FieldValue::Nil => writer.nil(),
            FieldValue::Integer(n) => writer.integer(*n),
            FieldValue::Boolean(value) => writer.boolean(*value),
            FieldValue::Name(name) => writer.bytes(name.as_bytes()),
            FieldValue::Text(text) => match text.bytes() {
                Some(text) => writer.bytes(text),
                None => writer.nil(),
            },
            FieldValue::Data(text) => match text.bytes() {
                Some(text) => return push_data(writer, text),
                None => writer.nil(),
            },
            FieldValue::OnTop => {}
        }
        1
    }
}

/// Pushes the decoded payload of the message in argument 1, which keeps the table for
/// the next access.
fn push_data(writer: &Writer<'_>, text: &[u8]) -> c_int {
    if let Err(error) = json::decode(writer, text, json::Options::default()) {
        return payload::push_malformed(writer, error);
    }
    let state = writer.state();
    if state.kind(-1) == Kind::Table
        // A finalizer that ran during the decoding can have replaced the argument.
        && let Some(object) = state.find::<Message>(1)
    {
        state.push_value(-1);
        // SAFETY: the object was found at this index, and a table is on top.
        unsafe { object.keep_table(state, 1) };
    }
    1
}

/// `msg.name`: a field or a method.
fn index<'s>(state: State<'_>, scratch: &'s mut Scratch) -> Result<FieldValue<'s>> {
    let Some(field) = state.field(2, FIELDS) else {
        return method(state);
    };
    let object = state.find_object::<Message>(1)?;
    // SAFETY: the object was found at this index.
    if matches!(field, Field::Data) && unsafe { object.push_table(state, 1) } {
        return Ok(FieldValue::OnTop);
    }
    // SAFETY: nothing below calls Lua, or changes the object.
    let Some(message) = (unsafe { object.borrow() }) else {
        return Err(lua::closed::<Message>(1));
    };
    let of = &*message.message;
    let mut free = scratch.all();
    let mut text = |part| MessageText::new(&message.message, part, &mut free);
    Ok(match field {
        Field::Type => FieldValue::Name(type_name(message.msgtype())),
        Field::Tag => FieldValue::Text(text(Part::Topic)),
        Field::Data => FieldValue::Data(text(Part::Payload)),
        Field::Payload => FieldValue::Text(text(Part::Payload)),
        Field::Errnum => FieldValue::Integer(errnum(message)?),
        Field::Matchtag => FieldValue::Integer(of.matchtag()?.into()),
        Field::Nodeid => FieldValue::Integer(of.nodeid()?.into()),
        Field::Userid => FieldValue::Integer(of.userid()?.into()),
        Field::Rolemask => FieldValue::Integer(of.rolemask()?.into()),
        Field::Streaming => FieldValue::Boolean(of.is_streaming()),
    })
}

/// The method that argument 2 names, or nil.
fn method(state: State<'_>) -> Result<FieldValue<'static>> {
    if state.method(2) {
        return Ok(FieldValue::OnTop);
    }
    state.find_object::<Message>(1)?;
    Ok(FieldValue::Nil)
}

/// `msg.errnum`
fn errnum(message: &Message) -> Result<i64> {
    if message.msgtype() & msgtype::RESPONSE == 0 {
        return Err(Error::failure(
            "zmsg: errnum requested for non-response msg",
        ));
    }
    Ok(message.message.errnum()?.into())
}

/// `msg.name = value`: an error.
fn newindex(state: State<'_>) -> Result<()> {
    read_only::refuse_assignment::<Message, _>(state, FIELDS)
}

/// How many bytes of a topic `tostring` shows. A peer may send a longer one.
const SHOWN_TOPIC: usize = 255;

/// `tostring(msg)`: its type and topic.
fn tostring(state: State<'_>) -> Result<Text> {
    let message: Message = state.check_object(1)?;
    let of = &*message.message;
    let topic = of.topic().unwrap_or(b"(no topic)");
    let (shown, cut) = match topic.get(..SHOWN_TOPIC) {
        Some(start) if topic.len() > SHOWN_TOPIC => (start, "…"),
        _ => (topic, ""),
    };
    Ok(Text(format!(
        "flux {} {}{cut}",
        type_name(message.msgtype()),
        String::from_utf8_lossy(shown)
    )))
}

lua_functions! {
    lua_index(Scratch) => index;
    lua_newindex => newindex;
    lua_tostring => tostring;
}

const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"__index", Some(lua_index)),
    (c"__newindex", Some(lua_newindex)),
    (c"__tostring", Some(lua_tostring)),
];

/// Pushes the metatable of messages.
pub fn push_class(state: State<'_>) {
    state.registry(&Message::info().key);
}

/// Makes the class, and leaves its metatable on top of the stack.
pub fn open(writer: &Writer<'_>) {
    // SAFETY: the functions are entry points.
    unsafe { writer.new_class_with_fields::<Message, Field>(METHODS, FIELDS) };
}
