//! A path's status and whether it changed, by libev's measure: times to the
//! second, and of a path that is gone all as it last was, but for its links.

use std::ffi::CString;

use super::super::super::reactor::Event;
use super::super::super::{Error, Result, system};

pub(super) struct Stat {
    path: CString,
    now: libc::stat,
}

impl Stat {
    pub fn new(path: &[u8]) -> Result<Stat> {
        let path = CString::new(path).map_err(|_| Error::new(libc::EINVAL))?;
        let mut stat = Stat {
            path,
            now: system::no_status(),
        };
        stat.update();
        Ok(stat)
    }

    /// Look again: an event if it changed.
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
