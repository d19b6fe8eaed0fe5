//! Tells Lua's collector how much memory objects occupy outside Lua. The
//! collector sees only an object's small block, so it would free large objects
//! too late.

use std::cell::Cell;

use super::{Writer, compat};

/// The external memory that was not reported to the collector yet. It is
/// counted for each thread of the process, so the remainder of one Lua state
/// can be reported to another.
#[derive(Clone, Copy)]
struct Unreported {
    bytes: usize,
    objects: u32,
}

thread_local! {
    static UNREPORTED: Cell<Unreported> = const {
        Cell::new(Unreported {
            bytes: 0,
            objects: 0,
        })
    };
}

/// The smallest number of objects in one report. If each object were reported,
/// a generational collector would run for each. Each time it would find the
/// last object alive (a loop's variable holds it), treat it as old, and then
/// keep it for long.
const LEAST_OBJECTS: u32 = 4;

/// Counts an object that occupies `bytes` bytes. Does not raise.
#[inline]
pub fn add(bytes: usize) {
    if compat::LEAST_REPORT.is_none() || bytes == 0 {
        return;
    }
    let unreported = UNREPORTED.get();
    UNREPORTED.set(Unreported {
        bytes: unreported.bytes.saturating_add(bytes),
        objects: unreported.objects.saturating_add(1),
    });
}

/// Reports the memory to the collector, if enough is unreported. The collector
/// may run finalizers, and these can raise, so call this before making an
/// object.
#[inline]
pub fn report(writer: &Writer<'_>) {
    let Some(least) = compat::LEAST_REPORT else {
        return;
    };
    let unreported = UNREPORTED.get();
    if unreported.bytes >= least && unreported.objects >= LEAST_OBJECTS {
        report_bytes(writer, unreported.bytes);
    }
}

#[cold]
fn report_bytes(writer: &Writer<'_>, bytes: usize) {
    let units = bytes / compat::REPORT_UNIT;
    UNREPORTED.set(Unreported {
        bytes: bytes - units * compat::REPORT_UNIT,
        objects: 0,
    });
    // SAFETY: the state is live, and no frame owns anything (see `Writer`).
    unsafe { compat::report_external(writer.raw(), units) }
}
