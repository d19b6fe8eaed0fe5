//! A message, class `CMB.zmsgi`: its parts, and responding to it. Also what
//! `recv` and `recv_event` return of one.

use std::ffi::{CStr, CString};
use std::os::raw::c_int;
use std::rc::Rc;
use std::sync::Arc;

use crate::api::handle::Handle;
use crate::api::text::{MessageText, Part};
use crate::api::{arguments, payload, read_only};
use crate::backend::{self, msgtype};
use crate::json::{self, Output};
use crate::lua::{
    self, Class, ClassInfo, Error, Integer, Kind, Push, Result, Scratch, State, Text, Writer,
    lua_CFunction,
};
use crate::lua_functions;

/// A message, and what it is responded to with.
#[derive(Clone)]
pub struct Message {
    message: Arc<dyn backend::Message>,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// It came over this handle.
    Handle(Handle),
    /// C code made it.
    Code(Rc<Code>),
}

struct Code {
    /// What C code calls the message's: one [`msgtype`] bit.
    msgtype: i32,
    responder: Rc<dyn Responder>,
}

/// Responds to a message that came over no handle. Each method pushes what the
/// script's call returns, and returns how many values that is. Both may raise.
pub trait Responder {
    /// `payload` is JSON text.
    fn respond(&self, writer: &Writer<'_>, payload: &CStr) -> Responding;
    fn respond_error(&self, writer: &Writer<'_>, errnum: c_int, text: Option<&CStr>) -> Responding;
}

pub type Responding = std::result::Result<c_int, NoResponse>;

/// Why a [`Responder`] did not respond.
pub enum NoResponse {
    /// C code registered no callback for this kind of response.
    NoCallback,
    /// The callback failed.
    Failed,
}

/// What a message takes but for its texts, about.
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
    /// A message that came over `handle`.
    pub fn new(handle: Handle, message: Arc<dyn backend::Message>) -> Message {
        Message {
            message,
            origin: Origin::Handle(handle),
        }
    }

    /// One [`msgtype`] bit.
    fn msgtype(&self) -> i32 {
        match &self.origin {
            Origin::Handle(_) => self.message.msgtype(),
            Origin::Code(code) => code.msgtype,
        }
    }
}

/// A message of C code's, to be pushed as userdata.
pub struct NewMessage(Option<Message>);

impl NewMessage {
    /// C code calls its type `msgtype`.
    pub fn with_responder(
        message: Arc<dyn backend::Message>,
        msgtype: i32,
        responder: Rc<dyn Responder>,
    ) -> NewMessage {
        NewMessage(Some(Message {
            message,
            origin: Origin::Code(Rc::new(Code { msgtype, responder })),
        }))
    }
}

impl Push for NewMessage {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.new_object(&mut self.0);
        1
    }
}

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

/// The parts of a message.
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

/// `msg.type`, `msg.data`, …, and the methods.
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

fn method(state: State<'_>) -> Result<FieldValue<'static>> {
    if state.method(2) {
        return Ok(FieldValue::OnTop);
    }
    state.find_object::<Message>(1)?;
    Ok(FieldValue::Nil)
}

/// `msg.name = value`
fn newindex(state: State<'_>) -> Result<()> {
    read_only::refuse_assignment::<Message, _>(state, FIELDS)
}

/// The value of a field, to be pushed.
enum FieldValue<'s> {
    Nil,
    Integer(i64),
    Boolean(bool),
    Name(&'static str),
    Text(MessageText<'s>),
    /// To be decoded. The message keeps the table.
    Data(MessageText<'s>),
    /// On the stack already.
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

/// Decodes the payload of the message that is argument 1. The message keeps the
/// table.
fn push_data(writer: &Writer<'_>, text: &[u8]) -> c_int {
    if let Err(error) = json::decode(writer, text, json::Options::default()) {
        return payload::push_malformed(writer, error);
    }
    let state = writer.state();
    if state.kind(-1) == Kind::Table
        // A finalizer that ran meanwhile can have replaced the argument.
        && let Some(object) = state.find::<Message>(1)
    {
        state.push_value(-1);
        // SAFETY: the object was found at this index, and a table is on top.
        unsafe { object.keep_table(state, 1) };
    }
    1
}

fn errnum(message: &Message) -> Result<i64> {
    if message.msgtype() & msgtype::RESPONSE == 0 {
        return Err(Error::failure(
            "zmsg: errnum requested for non-response msg",
        ));
    }
    Ok(message.message.errnum()?.into())
}

/// Of a longer topic, which a peer may send, `tostring` shows so many bytes.
const SHOWN_TOPIC: usize = 255;

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

/// What `msg:respond` and `msg:respond_error` return.
enum Responded {
    Sent,
    /// The callback of C code responds.
    Code(Rc<dyn Responder>, Response),
}

/// A response for C code to send.
enum Response {
    Payload(CString),
    Error(c_int, Option<CString>),
}

impl Push for Responded {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let Responded::Code(responder, response) = self else {
            return Integer(0).push(writer);
        };
        let top = writer.state().top();
        let pushed = match response {
            Response::Payload(payload) => responder.respond(writer, payload),
            Response::Error(errnum, text) => {
                responder.respond_error(writer, *errnum, text.as_deref())
            }
        };
        pushed.unwrap_or_else(|why| {
            writer.state().set_top(top);
            response.push_refusal(writer, why)
        })
    }
}

impl Response {
    /// `nil, text, ENOSYS, why`.
    fn push_refusal(&self, writer: &Writer<'_>, why: NoResponse) -> c_int {
        let (text, why) = match (self, why) {
            (Response::Payload(_), NoResponse::NoCallback) => (NOT_RESPONDED, NO_CALLBACK),
            (Response::Payload(_), NoResponse::Failed) => (NOT_RESPONDED, CALLBACK_FAILED),
            (Response::Error(..), NoResponse::NoCallback) => (NO_ERROR_CALLBACK, NO_ERROR_CALLBACK),
            (Response::Error(..), NoResponse::Failed) => {
                (ERROR_CALLBACK_FAILED, ERROR_CALLBACK_FAILED)
            }
        };
        writer.nil();
        writer.bytes(text.as_bytes());
        writer.integer(libc::ENOSYS.into());
        writer.bytes(why.as_bytes());
        4
    }
}

/// The text that the C bindings give for every failure of `msg:respond` here.
const NOT_RESPONDED: &str = "zmsg_info_respond: Not implemented";
const NO_CALLBACK: &str = "the C code that made this message registered no response callback \
                           (zmsg_info_register_resp_cb)";
const CALLBACK_FAILED: &str =
    "the response callback of the C code that made this message returned -1";
const NO_ERROR_CALLBACK: &str = "the C code that made this message registered no callback for \
                                 error responses (zmsg_info_register_resp_error_cb)";
const ERROR_CALLBACK_FAILED: &str =
    "the callback for error responses of the C code that made this message returned -1";

/// `msg:respond(table)`
fn respond(state: State<'_>) -> Result<Responded> {
    let message: Message = state.check_object(1)?;
    let mut scratch = Scratch::new();
    let mut text = Output::new(&mut scratch);
    let handle = match &message.origin {
        Origin::Handle(handle) => request(&message).map(|()| handle)?,
        Origin::Code(code) => {
            // The callback's contract is older than responses without payload.
            let payload = payload::read(state, 2, &mut text)?.unwrap_or(b"{}");
            let response = Response::Payload(terminated(payload)?);
            return Ok(Responded::Code(code.responder.clone(), response));
        }
    };
    let payload = payload::read(state, 2, &mut text)?;
    let backend = handle.backend()?;
    backend.respond(&*message.message, payload)?;
    Ok(Responded::Sent)
}

/// `msg:respond_error(errnum[, text])`
fn respond_error(state: State<'_>) -> Result<Responded> {
    let message: Message = state.check_object(1)?;
    if let Origin::Handle(_) = &message.origin {
        request(&message)?;
    }
    let errnum = arguments::integer(state, 2, 1..=i32::MAX.into())? as i32;
    let text = arguments::optional_text(state, 3)?;
    match &message.origin {
        Origin::Handle(handle) => {
            let backend = handle.backend()?;
            backend.respond_error(&*message.message, errnum, text)?;
            Ok(Responded::Sent)
        }
        Origin::Code(code) => {
            let text = text.map(|text| terminated(text.as_bytes())).transpose()?;
            let response = Response::Error(errnum, text);
            Ok(Responded::Code(code.responder.clone(), response))
        }
    }
}

/// A copy for C code. A text with a NUL is EINVAL.
fn terminated(text: &[u8]) -> Result<CString> {
    CString::new(text).map_err(|_| backend::Error::new(libc::EINVAL).into())
}

/// That the message is a request.
fn request(message: &Message) -> Result<()> {
    match message.msgtype() {
        msgtype::REQUEST => Ok(()),
        other => Err(backend::Error::with_detail(
            libc::EINVAL,
            format!(
                "a request is responded to, and this is a {}",
                type_name(other)
            ),
        )
        .into()),
    }
}

/// The results of `recv` and `recv_event`: the payload as a table, and the topic.
pub struct Received<'s> {
    /// Of a response: 0, or the errno.
    errnum: i32,
    payload: MessageText<'s>,
    topic: MessageText<'s>,
}

impl<'s> Received<'s> {
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
            errnum => push_error(writer, errnum, payload),
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

/// `{ errnum = …, errstr = … }`: an error response's payload is its text.
fn push_error(writer: &Writer<'_>, errnum: i32, text: Option<&[u8]>) -> c_int {
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

lua_functions! {
    lua_index(Scratch) => index;
    lua_newindex => newindex;
    lua_tostring => tostring;
    lua_respond => respond;
    lua_respond_error => respond_error;
}

const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"__index", Some(lua_index)),
    (c"__newindex", Some(lua_newindex)),
    (c"__tostring", Some(lua_tostring)),
    (c"respond", Some(lua_respond)),
    (c"respond_error", Some(lua_respond_error)),
];

/// Push the metatable of messages.
pub fn push_class(state: State<'_>) {
    state.registry(&Message::info().key);
}

pub fn open(writer: &Writer<'_>) {
    writer.new_class_with_fields::<Message, Field>(METHODS, FIELDS);
    writer.state().pop(1);
}
