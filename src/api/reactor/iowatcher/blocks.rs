//! I/O watchers of a byte stream in the KVS. Each block becomes a call of the handler.

use std::rc::Rc;

use crate::api::kvs::stream::{self, Kz};
use crate::api::reactor::watcher::Watcher;
use crate::backend::{Continuation, Future};
use crate::lua::Result;

/// Calls the handler with the data of each block, and with nil at the end.
///
/// First checks that the stream's key is a directory or does not exist: any other key
/// will never have blocks, and the handler gets an error.
pub fn watch(watcher: &Watcher, kz: Kz, nofollow: bool) -> Result<()> {
    let lookup = kz.lookup_dir()?;
    let weak = watcher.downgrade();
    let continuation: Continuation = Rc::new(move |dir| {
        let Some(watcher) = weak.upgrade() else {
            return;
        };
        match dir.payload() {
            Err(error) if error.errnum != libc::ENOENT => {
                call_handler(&watcher, None, Some(&error.text()));
                watcher.end();
            }
            _ => wait_for_next(&watcher, kz.clone(), nofollow),
        }
    });
    let _previous = watcher.set_source(lookup.then(continuation)?);
    Ok(())
}

/// Waits for the next block. Ends the watcher if the handle was closed.
fn wait_for_next(watcher: &Watcher, kz: Kz, nofollow: bool) {
    if look_up_next(watcher, kz, nofollow).is_err() {
        watcher.end();
    }
}

fn look_up_next(watcher: &Watcher, kz: Kz, nofollow: bool) -> Result<()> {
    let flags = if nofollow { 0 } else { stream::WAIT };
    let lookup = kz.lookup_next(flags)?;
    let weak = watcher.downgrade();
    let continuation: Continuation = Rc::new(move |block| {
        if let Some(watcher) = weak.upgrade() {
            handle_block(&watcher, &kz, nofollow, block);
        }
    });
    // The previous lookup is complete. It may be the one whose continuation runs now,
    // and that call keeps it alive.
    let _previous = watcher.set_source(lookup.then(continuation)?);
    Ok(())
}

fn handle_block(watcher: &Watcher, kz: &Kz, nofollow: bool, lookup: &dyn Future) {
    match kz.take(lookup) {
        Ok(block) => {
            if !block.data.is_empty() {
                call_handler(watcher, Some(&block.data), None);
            }
            if block.eof {
                call_handler(watcher, None, None);
                watcher.end();
            } else {
                wait_for_next(watcher, kz.clone(), nofollow);
            }
        }
        Err(error) if error.errnum != libc::ENOENT => {
            call_handler(watcher, None, Some(&error.text()));
            watcher.end();
        }
        // There is no such block yet.
        Err(_) if nofollow => {
            call_handler(watcher, None, None);
            watcher.end();
        }
        Err(_) => wait_for_next(watcher, kz.clone(), nofollow),
    }
}

/// Calls the handler with the data and the error's text, nil for what is absent.
fn call_handler(watcher: &Watcher, data: Option<&[u8]>, error: Option<&str>) {
    watcher.call_handler(|writer, at| {
        writer.state().push_value(at.watcher);
        for text in [data, error.map(str::as_bytes)] {
            match text {
                Some(text) => writer.bytes(text),
                None => writer.nil(),
            }
        }
        3
    });
}
