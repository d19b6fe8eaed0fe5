//! Tells Lua's collector how much memory objects occupy outside Lua. It sees
//! only an object's small block, and would leave large garbage lying for long.

use std::cell::Cell;

use super::{Writer, compat};

/// The external memory of objects that the collector was not told of yet. It is
/// counted for each thread, so one Lua state's remainder can be reported to
/// another.
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

/// A report covers at least so many objects. A generational collector that is
/// told of each object runs as often, finds the last one alive each time (a
/// loop's variable holds it), takes it for old, and then keeps it for long.
const LEAST_OBJECTS: u32 = 4;

/// Counts an object with so many bytes. Does not raise.
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

/// Tells the collector, if enough is unreported. The collector may run, and so
/// may finalizers, which can raise: call this before making an object.
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
