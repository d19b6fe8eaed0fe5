//! The names and numbers of errors and signals: `flux.errno`, `flux.signal` and
//! `flux.strerror`.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::arguments;
use crate::backend;
use crate::lua::{Kind, Result, State, Text, Writer, lua_CFunction};
use crate::lua_functions;

/// The names and values of constants of `libc`.
macro_rules! named {
    ($($name:ident)*) => {
        &[$((stringify!($name), libc::$name)),*]
    };
}

/// The errnos. If two names have one number, `flux.errno[number]` is the first name.
const ERRNOS: &[(&str, c_int)] = named! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES
    EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY
    ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG
    ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG
    EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT EBFONT ENOSTR
    ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP
    EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX
    ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE
    ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT
    EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET
    ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN
    EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO
    EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED
    EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON
    EWOULDBLOCK EDEADLOCK ENOTSUP
};

/// The signals, like `ERRNOS`. `SIGRTMIN` and `SIGRTMAX` are missing: the C library
/// determines them at run time.
const SIGNALS: &[(&str, c_int)] = named! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV
    SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN
    SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS
    SIGPOLL
};

/// Pushes a table that maps names to numbers and numbers to names.
fn push_names(writer: &Writer<'_>, names: &[(&str, c_int)]) {
    // The numbers begin at 1 with few gaps, so they fit the table's array part.
    writer.table(names.len(), names.len());
    for &(name, number) in names {
        set_name(writer, name, number);
    }
}

/// Adds a name and its number to the table on top of the stack.
fn set_name(writer: &Writer<'_>, name: &str, number: c_int) {
    let state = writer.state();
    let table = state.top();
    writer.bytes(name.as_bytes());
    state.push_value(-1);
    writer.integer(number.into());
    writer.raw_set(table);
    if state.raw_get_index(table, number.into()) == Kind::Nil {
        state.pop(1);
        writer.raw_set_index(table, number);
    }
    state.set_top(table);
}

/// Sets the fields `errno` and `signal` of the table at `module`.
pub fn set_tables(writer: &Writer<'_>, module: c_int) {
    push_names(writer, ERRNOS);
    writer.set_field(module, c"errno");
    push_names(writer, SIGNALS);
    set_name(writer, "SIGRTMIN", libc::SIGRTMIN());
    set_name(writer, "SIGRTMAX", libc::SIGRTMAX());
    writer.set_field(module, c"signal");
}

/// `flux.strerror(errno)`
fn strerror(state: State<'_>) -> Result<Text> {
    let errnum = arguments::integer(state, 1, i32::MIN.into()..=i32::MAX.into())?;
    Ok(Text(backend::strerror(errnum as i32).into_owned()))
}

lua_functions! { lua_strerror => strerror; }

/// Functions of module `flux`.
pub const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[(c"strerror", Some(lua_strerror))];
