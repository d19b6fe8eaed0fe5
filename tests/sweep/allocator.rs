//! An allocator for Lua that can refuse allocations and counts the memory that
//! is in use.

use std::os::raw::c_void;

/// Which requests are refused, counted from [`Allocator::start_refusing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuse {
    /// The `n`th request. Lua 5.2 and later then collect garbage and repeat the
    /// request, which succeeds.
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    OneRequest,
    /// The `n`th request and its repetition, so that the allocation fails.
    One,
    /// The `n`th request and all later ones.
    AllFrom,
}

/// Sizes of blocks that are never refused, because Lua itself has errors there.
///
/// LuaJIT, upvalues (48 bytes): if one cannot be allocated, the function is
/// counted with a smaller size when it is freed than when it was made
/// (lj_func_newL_gc). A LuaJIT with assertions aborts.
///
/// Lua 5.2, upvalues (40 bytes): the collection before one is made may free the
/// upvalue to which it is then linked (luaF_findupval).
///
/// Lua 5.2, call records (80 bytes): each collection frees the unused ones. If a
/// new one cannot be allocated, the next finalizer is never called (GCTM), and
/// its object leaks what it owns.
const NEVER_REFUSED: &[usize] = if cfg!(feature = "luajit") {
    &[48]
} else if cfg!(feature = "lua52") {
    &[40, 80]
} else {
    &[]
};

/// The memory that Lua uses, and the rule by which requests are refused. To make
/// and to grow a block are requests; to shrink and to free one are not.
#[derive(Default)]
pub struct Allocator {
    pub live_blocks: usize,
    pub live_bytes: usize,
    /// Requests since [`Allocator::start_refusing`].
    pub requests: u64,
    /// Refused requests since then.
    pub refused: u64,
    /// The rule and its `n`. None while nothing is refused.
    rule: Option<(Refuse, u64)>,
    /// The last refused request: the block's address and the requested size.
    last: Option<(usize, usize)>,
}

impl Allocator {
    /// From now on, refuses requests by this rule.
    pub fn start_refusing(&mut self, refuse: Refuse, n: u64) {
        (self.requests, self.refused, self.last) = (0, 0, None);
        self.rule = Some((refuse, n));
    }

    /// From now on, refuses nothing.
    pub fn stop_refusing(&mut self) {
        self.rule = None;
    }

    /// Counts a request and decides whether it is refused.
    fn refuses(&mut self, block: *mut c_void, size: usize) -> bool {
        let Some((refuse, n)) = self.rule else {
            return false;
        };
        if block.is_null() && NEVER_REFUSED.contains(&size) {
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
            // With `Refuse::One`, Lua's first retry of this request is refused
            // too. Later retries are not.
            self.last = (self.requests == n).then_some(request);
        }
        refused
    }
}

/// A `lua_Alloc` whose data is a [`Allocator`].
///
/// # Safety
/// `allocator` is valid and nothing else refers to it during the call. The block
/// is null, or was allocated here with `old` bytes.
pub unsafe extern "C" fn allocate(
    allocator: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: by the contract.
    let allocator = unsafe { &mut *allocator.cast::<Allocator>() };
    // For a new block Lua passes a type, not a size, as `old`.
    let old = if block.is_null() { 0 } else { old };
    if new == 0 {
        if !block.is_null() {
            allocator.live_blocks -= 1;
            allocator.live_bytes -= old;
        }
        // SAFETY: by the contract.
        unsafe { libc::free(block) };
        return std::ptr::null_mut();
    }
    let grows = block.is_null() || new > old;
    if grows && allocator.refuses(block, new) {
        return std::ptr::null_mut();
    }
    // SAFETY: by the contract.
    let moved = unsafe { libc::realloc(block, new) };
    if !moved.is_null() {
        allocator.live_blocks += usize::from(block.is_null());
        allocator.live_bytes = allocator.live_bytes + new - old;
    }
    moved
}
