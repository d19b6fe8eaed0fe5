//! A KVS directory that C code looked up. Owns one `flux_kvsdir_t`. Directories
//! that scripts look up are only the bytes of their tree object.

use super::library;
use super::sys::{Api, flux_kvsdir_t, flux_t};
use super::text;
use crate::backend::{Error, Result};

/// Owns a reference on a directory.
pub struct FluxKvsdir {
    api: &'static Api,
    dir: *mut flux_kvsdir_t,
}

impl FluxKvsdir {
    /// Takes over a reference. ENOENT for null.
    ///
    /// # Safety
    ///
    /// `dir` is null, or a valid directory, and the caller owns a reference on it
    /// and gives it up.
    pub unsafe fn from_owned(dir: *mut flux_kvsdir_t) -> Result<FluxKvsdir> {
        if dir.is_null() {
            return Err(Error::new(libc::ENOENT));
        }
        let api = library::api()?;
        Ok(FluxKvsdir { api, dir })
    }

    /// Takes a new reference. ENOENT for null.
    ///
    /// # Safety
    ///
    /// `dir` is null or a valid directory.
    pub unsafe fn shared(dir: *mut flux_kvsdir_t) -> Result<FluxKvsdir> {
        // SAFETY: null or valid by the contract. The reference that is taken below
        // is the one that this owns; nothing can fail in between.
        unsafe {
            let shared = FluxKvsdir::from_owned(dir)?;
            (shared.api.flux_kvsdir_incref)(dir);
            Ok(shared)
        }
    }

    /// The directory's handle. Null if it has none.
    pub fn handle(&self) -> *mut flux_t {
        // SAFETY: the directory is valid.
        unsafe { (self.api.flux_kvsdir_handle)(self.dir) }.cast()
    }

    /// The directory's key.
    pub fn key(&self) -> String {
        // SAFETY: the directory is valid, and its key terminated.
        let key = unsafe { text::copied((self.api.flux_kvsdir_key)(self.dir)) };
        key.unwrap_or_else(|| ".".to_owned())
    }

    /// The names in the directory, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        // SAFETY: the directory is valid and outlives the iterator. A name is
        // terminated, and valid until the next call; it is copied.
        unsafe {
            let itr = (self.api.flux_kvsitr_create)(self.dir);
            if itr.is_null() {
                return Err(Error::last_os_error());
            }
            while let Some(name) = text::copied((self.api.flux_kvsitr_next)(itr)) {
                names.push(name);
            }
            (self.api.flux_kvsitr_destroy)(itr);
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl Drop for FluxKvsdir {
    fn drop(&mut self) {
        // SAFETY: this owns a reference, and gives it up once.
        unsafe { (self.api.flux_kvsdir_destroy)(self.dir) };
    }
}
