//! The `flux-lua` command: a Lua interpreter with the modules `flux` and `kvs` built in. It
//! runs the program `lua/flux-lua.lua`, which handles the command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use flux::lua::Interpreter;

const PROGRAM: &[u8] = include_bytes!("../../lua/flux-lua.lua");
const PATHS: &[u8] = include_bytes!("../../lua/paths.lua");

/// Debian's name for this kind of machine, which its library folders contain.
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
        // SAFETY: the process has no other thread yet that could read the environment.
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

/// Whether `--embedded` is one of the options. The Lua program handles it too, but only
/// this code can set the environment, which child processes inherit.
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

/// Runs the Lua program with these arguments. The error is a text for the user.
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

/// Sets the folders in which `require` looks for modules.
fn set_paths(host: &Interpreter) -> Result<(), String> {
    host.load(PATHS, "=flux-lua")?;
    let pushed = host.state().protect(0, |writer| {
        writer.bytes(MULTIARCH.as_bytes());
        1
    });
    pushed.map_err(|_| "not enough memory")?;
    host.call(1).map(|_| ())
}
