//! The KVS through libflux: lookups, transactions and commits.

use std::any::Any;
use std::ffi::{CString, c_int, c_void};
use std::rc::Rc;

use super::future::{Course, FluxFuture, ValueKind};
use super::session::Session;
use super::sigmask;
use super::sys::{Api, flux_kvs_txn_t};
use super::text::{self, terminated, terminated_if_any};
use crate::backend::{Error, Result, Transaction, key, kvs_flags};

/// Starts a lookup. `flags` is a set of [`kvs_flags`].
pub fn lookup(
    session: &Rc<Session>,
    namespace: Option<&str>,
    flags: i32,
    key: &str,
) -> Result<FluxFuture> {
    let namespace = terminated_if_any(namespace)?;
    let key = terminated_key(key)?;
    session.connection.sweep();
    sigmask::sending(|| {
        // SAFETY: the handle is valid; the strings are terminated, and copied by
        // the call, which returns a new future or null.
        unsafe {
            let f = (session.api().flux_kvs_lookup)(
                session.connection.as_ptr(),
                text::pointer(&namespace),
                flags,
                key.as_ptr(),
            );
            FluxFuture::from_owned(session, f, course(flags))
        }
    })
}

/// Converts a key to a C string. Fails with EINVAL for a key that no KVS can
/// hold.
fn terminated_key(key: &str) -> Result<CString> {
    key::check(key)?;
    terminated(key)
}

/// The course of a lookup with these flags.
fn course(flags: i32) -> Course {
    let treeobj = kvs_flags::READDIR | kvs_flags::READLINK | kvs_flags::TREEOBJ;
    Course {
        value: if flags & treeobj != 0 {
            ValueKind::Treeobj
        } else {
            ValueKind::Bytes
        },
        streaming: flags & kvs_flags::WATCH != 0,
        cancels: flags & (kvs_flags::WATCH | kvs_flags::WAITCREATE) != 0,
    }
}

/// Starts a commit. The transaction does not change, and may be committed again.
pub fn commit(
    session: &Rc<Session>,
    namespace: Option<&str>,
    flags: i32,
    transaction: &mut dyn Transaction,
) -> Result<FluxFuture> {
    let transaction = transaction.as_any().downcast_ref::<FluxTransaction>();
    let transaction = transaction.ok_or_else(|| Error::new(libc::EINVAL))?;
    let namespace = terminated_if_any(namespace)?;
    session.connection.sweep();
    sigmask::sending(|| {
        // SAFETY: the handle and the transaction are valid. The call encodes the
        // transaction, and returns a new future or null.
        unsafe {
            let f = (session.api().flux_kvs_commit)(
                session.connection.as_ptr(),
                text::pointer(&namespace),
                flags,
                transaction.txn,
            );
            let course = Course {
                value: ValueKind::Done,
                streaming: false,
                cancels: false,
            };
            FluxFuture::from_owned(session, f, course)
        }
    })
}

/// Owns a `flux_kvs_txn_t`, which belongs to no handle.
pub struct FluxTransaction {
    api: &'static Api,
    txn: *mut flux_kvs_txn_t,
}

impl FluxTransaction {
    /// An empty transaction.
    pub fn new(api: &'static Api) -> Result<FluxTransaction> {
        // SAFETY: the call has no preconditions. It returns a new transaction or
        // null.
        let txn = unsafe { (api.flux_kvs_txn_create)() };
        if txn.is_null() {
            return Err(Error::last_os_error());
        }
        Ok(FluxTransaction { api, txn })
    }

    fn check(&self, rc: c_int) -> Result<()> {
        if rc < 0 {
            return Err(Error::last_os_error());
        }
        Ok(())
    }
}

impl Drop for FluxTransaction {
    fn drop(&mut self) {
        // SAFETY: this owns the transaction, and destroys it once.
        unsafe { (self.api.flux_kvs_txn_destroy)(self.txn) };
    }
}

impl Transaction for FluxTransaction {
    fn put(&mut self, flags: i32, key: &str, value: &[u8]) -> Result<()> {
        let key = terminated_key(key)?;
        text::fits_an_int(value.len())?;
        let data = value.as_ptr().cast::<c_void>();
        // SAFETY: the transaction is valid; key and value are copied.
        self.check(unsafe {
            (self.api.flux_kvs_txn_put_raw)(self.txn, flags, key.as_ptr(), data, value.len())
        })
    }

    fn mkdir(&mut self, key: &str) -> Result<()> {
        let key = terminated_key(key)?;
        // SAFETY: the transaction is valid; the key is copied.
        self.check(unsafe { (self.api.flux_kvs_txn_mkdir)(self.txn, 0, key.as_ptr()) })
    }

    fn unlink(&mut self, key: &str) -> Result<()> {
        let key = terminated_key(key)?;
        // SAFETY: the transaction is valid; the key is copied.
        self.check(unsafe { (self.api.flux_kvs_txn_unlink)(self.txn, 0, key.as_ptr()) })
    }

    fn symlink(&mut self, key: &str, namespace: Option<&str>, target: &str) -> Result<()> {
        let key = terminated_key(key)?;
        let namespace = terminated_if_any(namespace)?;
        let target = terminated(target)?;
        // SAFETY: the transaction is valid; the strings are copied.
        self.check(unsafe {
            (self.api.flux_kvs_txn_symlink)(
                self.txn,
                0,
                key.as_ptr(),
                text::pointer(&namespace),
                target.as_ptr(),
            )
        })
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
