//! Helpers for several tests: the path of the module that cargo built, and
//! folders for files.

use std::env::{
    self,
    consts::{DLL_PREFIX, DLL_SUFFIX},
};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The shared object that belongs to this test. Cargo puts it beside the test
/// program; the one in the folder above may come from another build.
#[allow(dead_code, reason = "not every test needs the module")]
pub fn module() -> PathBuf {
    let program = env::current_exe().expect("the path of this program");
    program
        .with_file_name(format!("{DLL_PREFIX}flux{DLL_SUFFIX}"))
        .canonicalize()
        .expect("cargo builds the shared object before the tests")
}

/// A new folder, removed when dropped.
pub struct TestFolder(PathBuf);

#[allow(dead_code, reason = "each test needs only some of it")]
impl TestFolder {
    /// A folder in cargo's folder for tests.
    pub fn new(name: &str) -> TestFolder {
        TestFolder::within(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    /// A folder with a short path: the path of a Unix socket has at most 107
    /// bytes.
    pub fn short() -> TestFolder {
        TestFolder::within(&env::temp_dir(), "fl")
    }

    fn within(parent: &Path, name: &str) -> TestFolder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{name}-{}-{count}", process::id()));
        // An earlier process with the same id may have left its files.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("folders for tests can be made");
        TestFolder(folder)
    }

    /// A folder in which Lua finds the module: `flux.so` links to it.
    pub fn with_module(name: &str) -> TestFolder {
        let folder = TestFolder::new(name);
        folder.link_module("flux.so");
        folder
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in the folder. Makes the folders that lead to it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.0.join(name);
        let parent = path.parent().expect("the path is in a folder");
        fs::create_dir_all(parent).expect("the folder is writable");
        path
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// Makes a link to the module and returns its path.
    pub fn link_module(&self, name: &str) -> PathBuf {
        let link = self.join(name);
        symlink(module(), &link).expect("the link is new");
        link
    }
}

impl AsRef<OsStr> for TestFolder {
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
