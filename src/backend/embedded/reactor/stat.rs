//! Detects changes of a path's status by the rules of libev. Times are compared
//! in whole seconds. A path that no longer exists keeps its last status, with a
//! link count of 0.

use std::ffi::CString;

use crate::backend::reactor::Event;
use crate::backend::{Error, Result, system};

/// A path with its status.
pub struct PathStatus {
    path: CString,
    now: libc::stat,
}

impl PathStatus {
    /// Reads the present status of a path.
    pub fn new(path: &[u8]) -> Result<PathStatus> {
        let path = CString::new(path).map_err(|_| Error::new(libc::EINVAL))?;
        let mut stat = PathStatus {
            path,
            now: system::no_status(),
        };
        stat.update();
        Ok(stat)
    }

    /// Reads the status again. Returns an event if it has changed.
    pub fn compare(&mut self) -> Option<Event> {
        let before = self.now;
        self.update();
        let changed = compared(&before) != compared(&self.now);
        changed.then(|| Event::Stat {
            now: Box::new(self.now),
            before: Box::new(before),
        })
    }

    fn update(&mut self) {
        match system::lstat(&self.path) {
            Ok(status) => {
                self.now = status;
                self.now.st_nlink = status.st_nlink.max(1);
            }
            Err(_) => self.now.st_nlink = 0,
        }
    }
}

/// The fields that are compared.
fn compared(status: &libc::stat) -> [i64; 11] {
    [
        status.st_dev as i64,
        status.st_ino as i64,
        status.st_mode.into(),
        status.st_nlink as i64,
        status.st_uid.into(),
        status.st_gid.into(),
        status.st_rdev as i64,
        status.st_size,
        status.st_atime,
        status.st_mtime,
        status.st_ctime,
    ]
}
