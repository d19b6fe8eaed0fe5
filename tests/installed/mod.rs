//! Finds the Flux, the C compiler and the Lua that are installed on the machine.

#[allow(dead_code, reason = "not all tests use Lua")]
pub mod lua;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// Reports a test that is skipped. The test runner does not capture this output.
pub fn skipped(what: &str) {
    say(&format!("skipped: {what}"));
}

fn say(text: &str) {
    // If stderr is closed, the report is lost.
    let _ = writeln!(std::io::stderr(), "\n{text}");
}

/// An installed Flux.
#[derive(Clone)]
pub struct Flux {
    prefix: PathBuf,
}

#[allow(dead_code, reason = "each test needs only some of it")]
impl Flux {
    /// The first Flux that has headers.
    pub fn find() -> Option<Flux> {
        Flux::all().into_iter().next()
    }

    /// Every Flux that has headers.
    pub fn all() -> Vec<Flux> {
        Flux::all_with("include/flux/core.h")
    }

    /// Every Flux that has the `flux` command. It may have no headers.
    pub fn all_with_command() -> Vec<Flux> {
        Flux::all_with("bin/flux")
    }

    /// Every Flux in the prefixes of FLUX_PREFIX, which are separated by colons.
    /// If there is none, the one that pkg-config knows, or the one whose `flux`
    /// is in PATH. Each must have `file`.
    fn all_with(file: &str) -> Vec<Flux> {
        let given = env::var_os("FLUX_PREFIX").unwrap_or_default();
        let given = env::split_paths(&given).filter(|prefix| !prefix.as_os_str().is_empty());
        let (given, missing): (Vec<_>, Vec<_>) =
            given.partition(|prefix| prefix.join(file).exists());
        static REPORTED: Once = Once::new();
        let missing = missing.iter().map(|prefix| prefix.join(file));
        if !given.is_empty() {
            let given: Vec<_> = given.into_iter().map(|prefix| Flux { prefix }).collect();
            REPORTED.call_once(|| {
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

    /// The version of libflux-core, from `flux version`. None without a command.
    pub fn version(&self) -> Option<String> {
        let output = Command::new(self.command()?).arg("version").output();
        let output = String::from_utf8(output.ok()?.stdout).ok()?;
        let mut lines = output.lines();
        let version = lines.find_map(|line| line.strip_prefix("libflux-core:"))?;
        Some(version.trim().to_owned())
    }

    /// Whether the version is lower than 0.`minor`.
    pub fn is_before(&self, minor: u32) -> bool {
        let version = self.version().unwrap_or_default();
        let mut numbers = version.split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(0)), Some(Ok(own))) => own < minor,
            _ => false,
        }
    }

    /// A name for a folder with files that are made for this Flux.
    pub fn file_name(&self) -> String {
        self.prefix.display().to_string().replace('/', "_")
    }

    /// The variables by which a program finds the library and the commands of
    /// this Flux before those of any other.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let before = |variable, folders: Vec<PathBuf>| {
            let old = env::var_os(variable).unwrap_or_default();
            let old = env::split_paths(&old).filter(|folder| !folder.as_os_str().is_empty());
            let joined = env::join_paths(folders.into_iter().chain(old));
            (variable, joined.expect("no colons in paths"))
        };
        vec![
            ("FLUX_PREFIX", self.prefix.clone().into()),
            before("LD_LIBRARY_PATH", self.library_folders()),
            before("PATH", vec![self.prefix.join("bin")]),
        ]
    }

    /// The folders that have libflux-core.
    pub fn library_folders(&self) -> Vec<PathBuf> {
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

    /// The `flux` command, if it is installed.
    pub fn command(&self) -> Option<PathBuf> {
        let command = self.prefix.join("bin/flux");
        command.exists().then_some(command)
    }

    /// Linker flags for libflux-core, with a path at which programs find it.
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

/// Runs pkg-config and returns the words of its output. None if it fails or is
/// not installed.
pub fn pkg_config(args: &[&str]) -> Option<Vec<String>> {
    let output = Command::new("pkg-config").args(args).output().ok()?;
    let words = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| words.split_whitespace().map(str::to_owned).collect())
}

pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Runs the C compiler. An error is the compiler's output.
#[allow(dead_code, reason = "not all tests compile C")]
pub fn cc<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<(), String> {
    let output = Command::new("cc")
        .args(args)
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
