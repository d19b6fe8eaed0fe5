//! The KVS through libflux: lookups, transactions and their commit.

use std::any::Any;
use std::ffi::{CString, c_int, c_void};
use std::rc::Rc;

use super::connection::Connection;
use super::future::{Course, FluxFuture, Value};
use super::signals;
use super::sys::{Api, flux_kvs_txn_t};
use super::text::{self, terminated, terminated_if_any};
use crate::backend::{Error, Result, Transaction, key, kvs_flags};

pub fn lookup(
    connection: &Rc<Connection>,
    namespace: Option<&str>,
    flags: i32,
    key: &str,
) -> Result<FluxFuture> {
    let namespace = terminated_if_any(namespace)?;
    let key = terminated_key(key)?;
    connection.sweep();
    signals::sending(|| {
        // SAFETY: a valid handle, and terminated strings that outlive the
        // call, which copies them; the future is ours.
        unsafe {
            let f = (connection.api.flux_kvs_lookup)(
                connection.as_ptr(),
                text::pointer(&namespace),
                flags,
                key.as_ptr(),
            );
            FluxFuture::from_owned(connection, f, course(flags))
        }
    })
}

fn terminated_key(key: &str) -> Result<CString> {
    key::check(key)?;
    terminated(key)
}

fn course(flags: i32) -> Course {
    let treeobj = kvs_flags::READDIR | kvs_flags::READLINK | kvs_flags::TREEOBJ;
    Course {
        value: if flags & treeobj != 0 {
            Value::Treeobj
        } else {
            Value::Bytes
        },
        streaming: flags & kvs_flags::WATCH != 0,
        cancels: flags & (kvs_flags::WATCH | kvs_flags::WAITCREATE) != 0,
    }
}

/// Commit leaves the transaction as it is: it may be committed again.
pub fn commit(
    connection: &Rc<Connection>,
    namespace: Option<&str>,
    flags: i32,
    transaction: &mut dyn Transaction,
) -> Result<FluxFuture> {
    let transaction = transaction.as_any().downcast_ref::<FluxTransaction>();
    let transaction = transaction.ok_or_else(|| Error::new(libc::EINVAL))?;
    let namespace = terminated_if_any(namespace)?;
    connection.sweep();
    signals::sending(|| {
        // SAFETY: a valid handle and transaction, which libflux encodes here;
        // the future is ours.
        unsafe {
            let f = (connection.api.flux_kvs_commit)(
                connection.as_ptr(),
                text::pointer(&namespace),
                flags,
                transaction.txn,
            );
            let course = Course {
                value: Value::Done,
                streaming: false,
                cancels: false,
            };
            FluxFuture::from_owned(connection, f, course)
        }
    })
}

/// Owns a transaction. It belongs to no handle.
pub struct FluxTransaction {
    api: &'static Api,
    txn: *mut flux_kvs_txn_t,
}

impl FluxTransaction {
    pub fn new(api: &'static Api) -> Result<FluxTransaction> {
        // SAFETY: creates a transaction of ours, or null.
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
        // SAFETY: ours, destroyed once.
        unsafe { (self.api.flux_kvs_txn_destroy)(self.txn) };
    }
}

impl Transaction for FluxTransaction {
    fn put(&mut self, flags: i32, key: &str, value: &[u8]) -> Result<()> {
        let key = terminated_key(key)?;
        text::fits_an_int(value.len())?;
        let data = value.as_ptr().cast::<c_void>();
        // SAFETY: a valid transaction; key and value are copied.
        self.check(unsafe {
            (self.api.flux_kvs_txn_put_raw)(self.txn, flags, key.as_ptr(), data, value.len())
        })
    }

    fn mkdir(&mut self, key: &str) -> Result<()> {
        let key = terminated_key(key)?;
        // SAFETY: a valid transaction; the key is copied.
        self.check(unsafe { (self.api.flux_kvs_txn_mkdir)(self.txn, 0, key.as_ptr()) })
    }

    fn unlink(&mut self, key: &str) -> Result<()> {
        let key = terminated_key(key)?;
        // SAFETY: a valid transaction; the key is copied.
        self.check(unsafe { (self.api.flux_kvs_txn_unlink)(self.txn, 0, key.as_ptr()) })
    }

    fn symlink(&mut self, key: &str, namespace: Option<&str>, target: &str) -> Result<()> {
        let key = terminated_key(key)?;
        let namespace = terminated_if_any(namespace)?;
        let target = terminated(target)?;
        // SAFETY: a valid transaction; the strings are copied.
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
