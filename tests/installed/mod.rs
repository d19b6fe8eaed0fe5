//! What of Flux, of a C compiler and of Lua this machine has, for the tests
//! that run it, or compile C against it.

#[allow(dead_code, reason = "not all of the tests run it")]
pub mod lua;

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Say, where the test runner does not keep it back, what is not tested.
pub fn skipped(what: &str) {
    // Nobody is there to be told where that fails.
    let _ = writeln!(std::io::stderr(), "\nskipped: {what}");
}

/// A Flux.
pub struct Flux {
    prefix: PathBuf,
}

#[allow(dead_code, reason = "each of the tests needs a part of it")]
impl Flux {
    /// One with its headers.
    pub fn find() -> Option<Flux> {
        Flux::find_with("include/flux/core.h")
    }

    /// The command of one that may have no headers.
    pub fn find_command() -> Option<PathBuf> {
        Flux::find_with("bin/flux")?.command()
    }

    /// In FLUX_PREFIX, by pkg-config, or beside the `flux` in PATH.
    fn find_with(file: &str) -> Option<Flux> {
        let given = env::var_os("FLUX_PREFIX").filter(|prefix| !prefix.is_empty());
        let by_pkg_config = || {
            let prefix = pkg_config(&["--variable=prefix", "flux-core"])?;
            prefix.first().map(PathBuf::from)
        };
        let by_path = || {
            let command = find_in_path("flux")?.canonicalize().ok()?;
            command.ancestors().nth(2).map(Path::to_path_buf)
        };
        [given.map(PathBuf::from), by_pkg_config(), by_path()]
            .into_iter()
            .flatten()
            .find(|prefix| prefix.join(file).exists())
            .map(|prefix| Flux { prefix })
    }

    pub fn include(&self) -> PathBuf {
        self.prefix.join("include")
    }

    /// Its command, if it is complete.
    pub fn command(&self) -> Option<PathBuf> {
        let command = self.prefix.join("bin/flux");
        command.exists().then_some(command)
    }

    /// What links libflux-core, and finds it when run.
    pub fn link(&self) -> Vec<String> {
        let mut flags = vec!["-lflux-core".to_owned()];
        for dir in [
            "lib",
            "lib64",
            "lib/x86_64-linux-gnu",
            "lib/aarch64-linux-gnu",
        ] {
            let dir = self.prefix.join(dir);
            if dir.join("libflux-core.so").exists() {
                flags.push(format!("-L{}", dir.display()));
                flags.push(format!("-Wl,-rpath,{}", dir.display()));
            }
        }
        flags
    }
}

/// What pkg-config says, by words; none where it or the package is not there.
pub fn pkg_config(args: &[&str]) -> Option<Vec<String>> {
    let said = Command::new("pkg-config").args(args).output().ok()?;
    let words = String::from_utf8(said.stdout).ok()?;
    said.status
        .success()
        .then(|| words.split_whitespace().map(str::to_owned).collect())
}

pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Run the C compiler; what it says, as an error if that is what it is.
#[allow(dead_code, reason = "not all of the tests compile C")]
pub fn cc<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<(), String> {
    let said = Command::new("cc")
        .args(args)
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    match said.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&said.stderr).into_owned()),
    }
}
