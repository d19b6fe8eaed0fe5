//! Tests of the C API: the exported symbols, the headers, and the programs in
//! tests/c, which are compiled and run here.

mod installed;
mod support;
mod under;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use installed::{Flux, cc, find_in_path, lua, pkg_config, skipped};

/// The exported functions, sorted by name.
const EXPORTS: &[&str] = &[
    "json_object_string_to_lua",
    "json_object_to_lua",
    "l_format_args",
    "l_pushresult",
    "l_zmsg_info_register_metatable",
    #[cfg(feature = "lua51")]
    "luaL_setfuncs",
    "lua_get_flux_handle",
    "lua_is_json_null",
    "lua_push_flux_handle_external",
    "lua_push_json_null",
    "lua_push_kvsdir",
    "lua_push_kvsdir_external",
    "lua_push_zmsg_info",
    "lua_pusherror",
    "lua_value_to_json",
    "lua_value_to_json_string",
    "luaopen_flux",
    "luaopen_kvs",
    "luaopen_zmsg",
    "zmsg_info_create",
    "zmsg_info_create_from",
    "zmsg_info_register_resp_cb",
    "zmsg_info_register_resp_error_cb",
    "zmsg_info_zmsg",
];

#[test]
fn the_shared_object_exports_what_the_headers_declare_and_nothing_else() {
    if find_in_path("nm").is_none() {
        return skipped("no nm, so the exports of flux.so were not checked");
    }
    let output = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(&place().module)
        .output()
        .expect("nm runs");
    let output = String::from_utf8(output.stdout).expect("symbols are ASCII");
    let mut exported: Vec<&str> = output
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    exported.sort_unstable();
    assert_eq!(exported, EXPORTS);
}

/// The headers, and whether they include headers of Flux and of jansson.
const HEADERS: [(&str, bool, bool); 5] = [
    ("lutil.h", false, false),
    ("flux-lua.h", false, false),
    ("jansson-lua.h", false, true),
    ("kvs-lua.h", false, false),
    ("zmsg-lua.h", true, true),
];

#[test]
fn each_header_compiles_alone_with_several_c_and_cpp_standards() {
    let fluxes = Flux::all();
    let usable = HEADERS.map(|(header, needs_flux, needs_jansson)| {
        let is_usable = (!needs_flux || !fluxes.is_empty()) && (!needs_jansson || has_jansson());
        if !is_usable {
            skipped(&format!(
                "there is no flux/core.h or jansson.h, so {header} was not compiled"
            ));
        }
        (header, is_usable)
    });
    let include = |header: &str| format!("#include \"{header}\"\n");
    let usable: Vec<&str> = usable
        .into_iter()
        .filter_map(|(header, is_usable)| is_usable.then_some(header))
        .collect();
    let all: String = usable.iter().map(|header| include(header)).collect();
    let check = |flux: Option<&Flux>| {
        for header in &usable {
            check_syntax(header, &include(header), flux);
        }
        check_syntax("all.h", &all, flux);
    };
    if fluxes.is_empty() {
        check(None);
    }
    for flux in &fluxes {
        println!("{flux}");
        check(Some(flux));
    }
}

#[test]
fn flux_lua_h_needs_no_headers_of_flux() {
    let source =
        "#include \"flux-lua.h\"\nflux_t *(*get) (lua_State *, int) = lua_get_flux_handle;\n";
    check_syntax("without-flux", source, None);
}

/// C code passes `&msg`, as with the original bindings, or a message, which may
/// be const.
#[test]
fn zmsg_info_create_takes_a_message_or_its_address() {
    let fluxes = Flux::all();
    if fluxes.is_empty() || !has_jansson() {
        return skipped("there is no flux/core.h or jansson.h, so zmsg-lua.h was not compiled");
    }
    let source = "\
#include \"zmsg-lua.h\"
struct zmsg_info *made (flux_msg_t *msg, const flux_msg_t *seen, flux_msg_t **place);
struct zmsg_info *made (flux_msg_t *msg, const flux_msg_t *seen, flux_msg_t **place)
{
    if (seen == NULL)
        return zmsg_info_create (place, FLUX_MSGTYPE_REQUEST);
    if (place == NULL)
        return zmsg_info_create (&msg, FLUX_MSGTYPE_EVENT);
    return zmsg_info_create (msg == seen ? seen : msg, FLUX_MSGTYPE_RESPONSE);
}
";
    for flux in &fluxes {
        println!("{flux}");
        check_syntax("zmsg-info-create", source, Some(flux));
    }
}

/// Compiles a text as C and as C++, with all the warnings of the standards.
fn check_syntax(name: &str, text: &str, flux: Option<&Flux>) {
    let source = place().folder.join(format!("{name}.c"));
    fs::write(&source, text).expect("the folder is writable");
    let mut standards = vec!["c99", "gnu99", "c11", "gnu17"];
    if find_in_path("c++").is_some() {
        standards.extend(["c++11", "c++17"]);
    }
    for standard in standards {
        let language = if standard.contains("++") { "c++" } else { "c" };
        let mut args = strict_flags();
        args.push("-pedantic".to_owned());
        args.push("-fsyntax-only".to_owned());
        args.push(format!("-x{language}"));
        args.push(format!("-std={standard}"));
        // -isystem silences warnings about headers that are not ours.
        if let Some(flux) = flux {
            args.push(format!("-isystem{}", flux.include().display()));
        }
        args.push(format!("-isystem{}", env!("FLUX_LUA_INCLUDE")));
        args.push(source.display().to_string());
        cc(&args).unwrap_or_else(|output| panic!("{name} as {standard}: {output}"));
    }
}

#[test]
fn a_program_that_embeds_lua_runs_scripts() {
    run_embed("scripts");
}

#[test]
fn values_are_converted_to_json_text_and_back() {
    run_embed("texts");
}

#[test]
fn values_are_converted_to_jansson_objects_and_back() {
    run_embed("objects");
}

#[test]
fn lutil_functions_push_errors_and_formatted_texts() {
    run_embed("helpers");
}

#[test]
fn out_of_memory_c_api_calls_do_not_leak_and_leave_the_state_usable() {
    run_embed("memory");
}

#[test]
fn without_jansson_object_conversion_fails_with_enosys_and_text_conversion_works() {
    for host in embed("embed-alone", &["-DWITHOUT_JANSSON"], &[]) {
        run(under::command(&host).args(["objects", "texts"]));
    }
}

#[test]
fn a_handle_pushed_twice_by_c_code_is_one_userdata() {
    run_handle("identity");
}

#[test]
fn handlers_of_scripts_run_in_a_reactor_that_c_code_runs() {
    run_handle("reactor");
}

#[test]
fn a_hook_of_the_main_thread_applies_to_handlers_that_c_code_runs() {
    run_handle("hooks");
}

#[test]
fn an_uncommitted_put_keeps_the_userdata_of_c_codes_handle_alive() {
    run_handle("puts_are_kept");
}

#[test]
fn a_response_to_c_codes_message_goes_to_its_callback() {
    run_handle("messages");
}

#[test]
fn an_error_response_to_c_codes_message_goes_to_its_error_callback() {
    run_handle("error_responses");
}

#[test]
fn zmsg_info_create_copies_const_messages() {
    run_handle("const_messages");
}

#[test]
fn lua_get_flux_handle_returns_null_for_all_but_open_libflux_handles() {
    run_embed("no_flux_handle");
}

#[test]
fn c_code_can_use_the_flux_t_of_a_handle_that_a_script_opened() {
    for flux in instances("opened.c") {
        for sanitized in builds() {
            let host = flux_host(&flux, "opened", &[], sanitized);
            run(start(&flux, &["start", "--test-size=1"])
                .args(under::words())
                .arg(host));
        }
    }
}

#[test]
fn scripts_can_read_and_write_c_codes_kvs_directories() {
    for flux in instances("kvsdir.c") {
        for sanitized in builds() {
            let host = flux_host(&flux, "kvsdir", &[], sanitized);
            run(start(&flux, &["start", "--test-size=1"])
                .args(under::words())
                .arg(host));
        }
    }
}

#[test]
fn out_of_memory_calls_do_not_leak_c_codes_handles_messages_or_directories() {
    for flux in instances("out_of_memory.c") {
        for sanitized in builds() {
            let host = flux_host(&flux, "out_of_memory", &[], sanitized);
            run(start(
                &flux,
                &["start", "--test-size=1", "env", EXACT_MALLOC_COUNTS],
            )
            .args(under::words())
            .arg(host));
        }
    }
}

#[test]
fn a_broker_module_runs_a_script() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    let cpath = place().folder.join("?.so");
    for flux in instances("luamod.c") {
        // Without sanitizers, since the broker that loads it is built without them.
        let module = flux_host(&flux, "luamod", &["-shared", "-fPIC"], None);
        run(start(&flux, &["start", "--test-size=1", "env"])
            .arg(format!("LUA_CPATH={}", cpath.display()))
            .args(under::words())
            .arg(env!("CARGO_BIN_EXE_flux-lua"))
            .arg(sources.join("luamod_test.lua"))
            .args([&module, &sources.join("luamod.lua"), &place().folder]));
    }
}

/// The folder in which programs are compiled, and the module in it.
struct Place {
    folder: PathBuf,
    module: PathBuf,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let name = format!("capi-{}", lua::PACKAGES[0]);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let module = folder.join("flux.so");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("cargo's folder for tests is writable");
        // Lua looks for flux.so, and programs that link it for its SONAME.
        for link in [&module, &folder.join(env!("FLUX_LUA_SONAME"))] {
            std::os::unix::fs::symlink(support::module(), link)
                .expect("cargo's folder for tests is writable");
        }
        Place { folder, module }
    })
}

/// Compiler flags: our headers, and all warnings as errors.
fn strict_flags() -> Vec<String> {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let mut flags: Vec<String> = ["-g", "-Wall", "-Wextra", "-Werror"]
        .map(str::to_owned)
        .into();
    flags.push(format!("-I{}", include.display()));
    flags
}

/// Flags to compile and link for a Lua.
struct Lua {
    compile: Vec<String>,
    link: Vec<String>,
}

/// The Lua that was compiled with this crate, linked into the program.
fn vendored_lua() -> Lua {
    let archive = env!("FLUX_LUA_ARCHIVE");
    let link = [
        "-rdynamic",
        &format!("-Wl,--whole-archive,{archive},--no-whole-archive"),
        "-lm",
        "-ldl",
    ];
    Lua {
        compile: vec![format!("-I{}", env!("FLUX_LUA_INCLUDE"))],
        link: link.map(str::to_owned).into(),
    }
}

/// The distribution's Lua, as flux-core links it; else the vendored one.
fn shared_lua() -> Lua {
    let named = |name: &&str| {
        Some(Lua {
            compile: pkg_config(&["--cflags", name])?,
            link: pkg_config(&["--libs", name])?,
        })
    };
    lua::PACKAGES
        .iter()
        .find_map(named)
        .unwrap_or_else(vendored_lua)
}

fn has_jansson() -> bool {
    let source = place().folder.join("jansson.c");
    fs::write(&source, "#include <jansson.h>\n").expect("the folder is writable");
    cc([OsStr::new("-fsyntax-only"), source.as_os_str()]).is_ok()
}

/// The ways in which programs are compiled: plainly (None) and, if the compiler
/// supports it, with sanitizers. A sanitizer replaces malloc(), so it also checks
/// how the shared object uses C's memory.
fn builds() -> Vec<Option<Sanitized>> {
    match Sanitized::is_possible() {
        true => vec![None, Some(Sanitized)],
        false => vec![None],
    }
}

struct Sanitized;

impl Sanitized {
    const FLAGS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

    fn is_possible() -> bool {
        static IS_POSSIBLE: OnceLock<bool> = OnceLock::new();
        *IS_POSSIBLE.get_or_init(|| {
            // A checker such as valgrind replaces malloc() itself.
            if !under::words().is_empty() {
                return false;
            }
            let tried = Sanitized::try_out();
            if let Err(why) = &tried {
                skipped(&format!(
                    "sanitizers do not work here, so C programs ran without them: {why}"
                ));
            }
            tried.is_ok()
        })
    }

    /// Checks that a program can be compiled with sanitizers, and that they find
    /// its leak.
    fn try_out() -> Result<(), String> {
        let source = place().folder.join("leak.c");
        let program = place().folder.join("leak");
        let text = "#include <stdlib.h>\nint main (void) { return malloc (7) == NULL; }\n";
        fs::write(&source, text).expect("the folder is writable");
        let files = [source.as_os_str(), OsStr::new("-o"), program.as_os_str()];
        cc(Sanitized::FLAGS.map(OsStr::new).into_iter().chain(files))?;
        let output = Command::new(&program)
            .output()
            .map_err(|error| error.to_string())?;
        let output = String::from_utf8_lossy(&output.stderr);
        match output.contains("7 byte(s) leaked") {
            true => Ok(()),
            false => Err(format!("a leak was not found: {output}")),
        }
    }

    /// The sanitizers' flags. They also compile the shared object's own C code
    /// into the program, where it replaces the unsanitized code of the shared
    /// object.
    fn flags(&self) -> Vec<String> {
        let variadics = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/lutil_alone.c");
        let mut flags = owned(&Sanitized::FLAGS);
        flags.push("-Dflux_lua_pusherror=lua_pusherror".to_owned());
        flags.push(variadics.display().to_string());
        flags
    }
}

/// Compiles tests/c/NAME.c. Returns the path of the output, which must differ
/// between tests that run at the same time.
fn compile(
    name: &str,
    output: &str,
    lua: &Lua,
    sanitized: Option<Sanitized>,
    compile: &[String],
    link: &[String],
) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/c/{name}.c"));
    let suffix = sanitized.as_ref().map_or("", |_| "-sanitized");
    let host = place().folder.join(format!("{output}{suffix}"));
    let mut args = strict_flags();
    args.push("-std=gnu99".to_owned());
    args.extend_from_slice(&lua.compile);
    args.extend_from_slice(compile);
    args.extend(sanitized.iter().flat_map(Sanitized::flags));
    args.push(source.display().to_string());
    args.push(place().module.display().to_string());
    args.push(format!("-Wl,-rpath,{}", place().folder.display()));
    args.extend_from_slice(&lua.link);
    args.extend_from_slice(link);
    args.extend(["-o".to_owned(), host.display().to_string()]);
    cc(&args).unwrap_or_else(|output| panic!("{name}.c does not compile: {output}"));
    host
}

fn owned(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|flag| flag.to_string()).collect()
}

/// Compiles embed.c with and without sanitizers. Returns the programs: none if
/// jansson's header is missing.
fn embed(output: &str, flags: &[&str], link: &[&str]) -> Vec<PathBuf> {
    if !has_jansson() {
        skipped("no jansson.h, so embed.c was not run");
        return Vec::new();
    }
    let lua = vendored_lua();
    let (flags, link) = (owned(flags), owned(link));
    builds()
        .into_iter()
        .map(|sanitized| compile("embed", output, &lua, sanitized, &flags, &link))
        .collect()
}

/// Turns off malloc's cache of freed blocks, so that out_of_memory.h can count exactly.
const EXACT_MALLOC_COUNTS: &str = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0";

/// Runs a part of embed.c.
fn run_embed(part: &str) {
    for host in embed(&format!("embed-{part}"), &[], &["-ljansson"]) {
        run(Command::new("env")
            .arg(EXACT_MALLOC_COUNTS)
            .args(under::words())
            .arg(&host)
            .arg(part));
    }
}

/// Compiles a program that uses libflux-core.
fn flux_host(flux: &Flux, name: &str, flags: &[&str], sanitized: Option<Sanitized>) -> PathBuf {
    let mut compile_flags = owned(flags);
    compile_flags.push(format!("-I{}", flux.include().display()));
    let suffix = if flags.contains(&"-shared") {
        ".so"
    } else {
        ""
    };
    let folder = flux.file_name();
    fs::create_dir_all(place().folder.join(&folder)).expect("the folder is writable");
    let output = format!("{folder}/{name}{suffix}");
    let lua = shared_lua();
    compile(name, &output, &lua, sanitized, &compile_flags, &flux.link())
}

/// Runs a part of handle.c.
fn run_handle(part: &str) {
    static HOSTS: OnceLock<Vec<(Flux, PathBuf)>> = OnceLock::new();
    let hosts = HOSTS.get_or_init(|| {
        let mut hosts = Vec::new();
        for flux in Flux::all() {
            if has_jansson() {
                let build = |sanitized| flux_host(&flux, "handle", &[], sanitized);
                hosts.extend(builds().into_iter().map(|s| (flux.clone(), build(s))));
            }
        }
        hosts
    });
    if hosts.is_empty() {
        skipped(&format!(
            "there is no flux/core.h or jansson.h, so {part} of handle.c was not run"
        ));
    }
    for (flux, host) in hosts {
        println!("{flux}");
        run(under::command(host).arg(part).envs(flux.environment()));
    }
}

/// Each Flux with its headers and its command.
fn instances(what: &str) -> Vec<Flux> {
    let mut fluxes = Flux::all();
    fluxes.retain(|flux| flux.command().is_some());
    if fluxes.is_empty() {
        skipped(&format!(
            "there is no Flux with headers in FLUX_PREFIX, pkg-config or PATH, so {what} was not run"
        ));
    }
    fluxes
}

/// The command that starts an instance.
fn start(flux: &Flux, arguments: &[&str]) -> Command {
    println!("{flux}");
    let mut command = Command::new(flux.command().expect("a command"));
    command.args(arguments).envs(flux.environment());
    command
}

/// Runs a program with a time limit. It must succeed.
fn run(command: &mut Command) {
    let mut limited = Command::new("timeout");
    limited.arg((600 * under::slowdown()).to_string());
    limited.arg(command.get_program());
    limited.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let output = limited.output().expect("timeout runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    print!("{}", text(&output.stdout));
}
