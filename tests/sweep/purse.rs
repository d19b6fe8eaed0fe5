//! Lua's allocator, which refuses when it is told to, and counts what it has
//! given out.

use std::os::raw::c_void;

/// Which allocations are refused, of those counted since [`Purse::tighten`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuse {
    /// One. From 5.2 on Lua collects garbage then, and asks again, and gets it.
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    OneRequest,
    /// One, and the same request once more: it fails for good.
    One,
    /// One, and all after it.
    AllFrom,
}

/// The sizes of blocks that are not refused, for faults of Lua's own.
///
/// LuaJIT's upvalues: a function that lacks one is counted as smaller when it
/// is freed than when it was made (lj_func_newL_gc), over which a LuaJIT with
/// assertions aborts.
///
/// Lua 5.2's upvalues: the collection before one is made may free the one that
/// it is to be linked to (luaF_findupval). And what it keeps of a call: each
/// collection frees those that are not in use, and without memory for a new
/// one the next finalizer is not called, ever (GCTM), so that what its object
/// owns is lost.
const SPARED: &[usize] = if cfg!(feature = "luajit") {
    &[48]
} else if cfg!(feature = "lua52") {
    &[40, 80]
} else {
    &[]
};

/// What Lua has of memory, and may get. Growing counts, as giving out does;
/// shrinking and freeing are never refused.
#[derive(Default)]
pub struct Purse {
    pub live_blocks: usize,
    pub live_bytes: usize,
    /// Allocations since it was tightened.
    pub requests: u64,
    /// How many were refused since.
    pub refused: u64,
    tight: Option<(Refuse, u64)>,
    /// What was refused last: the block, and the size that it should have had.
    last: Option<(usize, usize)>,
}

impl Purse {
    /// Refuse the `n`th allocation from here on.
    pub fn tighten(&mut self, refuse: Refuse, n: u64) {
        (self.requests, self.refused, self.last) = (0, 0, None);
        self.tight = Some((refuse, n));
    }

    /// Refuse nothing from here on.
    pub fn loosen(&mut self) {
        self.tight = None;
    }

    fn refuses(&mut self, block: *mut c_void, size: usize) -> bool {
        let Some((refuse, n)) = self.tight else {
            return false;
        };
        if block.is_null() && SPARED.contains(&size) {
            return false;
        }
        self.requests += 1;
        let request = (block.addr(), size);
        let refused = match refuse {
            #[cfg(not(any(feature = "lua51", feature = "luajit")))]
            Refuse::OneRequest => self.requests == n,
            Refuse::One => self.requests == n || self.last.take() == Some(request),
            Refuse::AllFrom => self.requests >= n,
        };
        if refused {
            self.refused += 1;
            // Asked again it is refused once more, and no third time.
            self.last = (self.requests == n).then_some(request);
        }
        refused
    }
}

/// A `lua_Alloc` whose data is a [`Purse`].
///
/// # Safety
/// `purse` is valid and nobody else refers to it during the call; the block is
/// null, or of `old` bytes and given out here.
pub unsafe extern "C" fn allocate(
    purse: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: by the contract.
    let purse = unsafe { &mut *purse.cast::<Purse>() };
    // Without a block `old` is what the new one is for.
    let old = if block.is_null() { 0 } else { old };
    if new == 0 {
        if !block.is_null() {
            purse.live_blocks -= 1;
            purse.live_bytes -= old;
        }
        // SAFETY: by the contract.
        unsafe { libc::free(block) };
        return std::ptr::null_mut();
    }
    let grows = block.is_null() || new > old;
    if grows && purse.refuses(block, new) {
        return std::ptr::null_mut();
    }
    // SAFETY: by the contract.
    let moved = unsafe { libc::realloc(block, new) };
    if !moved.is_null() {
        purse.live_blocks += usize::from(block.is_null());
        purse.live_bytes = purse.live_bytes + new - old;
    }
    moved
}
