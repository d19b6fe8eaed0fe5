//! One `flux_kvsdir_t` of C code's and its owner. Directories that scripts
//! look up are none: `kvs` reads what they hold.

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
    /// Take a directory over; ENOENT for null.
    ///
    /// # Safety
    ///
    /// `dir` is null, or a valid directory whose reference is the caller's to
    /// give.
    pub unsafe fn from_owned(dir: *mut flux_kvsdir_t) -> Result<FluxKvsdir> {
        if dir.is_null() {
            return Err(Error::new(libc::ENOENT));
        }
        let api = library::api()?;
        Ok(FluxKvsdir { api, dir })
    }

    /// Share a directory that somebody else owns; ENOENT for null.
    ///
    /// # Safety
    ///
    /// `dir` is null or a valid directory.
    pub unsafe fn shared(dir: *mut flux_kvsdir_t) -> Result<FluxKvsdir> {
        // SAFETY: the reference that is owned is the one that is taken.
        unsafe {
            let shared = FluxKvsdir::from_owned(dir)?;
            (shared.api.flux_kvsdir_incref)(dir);
            Ok(shared)
        }
    }

    /// The directory's handle; null where it has none.
    pub fn handle(&self) -> *mut flux_t {
        // SAFETY: a valid directory.
        unsafe { (self.api.flux_kvsdir_handle)(self.dir) }.cast()
    }

    pub fn key(&self) -> String {
        // SAFETY: a valid directory, whose key is terminated.
        let key = unsafe { text::copied((self.api.flux_kvsdir_key)(self.dir)) };
        key.unwrap_or_else(|| ".".to_owned())
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        // SAFETY: a valid directory, which outlives its iterator; a name is
        // terminated and the iterator's, and is copied.
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
        // SAFETY: our reference, given up once.
        unsafe { (self.api.flux_kvsdir_destroy)(self.dir) };
    }
}
