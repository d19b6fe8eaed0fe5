//! What objects have outside Lua, of which the collector is told: of an object
//! it knows no more than the block, and takes its time over what looks small.

use std::cell::Cell;

use super::{Writer, compat};

/// What objects have that were made since the collector was told last. It is
/// the thread's: what one Lua state leaves of it another's collector may get.
#[derive(Clone, Copy)]
struct Untold {
    bytes: usize,
    objects: u32,
}

thread_local! {
    static UNTOLD: Cell<Untold> = const {
        Cell::new(Untold {
            bytes: 0,
            objects: 0,
        })
    };
}

/// Told of each object, a generational collector would collect as each is made.
/// What it finds alive twice, as a loop's variable keeps the last one, it takes
/// for old, and leaves it for long.
const LEAST_OBJECTS: u32 = 4;

/// An object with so many bytes was made. Does not raise.
#[inline]
pub fn count(bytes: usize) {
    if compat::TOLD_FROM.is_none() || bytes == 0 {
        return;
    }
    let untold = UNTOLD.get();
    UNTOLD.set(Untold {
        bytes: untold.bytes.saturating_add(bytes),
        objects: untold.objects.saturating_add(1),
    });
}

/// Tell the collector, if there is enough to tell. It may run, and so may
/// finalizers, which may raise: this comes before an object is made.
#[inline]
pub fn tell(writer: &Writer<'_>) {
    let Some(least) = compat::TOLD_FROM else {
        return;
    };
    let untold = UNTOLD.get();
    if untold.bytes >= least && untold.objects >= LEAST_OBJECTS {
        tell_all(writer, untold.bytes);
    }
}

#[cold]
fn tell_all(writer: &Writer<'_>, bytes: usize) {
    let units = bytes / compat::TOLD_BY;
    UNTOLD.set(Untold {
        bytes: bytes - units * compat::TOLD_BY,
        objects: 0,
    });
    // SAFETY: the state is live, and the frame owns nothing.
    unsafe { compat::report_external(writer.raw(), units) }
}
