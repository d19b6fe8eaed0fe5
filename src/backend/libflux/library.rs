//! Finds libflux-core, once per process: in the process, on the loader's path,
//! or in the Flux that the environment names. `sys` declares its functions.

use std::env;
use std::ffi::{CStr, CString, OsString, c_void};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::sys::Api;
use super::text;
use crate::backend::{Error, Result};

const SONAME: &str = "libflux-core.so.2";

/// Returns libflux-core's functions. Fails with ELIBACC and the places that
/// were tried if no library is found, and with ENOSYS and the name of the
/// missing function if the library is too old.
///
/// After a search that failed, the next call searches again.
pub fn api() -> Result<&'static Api> {
    static API: OnceLock<Api> = OnceLock::new();
    if let Some(api) = API.get() {
        return Ok(api);
    }
    let found = search()?;
    Ok(API.get_or_init(|| found))
}

fn search() -> Result<Api> {
    if !Library::PROCESS.symbol(c"flux_open").is_null() {
        return load(Library::PROCESS, "the libflux-core in this process");
    }
    let mut tried = Vec::new();
    if let Some(library) = open(Path::new(SONAME), &mut tried) {
        return load(library, SONAME);
    }
    for path in installed() {
        if let Some(library) = open(&path, &mut tried) {
            return load(library, &path.to_string_lossy());
        }
    }
    Err(not_found(&tried))
}

fn not_found(tried: &[String]) -> Error {
    Error::with_detail(
        libc::ELIBACC,
        format!(
            "libflux-core was not found (tried {}); set FLUX_PREFIX to where Flux is installed, \
             or, to run without Flux, open \"embed://\"",
            tried.join(", ")
        ),
    )
}

fn load(library: Library, place: &str) -> Result<Api> {
    // SAFETY: the library has libflux-core's name or its `flux_open`, so its
    // `flux_` symbols are those functions. It is never closed.
    let api = unsafe { Api::load(&|name| library.symbol(name)) };
    api.map_err(|missing| {
        Error::with_detail(
            libc::ENOSYS,
            format!("{place} has no {missing}: libflux-core 0.60 or newer is needed"),
        )
    })
}

/// Where to look for symbols: a handle from dlopen that is never closed, or
/// `RTLD_DEFAULT`.
#[derive(Clone, Copy)]
struct Library(*mut c_void);

impl Library {
    /// All libraries that are loaded in this process.
    const PROCESS: Library = Library(libc::RTLD_DEFAULT);

    /// The address of a symbol. Null if there is none.
    fn symbol(self, name: &CStr) -> *mut c_void {
        // SAFETY: the handle is valid, and the name terminated.
        unsafe { libc::dlsym(self.0, name.as_ptr()) }
    }
}

/// Opens a library, which is never closed. On failure, adds the path to `tried`,
/// with the loader's reason if there is a file.
fn open(path: &Path, tried: &mut Vec<String>) -> Option<Library> {
    let by_loader = path == Path::new(SONAME);
    if !by_loader && !path.exists() {
        tried.push(path.display().to_string());
        return None;
    }
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: the name is terminated. libflux-core's initializers may run on any
    // thread.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if !library.is_null() {
        return Some(Library(library));
    }
    // SAFETY: dlerror returns null, or a string that is valid until this thread's
    // next dl call.
    let why = unsafe { text::copied(libc::dlerror()) };
    tried.push(why.unwrap_or_else(|| path.display().to_string()));
    None
}

/// The possible paths of the library, according to the environment. Paths that
/// are relative to the current folder are left out, because another user may
/// control that folder.
fn installed() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    let prefixes = non_empty("FLUX_PREFIX").unwrap_or_default();
    for prefix in env::split_paths(&prefixes) {
        dirs.extend(library_dirs(&prefix));
    }
    let connectors = non_empty("FLUX_CONNECTOR_PATH").unwrap_or_default();
    for dir in env::split_paths(&connectors) {
        if dir.ends_with("flux/connectors") {
            dirs.extend(dir.ancestors().nth(2).map(Path::to_path_buf));
        }
    }
    if let Some(prefix) = prefix_of_command() {
        dirs.extend(library_dirs(&prefix));
    }
    let dirs = dirs.iter().filter(|dir| dir.is_absolute());
    dirs.map(|dir| dir.join(SONAME)).collect()
}

/// Finds the prefix of the first `flux` in PATH, which is PREFIX/bin/flux.
fn prefix_of_command() -> Option<PathBuf> {
    let path = non_empty("PATH")?;
    let command = env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("flux"))
        .find(|command| command.is_file())?;
    let command = fs::canonicalize(command).ok()?;
    command.ancestors().nth(2).map(Path::to_path_buf)
}

fn library_dirs(prefix: &Path) -> Vec<PathBuf> {
    let lib = prefix.join("lib");
    let mut dirs = vec![lib.clone(), prefix.join("lib64")];
    let Ok(entries) = fs::read_dir(&lib) else {
        return dirs;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let is_multiarch = |name: &OsString| {
        let name = name.to_string_lossy();
        name.split('-').any(|part| part == "linux")
    };
    let multiarch = names.filter(is_multiarch);
    dirs.extend(multiarch.map(|name| lib.join(name)));
    dirs
}

fn non_empty(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}
