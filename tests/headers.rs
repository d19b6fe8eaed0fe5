//! Checks the handwritten declarations of libflux-core's and libjansson's
//! functions and types against the installed headers. The test generates a C
//! file with a static assertion for each declaration and compiles it.

mod installed;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use flux::backend::{
    NODEID_ANY, NODEID_UPSTREAM, ROLE_OWNER, kvs_flags, msgtype, reactor, rpc_flags,
};
use installed::{Flux, cc, skipped};

const LIBFLUX: &str = include_str!("../src/backend/libflux/sys.rs");
const JANSSON: &str = include_str!("../src/capi/jansson.rs");

const FLUX_HEADERS: &str = "\
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <flux/core.h>
/* Lengths are int before 0.70; see the prototypes in sys.rs. */
#if FLUX_CORE_VERSION_HEX < 0x004600
typedef int size_type;
#else
typedef size_t size_type;
#endif
/* Before 0.80 it had another name. */
#if FLUX_CORE_VERSION_HEX < 0x005000
#define flux_conf_builtin_hint flux_conf_flags
#endif
";

const JANSSON_HEADERS: &str = "\
#include <stddef.h>
#include <jansson.h>
typedef size_t size_type;
";

/// Declarations that differ from the header's but are correct, with the type
/// that the header gives them.
const ALSO_RIGHT: [(&str, &str); 2] = [
    // Ours has an int in place of the enum, which has the size of an int.
    (
        "flux_conf_builtin_get",
        "const char * (const char *, enum flux_conf_builtin_hint)",
    ),
    // Ours returns nothing: newer versions return an int, which is not used.
    (
        "flux_stat_watcher_get_rstat",
        "int (flux_watcher_t *, struct stat *, struct stat *)",
    ),
];

#[test]
fn the_declarations_of_libflux_agree_with_its_headers() {
    let fluxes = Flux::all();
    if fluxes.is_empty() {
        skipped("no flux/core.h, so the declarations of libflux were not checked");
    }
    for flux in fluxes {
        check_flux(&flux, LIBFLUX).unwrap_or_else(|output| panic!("{flux}: {output}"));
    }
}

#[test]
fn the_declarations_of_jansson_agree_with_its_header() {
    if !has_jansson() {
        return skipped("no jansson.h, so the declarations of jansson were not checked");
    }
    check_jansson(JANSSON).unwrap_or_else(|output| panic!("{output}"));
}

/// Puts one error into the declarations at a time and checks that it is found.
#[test]
fn a_declaration_that_disagrees_with_the_headers_is_found() {
    let wrong_flux = [
        ("rank: *mut u32", "rank: *mut u64", "flux_get_rank"),
        (
            "fn flux_open(uri: *const c_char",
            "fn flux_open(uri: *mut c_char",
            "flux_open",
        ),
        (
            "fn flux_close(h: *mut flux_t);",
            "fn flux_close(h: *mut flux_t) -> c_int;",
            "flux_close",
        ),
        (
            "fn flux_close(h: *mut flux_t);",
            "fn flux_close();",
            "flux_close",
        ),
        ("fn flux_incref(", "fn flux_incref_not(", "flux_incref_not"),
        ("len: *mut usize", "len: *mut c_int", "flux_rpc_get_raw"),
        (
            "wanted: flux_match, flags",
            "wanted: *const flux_match, flags",
            "flux_recv",
        ),
        ("fmt: *const c_char, ...", "fmt: *const c_char", "flux_log"),
        (
            "FLUX_RQ_HEAD: c_int = 1",
            "FLUX_RQ_HEAD: c_int = 2",
            "FLUX_RQ_HEAD",
        ),
        ("text: [c_char; 160]", "text: [c_char; 161]", "flux_error_t"),
        ("pub matchtag: u32,", "pub matchtag: usize,", "flux_match"),
        (
            "flux_watcher_t, c_int, *mut c_void",
            "flux_watcher_t, u32, *mut c_void",
            "_watcher_create",
        ),
    ];
    let fluxes = Flux::all();
    if fluxes.is_empty() {
        skipped("no flux/core.h, so no wrong declaration of libflux was tried");
    }
    for flux in fluxes {
        // Lengths were int before 0.70, so some of these are not wrong there.
        let is_wrong = |(_, wrong, _): &&(_, &str, _)| {
            !flux.is_before(70) || !wrong.contains("len:") && !wrong.contains("usize")
        };
        let wrong: Vec<_> = wrong_flux.iter().filter(is_wrong).copied().collect();
        expect_found(LIBFLUX, &wrong, |source| check_flux(&flux, source));
    }
    let wrong_jansson = [
        ("json_real(c_double)", "json_real(c_int)", "json_real"),
        (
            "fn json_delete(*mut json_t);",
            "fn json_delete(*const json_t);",
            "json_delete",
        ),
        (
            "    String,\n    Integer,",
            "    Integer,\n    String,",
            "JSON_STRING",
        ),
        ("    refcount: usize,", "    refcount: c_int,", "json_t"),
    ];
    match has_jansson() {
        true => expect_found(JANSSON, &wrong_jansson, check_jansson),
        false => skipped("no jansson.h, so no wrong declaration of jansson was tried"),
    }
}

/// Replaces the first text of each entry by the second, and expects an error
/// that names the third.
fn expect_found(
    source: &str,
    wrong: &[(&str, &str, &str)],
    check: impl Fn(&str) -> Result<(), String>,
) {
    for (right, wrong, name) in wrong {
        assert!(source.contains(right), "the source no longer has {right:?}");
        let output = check(&source.replacen(right, wrong, 1))
            .expect_err(&format!("{wrong:?} was not found"));
        assert!(
            output.contains(name),
            "{wrong:?} was found, but the error does not name {name}: {output}"
        );
    }
}

fn has_jansson() -> bool {
    compile("jansson-there", JANSSON_HEADERS, &[]).is_ok()
}

fn check_flux(flux: &Flux, source: &str) -> Result<(), String> {
    let include = [format!("-I{}", flux.include().display())];
    let mut code = declarations(source, FLUX_HEADERS, &include);
    for (name, value) in backend_constants() {
        assert_equal(&mut code, name, &value.to_string());
    }
    assert_equal(
        &mut code,
        "sizeof (enum flux_conf_builtin_hint)",
        "sizeof (int)",
    );
    compile("flux-declarations", &code, &include)
}

fn check_jansson(source: &str) -> Result<(), String> {
    let mut code = declarations(source, JANSSON_HEADERS, &[]);
    let variants = between(source, "pub enum Type {", "}");
    let variants = variants
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    for (number, name) in variants.enumerate() {
        let name = format!("JSON_{}", name.to_uppercase());
        assert_equal(&mut code, &name, &number.to_string());
    }
    compile("jansson-declarations", &code, &[])
}

/// The constants that scripts see, which all back ends share.
fn backend_constants() -> Vec<(&'static str, i64)> {
    vec![
        ("FLUX_MSGTYPE_REQUEST", msgtype::REQUEST.into()),
        ("FLUX_MSGTYPE_RESPONSE", msgtype::RESPONSE.into()),
        ("FLUX_MSGTYPE_EVENT", msgtype::EVENT.into()),
        ("FLUX_MSGTYPE_CONTROL", msgtype::CONTROL.into()),
        ("FLUX_MSGTYPE_ANY", msgtype::ANY.into()),
        ("FLUX_NODEID_ANY", NODEID_ANY.into()),
        ("FLUX_NODEID_UPSTREAM", NODEID_UPSTREAM.into()),
        ("FLUX_RPC_NORESPONSE", rpc_flags::NORESPONSE.into()),
        ("FLUX_RPC_STREAMING", rpc_flags::STREAMING.into()),
        ("FLUX_KVS_READDIR", kvs_flags::READDIR.into()),
        ("FLUX_KVS_READLINK", kvs_flags::READLINK.into()),
        ("FLUX_KVS_WATCH", kvs_flags::WATCH.into()),
        ("FLUX_KVS_WAITCREATE", kvs_flags::WAITCREATE.into()),
        ("FLUX_KVS_TREEOBJ", kvs_flags::TREEOBJ.into()),
        ("FLUX_KVS_APPEND", kvs_flags::APPEND.into()),
        ("FLUX_KVS_WATCH_FULL", kvs_flags::WATCH_FULL.into()),
        ("FLUX_KVS_WATCH_UNIQ", kvs_flags::WATCH_UNIQ.into()),
        ("FLUX_KVS_WATCH_APPEND", kvs_flags::WATCH_APPEND.into()),
        ("FLUX_POLLIN", reactor::poll::IN.into()),
        ("FLUX_POLLOUT", reactor::poll::OUT.into()),
        ("FLUX_POLLERR", reactor::poll::ERR.into()),
        ("FLUX_ROLE_OWNER", ROLE_OWNER.into()),
    ]
}

/// Adds an assertion about a constant.
fn assert_equal(code: &mut String, name: &str, value: &str) {
    writeln!(code, "_Static_assert ({name} == {value}, \"{name}\");").unwrap();
}

/// A C file with an assertion for each declaration of the source. Optional
/// functions that the headers lack are left out.
fn declarations(source: &str, headers: &str, include: &[String]) -> String {
    let source = without_comments(source);
    let mut code = headers.to_owned();
    for (name, signature) in aliases(&source) {
        let (result, args) = c_signature(signature);
        writeln!(code, "typedef {result} (*{name}) ({args});").unwrap();
    }
    constants(&source, &mut code);
    structs(&source, &mut code);
    let list = between(&source, "\nfunctions! {", "\n}");
    let (required, optional) = list.split_once("optional {").expect("two lists");
    let mut count = 0;
    for function in functions(required) {
        code += &assertion(function);
        count += 1;
    }
    for function in functions(optional) {
        count += 1;
        let declared = format!("{headers}\nvoid *p = (void *)&{};\n", function.0);
        if compile(&format!("{}-there", function.0), &declared, include).is_ok() {
            code += &assertion(function);
        }
    }
    assert_eq!(count, list.matches("fn ").count(), "a function was skipped");
    code
}

/// Asserts that the header's function has this type or the one in ALSO_RIGHT.
fn assertion((name, signature): (&str, &str)) -> String {
    let (result, args) = c_signature(signature);
    let other = ALSO_RIGHT.iter().find(|(other, _)| *other == name);
    let types = [
        Some(format!("{result} ({args})")),
        other.map(|(_, t)| (*t).to_owned()),
    ];
    let is_type = |t: String| format!("__builtin_types_compatible_p (__typeof__ ({name}), {t})");
    let is_any: Vec<String> = types.into_iter().flatten().map(is_type).collect();
    format!("_Static_assert ({}, \"{name}\");\n", is_any.join(" || "))
}

fn without_comments(source: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    source.lines().map(|line| code(line) + "\n").collect()
}

fn between<'s>(source: &'s str, start: &str, end: &str) -> &'s str {
    let (_, rest) = source
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start:?}"));
    rest.split_once(end)
        .unwrap_or_else(|| panic!("no end of {start:?}"))
        .0
}

/// The functions of a list of `fn NAME SIGNATURE;`: names and signatures.
fn functions(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.split(';').filter_map(|item| {
        let (_, declared) = item.split_once("fn ")?;
        let at = declared.find('(')?;
        Some((&declared[..at], &declared[at..]))
    })
}

/// The callback types, `pub type NAME = unsafe extern "C" fn SIGNATURE;`: names
/// and signatures.
fn aliases(source: &str) -> impl Iterator<Item = (&str, &str)> {
    source.split("pub type ").skip(1).filter_map(|item| {
        let (name, rest) = item.split_once('=')?;
        let (_, signature) = rest.split_once(';')?.0.split_once("fn")?;
        Some((name.trim(), signature))
    })
}

/// Adds an assertion for each `pub const NAME: TYPE = NUMBER;`.
fn constants(source: &str, code: &mut String) {
    for item in source.split("pub const FLUX_").skip(1) {
        let (declared, value) = between_item(item).split_once('=').expect("a value");
        let name = declared.split(':').next().unwrap_or_default().trim();
        assert_equal(
            code,
            &format!("FLUX_{name}"),
            &value.trim().replace('_', ""),
        );
    }
}

fn between_item(item: &str) -> &str {
    item.split_once(';').expect("the end of a constant").0
}

/// Adds assertions about the size and the offsets of each
/// `pub struct NAME { FIELDS }`. Opaque types have no fields and are left out.
fn structs(source: &str, code: &mut String) {
    for item in source.split("#[repr(C)]\npub struct ").skip(1) {
        let (name, rest) = item.split_once('{').expect("fields");
        let fields = rest.split_once('}').expect("the end of the fields").0;
        let name = name.trim();
        let theirs = c_type(name);
        let ours = format!("struct our_{name}");
        let fields: Vec<(&str, &str)> = fields
            .split(",\n")
            .filter_map(|field| field.trim().trim_start_matches("pub ").split_once(':'))
            .collect();
        writeln!(code, "{ours} {{").unwrap();
        for (field, type_) in &fields {
            writeln!(code, "    {};", c_field(field, type_.trim())).unwrap();
        }
        writeln!(code, "}};").unwrap();
        let mut assert = |condition: String, field: &str| {
            writeln!(code, "_Static_assert ({condition}, \"{name}{field}\");").unwrap();
        };
        assert(format!("sizeof ({ours}) == sizeof ({theirs})"), "");
        for (field, _) in &fields {
            let named = if *field == "kind" { "type" } else { field };
            let offset = format!("offsetof ({ours}, {field}) == offsetof ({theirs}, {named})");
            assert(offset, &format!(".{field}"));
        }
    }
}

/// A field in C: its type and its name.
fn c_field(name: &str, type_: &str) -> String {
    match type_
        .strip_prefix('[')
        .and_then(|array| array.split_once(';'))
    {
        Some((item, length)) => {
            format!(
                "{} {name}[{}]",
                c_type(item),
                length.trim().trim_end_matches(']')
            )
        }
        None => format!("{} {name}", c_type(type_)),
    }
}

/// A signature `(ARGS) -> RESULT` in C: the result's type, and the arguments.
fn c_signature(signature: &str) -> (String, String) {
    let (args, result) = signature.rsplit_once(')').expect("arguments");
    let args = args.trim().trim_start_matches('(');
    let args = args.split(',').map(str::trim).filter(|arg| !arg.is_empty());
    let args: Vec<String> = args
        .map(|arg| c_type(arg.split_once(": ").map_or(arg, |(_, type_)| type_)))
        .collect();
    let args = match args.is_empty() {
        true => "void".to_owned(),
        false => args.join(", "),
    };
    let result = result.trim().strip_prefix("->");
    (result.map_or("void".to_owned(), c_type), args)
}

/// A type in C.
fn c_type(type_: &str) -> String {
    let type_ = type_.trim();
    if let Some(target) = type_.strip_prefix("*mut ") {
        return format!("{} *", c_type(target));
    }
    if let Some(target) = type_.strip_prefix("*const ") {
        return format!("{} const *", c_type(target));
    }
    match type_ {
        "c_char" => "char",
        "c_int" => "int",
        "c_longlong" => "long long",
        "c_double" => "double",
        "c_void" => "void",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "usize" => "size_type",
        "libc::stat" => "struct stat",
        "flux_match" => "struct flux_match",
        named => named,
    }
    .to_owned()
}

/// Compiles a source without output. An error is the compiler's.
fn compile(name: &str, source: &str, flags: &[String]) -> Result<(), String> {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default().replace("::", "-");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{thread}-{name}.c"));
    fs::write(&file, source).expect("cargo's folder for tests is writable");
    let mut args = vec!["-fsyntax-only".to_owned(), "-std=gnu11".to_owned()];
    args.extend_from_slice(flags);
    args.push(file.display().to_string());
    cc(args)
}
