//! Counts the resources that the process holds outside Lua: Rust's memory, by a
//! counting allocator; descriptors; and threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

static BLOCKS: AtomicIsize = AtomicIsize::new(0);
static BYTES: AtomicIsize = AtomicIsize::new(0);

struct CountingAllocator;

fn count(blocks: isize, bytes: isize) {
    BLOCKS.fetch_add(blocks, Relaxed);
    BYTES.fetch_add(bytes, Relaxed);
}

// SAFETY: each function passes its arguments on to the system's allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: by the contract of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-1, -(layout.size() as isize));
        // SAFETY: by the contract of this function.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(0, size as isize - layout.size() as isize);
        // SAFETY: by the contract of this function.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// The resources that are held at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    pub blocks: isize,
    pub bytes: isize,
    pub descriptors: usize,
    pub threads: usize,
}

impl Resources {
    pub fn count() -> io::Result<Resources> {
        let entries = |folder| Ok::<_, io::Error>(fs::read_dir(folder)?.count());
        Ok(Resources {
            descriptors: entries("/proc/self/fd")?,
            threads: entries("/proc/self/task")?,
            blocks: BLOCKS.load(Relaxed),
            bytes: BYTES.load(Relaxed),
        })
    }
}
