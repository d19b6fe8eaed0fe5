//! The `flux-lua` command: a Lua with the modules `flux` and `kvs` built in,
//! and the program `lua/flux-lua.lua` in it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use flux::lua::Host;

const PROGRAM: &[u8] = include_bytes!("../../lua/flux-lua.lua");

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
    let host = Host::new().ok_or("not enough memory")?;
    host.preload(c"flux", Some(flux::luaopen_flux))?;
    host.preload(c"kvs", Some(flux::luaopen_kvs))?;
    host.set_arguments(argv)?;
    host.load(PROGRAM, "=flux-lua")?;
    host.call(0).map(|_| ())
}
