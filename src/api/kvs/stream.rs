//! A byte stream in the KVS, class `FLUX.kz`.
//!
//! The stream at `KEY` is a directory with the blocks `000000`, `000001` and so on.
//! Each block is `{"data": base64, "eof": bool}`, the format of KVS streams in Flux
//! 0.10. Every block is committed on its own, so that readers can follow a stream while
//! it is written.

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

/// A reader or a writer of a stream.
#[derive(Clone)]
pub struct Kz(Rc<Inner>);

struct Inner {
    handle: Handle,
    /// The stream's key.
    key: String,
    mode: Mode,
    /// The number of the block to read or write next.
    next: Cell<u32>,
    /// Whether the last block was read or written.
    eof: Cell<bool>,
}

/// Whether a stream is open for reading or writing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For reading.
    Read,
    /// For writing.
    Write,
}

/// Flags of a lookup that waits for a block. It also sees a block that appears through a
/// symlink. It ends with ENOENT at the first commit after which the block still does not
/// exist.
pub const WAIT: i32 = kvs_flags::WAITCREATE | kvs_flags::WATCH | kvs_flags::WATCH_FULL;

impl Class for Kz {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.kz", "flux kz");
        &INFO
    }
}

impl Kz {
    /// A reader or writer of the stream at `key`, at its first block.
    pub fn new(handle: Handle, key: &str, mode: Mode) -> Kz {
        Kz(Rc::new(Inner {
            handle,
            key: key.to_owned(),
            mode,
            next: Cell::new(0),
            eof: Cell::new(false),
        }))
    }

    /// Looks up the next block. `flags` is 0, or [`WAIT`].
    pub fn lookup_next(&self, flags: i32) -> Result<Box<dyn Future>> {
        let backend = self.0.handle.backend()?;
        Ok(backend.lookup(None, flags, &self.0.next_key())?)
    }

    /// Looks up the stream's directory.
    pub fn lookup_dir(&self) -> Result<Box<dyn Future>> {
        let backend = self.0.handle.backend()?;
        Ok(backend.lookup(None, kvs_flags::READDIR, &self.0.key)?)
    }

    /// Returns the block of a fulfilled [`Kz::lookup_next`], and moves on to the one
    /// after it. EPROTO for a malformed block.
    pub fn take(&self, lookup: &dyn Future) -> backend::Result<Block> {
        let block = Block::from_json(lookup.payload()?.unwrap_or_default())?;
        self.0.next.set(self.0.next.get() + 1);
        self.0.eof.set(block.eof);
        Ok(block)
    }

    /// Commits a block, and returns the future of the commit.
    fn put(&self, data: &[u8], eof: bool) -> Result<Box<dyn Future>> {
        let backend = self.0.handle.backend()?;
        let mut transaction = backend.transaction()?;
        let block = Block::to_json(data, eof);
        transaction.put(0, &self.0.next_key(), block.as_bytes())?;
        let committed = backend
            .commit(None, 0, transaction.as_mut())
            .map_err(|error| commit_error(&self.0.key, error))?;
        self.0.next.set(self.0.next.get() + 1);
        self.0.eof.set(eof);
        Ok(committed)
    }

    /// EINVAL if the stream is open in the other mode.
    fn check_mode(&self, mode: Mode) -> Result<()> {
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

impl Inner {
    /// The key of the next block.
    fn next_key(&self) -> String {
        format!("{}.{:06}", self.key, self.next.get())
    }
}

impl Drop for Inner {
    /// Ends the stream of a writer that the script did not close, because readers wait
    /// for the end. Does not wait for the commit, and ignores its errors.
    fn drop(&mut self) {
        if self.mode == Mode::Read || self.eof.get() {
            return;
        }
        if let Ok(backend) = self.handle.backend()
            && let Ok(mut transaction) = backend.transaction()
            && transaction
                .put(0, &self.next_key(), Block::to_json(b"", true).as_bytes())
                .is_ok()
        {
            let _ = backend.commit(None, 0, transaction.as_mut());
        }
    }
}

/// The error of a commit to the stream at `key`.
fn commit_error(key: &str, error: backend::Error) -> Error {
    not_committed(std::iter::once(key), error).into()
}

/// A block of a stream. Scripts get it as `{ data = …, eof = … }`.
pub struct Block {
    /// The bytes. Lua gets nil if there are none.
    pub data: Vec<u8>,
    /// Whether this is the last block.
    pub eof: bool,
}

/// A block as it is stored in the KVS.
#[derive(Serialize, Deserialize)]
struct EncodedBlock {
    /// Base64. The last block of a stream of Flux 0.10 may lack it.
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

/// A new reader or writer, to be returned as userdata.
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
    // A writer replaces an earlier stream at the key.
    transaction.mkdir(&key)?;
    let committed = backend
        .commit(None, 0, transaction.as_mut())
        .map_err(|error| commit_error(&key, error))?;
    Step::wait(committed, move |_, committed| match committed.payload() {
        Ok(_) => Ok(Step::Done(NewKz(Some(Kz::new(handle, &key, mode))))),
        Err(error) => Err(commit_error(&key, error)),
    })
}

/// `kz.name = value`: an error.
fn newindex(state: State<'_>) -> Result<()> {
    read_only::refuse_assignment::<Kz, ()>(state, &[])
}

/// `kz:write(s)`: returns the number of bytes once they are committed.
fn write(state: State<'_>) -> Result<Step<Integer>> {
    let kz: Kz = state.check_object(1)?;
    let data = arguments::bytes(state, 2)?;
    kz.check_mode(Mode::Write)?;
    let len = data.len() as i64;
    if data.is_empty() {
        return Ok(Step::Done(Integer(0)));
    }
    Step::wait(kz.put(data, false)?, move |_, committed| {
        match committed.payload() {
            Ok(_) => Ok(Step::Done(Integer(len))),
            Err(error) => Err(commit_error(&kz.0.key, error)),
        }
    })
}

/// `kz:read()`: the next block. EAGAIN if there is none yet.
fn read(state: State<'_>) -> Result<Step<Block>> {
    let kz: Kz = state.check_object(1)?;
    kz.check_mode(Mode::Read)?;
    if kz.0.eof.get() {
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

/// `kz:close()`: a writer commits the last block.
fn close(state: State<'_>) -> Result<Step<()>> {
    let Some(kz) = state.object::<Kz>(1) else {
        return Err(Error::expected(state, 1, Kz::info().label));
    };
    let Some(kz) = kz else {
        return Ok(Step::Done(()));
    };
    state.take_object::<Kz>(1);
    if kz.0.mode == Mode::Read || kz.0.eof.get() {
        return Ok(Step::Done(()));
    }
    Step::wait(kz.put(b"", true)?, move |_, committed| {
        match committed.payload() {
            Ok(_) => Ok(Step::Done(())),
            Err(error) => Err(commit_error(&kz.0.key, error)),
        }
    })
}

/// `tostring(kz)`
fn tostring(state: State<'_>) -> Result<Text> {
    match state.object::<Kz>(1) {
        Some(Some(kz)) => Ok(Text(format!("flux kz {}", kz.0.key))),
        Some(None) => Ok(Text("flux kz (closed)".to_owned())),
        None => Err(Error::expected(state, 1, Kz::info().label)),
    }
}

lua_functions! {
    lua_newindex => newindex;
    lua_tostring => tostring;
    lua_kz_open => blocking(kz_open);
    lua_write => blocking(write);
    lua_read => blocking(read);
    lua_close => blocking(close);
}

/// Methods of the handle.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[(c"kz_open", Some(lua_kz_open))];

const KZ_METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"__newindex", Some(lua_newindex)),
    (c"__tostring", Some(lua_tostring)),
    (c"__close", Some(lua_close)),
    (c"write", Some(lua_write)),
    (c"read", Some(lua_read)),
    (c"close", Some(lua_close)),
];

/// Registers the class.
pub fn open(writer: &Writer<'_>) {
    // SAFETY: the functions are entry points.
    unsafe { writer.new_class::<Kz>(KZ_METHODS) };
    writer.state().push_value(-1);
    writer.set_field(-2, c"__index");
    writer.state().pop(1);
}
