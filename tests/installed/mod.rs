//! What of Flux, of a C compiler and of Lua this machine has, for the tests
//! that run it, or compile C against it.

#[allow(dead_code, reason = "not all of the tests run it")]
pub mod lua;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// Say, where the test runner does not keep it back, what is not tested.
pub fn skipped(what: &str) {
    say(&format!("skipped: {what}"));
}

fn say(what: &str) {
    // Nobody is there to be told where that fails.
    let _ = writeln!(std::io::stderr(), "\n{what}");
}

/// A Flux.
#[derive(Clone)]
pub struct Flux {
    prefix: PathBuf,
}

#[allow(dead_code, reason = "each of the tests needs a part of it")]
impl Flux {
    /// The first with headers.
    pub fn find() -> Option<Flux> {
        Flux::all().into_iter().next()
    }

    /// All with headers.
    pub fn all() -> Vec<Flux> {
        Flux::all_with("include/flux/core.h")
    }

    /// All with a command, which may have no headers.
    pub fn all_with_command() -> Vec<Flux> {
        Flux::all_with("bin/flux")
    }

    /// Each one in FLUX_PREFIX, prefixes with colons between; else the one by
    /// pkg-config, or beside the `flux` in PATH.
    fn all_with(file: &str) -> Vec<Flux> {
        let given = env::var_os("FLUX_PREFIX").unwrap_or_default();
        let given = env::split_paths(&given).filter(|prefix| !prefix.as_os_str().is_empty());
        let (given, missing): (Vec<_>, Vec<_>) =
            given.partition(|prefix| prefix.join(file).exists());
        static SAID: Once = Once::new();
        let missing = missing.iter().map(|prefix| prefix.join(file));
        if !given.is_empty() {
            let given: Vec<_> = given.into_iter().map(|prefix| Flux { prefix }).collect();
            SAID.call_once(|| {
                missing.for_each(|file| skipped(&format!("there is no {}", file.display())));
                given.iter().for_each(|flux| say(&format!("on {flux}")));
            });
            return given;
        }
        let by_pkg_config = || {
            let prefix = pkg_config(&["--variable=prefix", "flux-core"])?;
            prefix.first().map(PathBuf::from)
        };
        let by_path = || {
            let command = find_in_path("flux")?.canonicalize().ok()?;
            command.ancestors().nth(2).map(Path::to_path_buf)
        };
        let found = [by_pkg_config(), by_path()]
            .into_iter()
            .flatten()
            .find(|prefix| prefix.join(file).exists());
        found.into_iter().map(|prefix| Flux { prefix }).collect()
    }

    /// What `flux version` says of libflux-core; none without a command.
    pub fn version(&self) -> Option<String> {
        let said = Command::new(self.command()?).arg("version").output();
        let said = String::from_utf8(said.ok()?.stdout).ok()?;
        let mut lines = said.lines();
        let version = lines.find_map(|line| line.strip_prefix("libflux-core:"))?;
        Some(version.trim().to_owned())
    }

    /// Whether its version is lower than 0.`minor`.
    pub fn is_before(&self, minor: u32) -> bool {
        let version = self.version().unwrap_or_default();
        let mut numbers = version.split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(0)), Some(Ok(own))) => own < minor,
            _ => false,
        }
    }

    /// A name for a folder of what is made for it.
    pub fn file_name(&self) -> String {
        self.prefix.display().to_string().replace('/', "_")
    }

    /// By which programs that are started find this Flux's library and
    /// commands, whatever else is installed.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let before = |variable, folders: Vec<PathBuf>| {
            let old = env::var_os(variable).unwrap_or_default();
            let old = env::split_paths(&old).filter(|folder| !folder.as_os_str().is_empty());
            let joined = env::join_paths(folders.into_iter().chain(old));
            (variable, joined.expect("folders without colons"))
        };
        vec![
            ("FLUX_PREFIX", self.prefix.clone().into()),
            before("LD_LIBRARY_PATH", self.library_folders()),
            before("PATH", vec![self.prefix.join("bin")]),
        ]
    }

    fn library_folders(&self) -> Vec<PathBuf> {
        let folders = [
            "lib",
            "lib64",
            "lib/x86_64-linux-gnu",
            "lib/aarch64-linux-gnu",
        ];
        let folders = folders.map(|folder| self.prefix.join(folder));
        let is_library = |folder: &PathBuf| folder.join("libflux-core.so.2").exists();
        folders.into_iter().filter(is_library).collect()
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
        for folder in self.library_folders() {
            flags.push(format!("-L{}", folder.display()));
            flags.push(format!("-Wl,-rpath,{}", folder.display()));
        }
        flags
    }
}

impl Display for Flux {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let version = self.version().unwrap_or_default();
        write!(f, "Flux {version} in {}", self.prefix.display())
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
