//! A byte stream kept in the KVS, class `FLUX.kz`: the directory `KEY` with the
//! blocks `000000`, `000001`, …, each `{"data": base64, "eof": bool}`, as the
//! KVS streams of Flux 0.10. Each block is a commit of its own, so that readers
//! follow while it is written.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::raw::c_int;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::api::handle::Handle;
use crate::api::kvs::pending::not_committed;
use crate::api::wait::{Step, blocking};
use crate::api::{arguments, handle, read_only};
use crate::backend::{self, Future, base64, kvs_flags, object};
use crate::lua::{
    Class, ClassInfo, Error, Integer, Push, Result, State, Text, Writer, lua_CFunction,
};
use crate::lua_functions;

/// One end of a stream.
#[derive(Clone)]
pub struct Kz(Rc<Inner>);

struct Inner {
    handle: Handle,
    key: String,
    mode: Mode,
    /// The block that is written or read next.
    next: Cell<u32>,
    /// Of a reader: whether the last block was read. Of a writer: written.
    eof: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Read,
    Write,
}

impl Class for Kz {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.kz", "flux kz");
        &INFO
    }
}

/// A block of a stream.
pub struct Block {
    pub data: Vec<u8>,
    pub eof: bool,
}

/// A block as JSON in the KVS.
#[derive(Serialize, Deserialize)]
struct EncodedBlock {
    /// Base64. Streams of Flux 0.10 may end with a block without data.
    data: Option<String>,
    eof: bool,
}

impl Block {
    fn to_json(data: &[u8], eof: bool) -> String {
        object::write(&EncodedBlock {
            data: Some(base64::encode(data)),
            eof,
        })
    }

    fn from_json(text: &[u8]) -> backend::Result<Block> {
        let malformed = || backend::Error::with_detail(libc::EPROTO, "malformed KVS stream block");
        let block: EncodedBlock = object::read(text).ok_or_else(malformed)?;
        let data = block.data.unwrap_or_default();
        Ok(Block {
            data: base64::decode(&data).ok_or_else(malformed)?,
            eof: block.eof,
        })
    }
}

impl Kz {
    pub fn new(handle: Handle, key: &str, mode: Mode) -> Kz {
        Kz(Rc::new(Inner {
            handle,
            key: key.to_owned(),
            mode,
            next: Cell::new(0),
            eof: Cell::new(false),
        }))
    }

    /// The key of the next block.
    fn next_key(&self) -> String {
        format!("{}.{:06}", self.0.key, self.0.next.get())
    }

    /// Look up the next block. `flags`: 0, or to wait until there is one.
    pub fn lookup_next(&self, flags: i32) -> Result<Box<dyn Future>> {
        Ok(self
            .0
            .handle
            .backend()?
            .lookup(None, flags, &self.next_key())?)
    }

    /// Look up whether the stream's key is a directory.
    pub fn lookup_dir(&self) -> Result<Box<dyn Future>> {
        let backend = self.0.handle.backend()?;
        Ok(backend.lookup(None, kvs_flags::READDIR, &self.0.key)?)
    }

    /// The block that was looked up. The one after it is next.
    pub fn take(&self, lookup: &dyn Future) -> backend::Result<Block> {
        let block = Block::from_json(lookup.payload()?.unwrap_or_default())?;
        self.0.next.set(self.0.next.get() + 1);
        self.0.eof.set(block.eof);
        Ok(block)
    }

    pub fn is_at_end(&self) -> bool {
        self.0.eof.get()
    }

    /// Begin to write a block.
    fn put(&self, data: &[u8], eof: bool) -> Result<Box<dyn Future>> {
        let backend = self.0.handle.backend()?;
        let mut transaction = backend.transaction()?;
        transaction.put(0, &self.next_key(), Block::to_json(data, eof).as_bytes())?;
        let committed = backend
            .commit(None, 0, transaction.as_mut())
            .map_err(|error| refused(&self.0.key, error))?;
        self.0.next.set(self.0.next.get() + 1);
        self.0.eof.set(eof);
        Ok(committed)
    }

    fn must_be(&self, mode: Mode) -> Result<()> {
        if self.0.mode == mode {
            return Ok(());
        }
        let text = match mode {
            Mode::Read => "the stream is open for writing",
            Mode::Write => "the stream is open for reading",
        };
        Err(backend::Error::with_detail(libc::EINVAL, text).into())
    }
}

impl Drop for Inner {
    /// A writer that is dropped ends its stream: readers wait for that. There
    /// is nobody to wait for the commit.
    fn drop(&mut self) {
        if self.mode == Mode::Read || self.eof.get() {
            return;
        }
        let key = format!("{}.{:06}", self.key, self.next.get());
        if let Ok(backend) = self.handle.backend()
            && let Ok(mut transaction) = backend.transaction()
            && transaction
                .put(0, &key, Block::to_json(b"", true).as_bytes())
                .is_ok()
        {
            let _ = backend.commit(None, 0, transaction.as_mut());
        }
    }
}

/// The error of a commit for the stream of this key.
fn refused(key: &str, error: backend::Error) -> Error {
    not_committed(std::iter::once(key), error).into()
}

/// A stream to be pushed as userdata.
pub struct NewKz(pub Option<Kz>);

impl Push for NewKz {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.new_object(&mut self.0);
        1
    }
}

/// `f:kz_open(key[, "r" | "w"])`
fn kz_open(state: State<'_>) -> Result<Step<NewKz>> {
    let handle = handle::check(state)?;
    let key = arguments::text(state, 2)?.to_owned();
    let mode = match state.bytes(3).and_then(<[u8]>::first) {
        None if state.is_none_or_nil(3) => Mode::Read,
        Some(b'r') => Mode::Read,
        Some(b'w') => Mode::Write,
        _ => return Err(Error::failure("Expected 'r' or 'w' mode for kz_open")),
    };
    if mode == Mode::Read {
        return Ok(Step::Done(NewKz(Some(Kz::new(handle, &key, mode)))));
    }
    let backend = handle.backend()?;
    let mut transaction = backend.transaction()?;
    // Takes the place of a stream of that name.
    transaction.mkdir(&key)?;
    let committed = backend
        .commit(None, 0, transaction.as_mut())
        .map_err(|error| refused(&key, error))?;
    Step::wait(committed, move |_, committed| match committed.payload() {
        Ok(_) => Ok(Step::Done(NewKz(Some(Kz::new(handle, &key, mode))))),
        Err(error) => Err(refused(&key, error)),
    })
}

/// `kz:write(s)`: the number of bytes, once they are in the KVS.
fn write(state: State<'_>) -> Result<Step<Integer>> {
    let kz: Kz = state.check_object(1)?;
    let data = arguments::bytes(state, 2)?;
    kz.must_be(Mode::Write)?;
    let len = data.len() as i64;
    if data.is_empty() {
        return Ok(Step::Done(Integer(0)));
    }
    Step::wait(kz.put(data, false)?, move |_, committed| {
        match committed.payload() {
            Ok(_) => Ok(Step::Done(Integer(len))),
            Err(error) => Err(refused(&kz.0.key, error)),
        }
    })
}

impl Push for Block {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.table(0, 2);
        writer.boolean(self.eof);
        writer.set_field(-2, c"eof");
        if !self.data.is_empty() {
            writer.bytes(&self.data);
            writer.set_field(-2, c"data");
        }
        1
    }
}

/// `kz:read()`: the next block; EAGAIN where there is none yet.
fn read(state: State<'_>) -> Result<Step<Block>> {
    let kz: Kz = state.check_object(1)?;
    kz.must_be(Mode::Read)?;
    if kz.is_at_end() {
        return Ok(Step::Done(Block {
            data: Vec::new(),
            eof: true,
        }));
    }
    let lookup = kz.lookup_next(0)?;
    Step::wait(lookup, move |_, block| match kz.take(&*block) {
        Ok(block) => Ok(Step::Done(block)),
        Err(error) if error.errnum == libc::ENOENT => Err(backend::Error::new(libc::EAGAIN).into()),
        Err(error) => Err(error.into()),
    })
}

/// `kz:close()`: a writer ends the stream.
fn close(state: State<'_>) -> Result<Step<()>> {
    let Some(kz) = state.object::<Kz>(1) else {
        return Err(Error::expected(state, 1, Kz::info().label));
    };
    let Some(kz) = kz else {
        return Ok(Step::Done(()));
    };
    state.take_object::<Kz>(1);
    if kz.0.mode == Mode::Read || kz.is_at_end() {
        return Ok(Step::Done(()));
    }
    Step::wait(kz.put(b"", true)?, move |_, committed| {
        match committed.payload() {
            Ok(_) => Ok(Step::Done(())),
            Err(error) => Err(refused(&kz.0.key, error)),
        }
    })
}

fn tostring(state: State<'_>) -> Result<Text> {
    match state.object::<Kz>(1) {
        Some(Some(kz)) => Ok(Text(format!("flux kz {}", kz.0.key))),
        Some(None) => Ok(Text("flux kz (closed)".to_owned())),
        None => Err(Error::expected(state, 1, Kz::info().label)),
    }
}

/// `kz.name = value`
fn newindex(state: State<'_>) -> Result<()> {
    read_only::refuse_assignment::<Kz, ()>(state, &[])
}

/// Flags of a lookup that waits until there is a block, which may come to be
/// through a symlink. It ends with ENOENT at a commit that does not bring it.
pub const WAIT: i32 = kvs_flags::WAITCREATE | kvs_flags::WATCH | kvs_flags::WATCH_FULL;

lua_functions! {
    lua_newindex => newindex;
    lua_tostring => tostring;
    lua_kz_open => blocking(kz_open);
    lua_write => blocking(write);
    lua_read => blocking(read);
    lua_close => blocking(close);
}

/// Of the handle.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[(c"kz_open", Some(lua_kz_open))];

const KZ_METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"__newindex", Some(lua_newindex)),
    (c"__tostring", Some(lua_tostring)),
    (c"__close", Some(lua_close)),
    (c"write", Some(lua_write)),
    (c"read", Some(lua_read)),
    (c"close", Some(lua_close)),
];

pub fn open(writer: &Writer<'_>) {
    writer.new_class::<Kz>(KZ_METHODS);
    writer.state().push_value(-1);
    writer.set_field(-2, c"__index");
    writer.state().pop(1);
}
