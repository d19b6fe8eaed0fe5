//! Finding libflux-core, once per process: in the process already, by the
//! loader's own path, or beside the Flux that the environment names. What its
//! functions are is declared in `sys`.

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

/// libflux-core's functions. ELIBACC where no library is found, with the
/// places that were tried; ENOSYS where it is too old, with what it lacks.
///
/// A search that failed is made again by the next call.
pub fn api() -> Result<&'static Api> {
    static API: OnceLock<Api> = OnceLock::new();
    if let Some(api) = API.get() {
        return Ok(api);
    }
    let found = search()?;
    Ok(API.get_or_init(|| found))
}

fn search() -> Result<Api> {
    if !symbol(libc::RTLD_DEFAULT, c"flux_open").is_null() {
        return load(libc::RTLD_DEFAULT, "the libflux-core in this process");
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

fn load(library: *mut c_void, place: &str) -> Result<Api> {
    // SAFETY: the library has libflux-core's name or its `flux_open`, so that
    // its `flux_` symbols are those functions; it is never closed.
    let api = unsafe { Api::load(&|name| symbol(library, name)) };
    api.map_err(|missing| {
        Error::with_detail(
            libc::ENOSYS,
            format!("{place} has no {missing}: libflux-core 0.60 or newer is needed"),
        )
    })
}

fn symbol(library: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: a handle from dlopen that is never closed, or RTLD_DEFAULT; the
    // name is terminated.
    unsafe { libc::dlsym(library, name.as_ptr()) }
}

/// The library stays open while the process lives. What fails is added to
/// `tried`, with the loader's reason where there is a file.
fn open(path: &Path, tried: &mut Vec<String>) -> Option<*mut c_void> {
    let by_loader = path == Path::new(SONAME);
    if !by_loader && !path.exists() {
        tried.push(path.display().to_string());
        return None;
    }
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: a terminated name. libflux-core's initializers ask nothing of
    // the thread that runs them.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if !library.is_null() {
        return Some(library);
    }
    // SAFETY: dlerror gives null or a string of this thread's, valid until
    // its next dl call.
    let why = unsafe { text::copied(libc::dlerror()) };
    tried.push(why.unwrap_or_else(|| path.display().to_string()));
    None
}

/// Where the library is if Flux is where the environment says. Never in a
/// folder that is named from the current one, which may be anybody's.
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

/// The first `flux` on PATH is PREFIX/bin/flux.
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
