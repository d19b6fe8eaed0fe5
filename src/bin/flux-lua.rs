//! The `flux-lua` command: a Lua with the modules `flux` and `kvs` built in,
//! and the program `lua/flux-lua.lua` in it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use flux::lua::Interpreter;

const PROGRAM: &[u8] = include_bytes!("../../lua/flux-lua.lua");
const PATHS: &[u8] = include_bytes!("../../lua/paths.lua");

/// Debian's name of the folders that are for this kind of machine.
const MULTIARCH: &str = if cfg!(target_arch = "x86_64") {
    "x86_64-linux-gnu"
} else if cfg!(target_arch = "aarch64") {
    "aarch64-linux-gnu"
} else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
    "powerpc64le-linux-gnu"
} else if cfg!(target_arch = "riscv64") {
    "riscv64-linux-gnu"
} else if cfg!(target_arch = "arm") {
    "arm-linux-gnueabihf"
} else {
    "unknown-linux-gnu"
};

fn main() -> ExitCode {
    let argv: Vec<Vec<u8>> = std::env::args_os().map(OsString::into_vec).collect();
    if wants_embedded(&argv) {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var("FLUX_URI", "embed://") };
    }
    match run(&argv) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("flux-lua: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether `--embedded` is among the options. The program sees them too; the
/// environment is set here, so that it holds for child processes.
fn wants_embedded(argv: &[Vec<u8>]) -> bool {
    let mut arguments = argv.iter().skip(1);
    while let Some(argument) = arguments.next() {
        match &argument[..] {
            b"--embedded" => return true,
            b"-e" => {
                arguments.next();
            }
            [b'-', next, ..] if *next != b'-' => {}
            _ => return false,
        }
    }
    false
}

fn run(argv: &[Vec<u8>]) -> Result<(), String> {
    let host = Interpreter::new().ok_or("not enough memory")?;
    // SAFETY: this is made for `require` to call.
    unsafe { host.preload(c"flux", Some(flux::luaopen_flux)) }?;
    // SAFETY: this is made for `require` to call.
    unsafe { host.preload(c"kvs", Some(flux::luaopen_kvs)) }?;
    set_paths(&host)?;
    host.set_arguments(argv)?;
    host.load(PROGRAM, "=flux-lua")?;
    host.call(0).map(|_| ())
}

/// Set the folders in which the script's `require` looks.
fn set_paths(host: &Interpreter) -> Result<(), String> {
    host.load(PATHS, "=flux-lua")?;
    let pushed = host.state().protect(0, |writer| {
        writer.bytes(MULTIARCH.as_bytes());
        1
    });
    pushed.map_err(|_| "not enough memory")?;
    host.call(1).map(|_| ())
}
