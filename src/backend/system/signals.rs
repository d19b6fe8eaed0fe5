//! Signals as readable descriptors. Any number of listeners, on any threads, can
//! receive the same signal. The signal handler uses only atomics and eventfds.
//! When the last subscription to a signal ends, its previous action is restored.
//!
//! SIGINT and SIGQUIT are handled in `held`: system(3) ignores them while it
//! waits for its command, and they would be lost meanwhile.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::EventFd;
use crate::backend::error::{Error, Result};
use held::Held;

mod held;
pub mod mask;

/// The largest signal number. A set of signals fits in 64 bits.
const MAX: i32 = 64;

/// A value for each signal, by its number.
type BySignal<T> = [T; MAX as usize + 1];

/// A listener as the signal handler sees it. Slots are reused but never freed, so
/// the handler may walk over them at any time.
struct Slot {
    taken: AtomicBool,
    /// The eventfd to write to. -1 if there is none.
    fd: AtomicI32,
    /// The signals that the listener subscribed to.
    wanted: AtomicU64,
    /// The signals that were received and not taken yet.
    pending: AtomicU64,
    next: OnceLock<Box<Slot>>,
}

static SLOTS: Slot = Slot::new();
/// The number of calls of the handler that run now, on all threads.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// The signals that have our action.
static ACTIONS: Mutex<BySignal<Option<Action>>> = Mutex::new([const { None }; MAX as usize + 1]);

/// The action of a signal that was replaced by ours. It is restored when the
/// last listener of the signal is gone.
struct Action {
    listeners: usize,
    /// The action to restore.
    before: libc::sigaction,
}

/// Receives signals, through one descriptor for all of them.
pub struct Listener {
    event: EventFd,
    held: Held,
    slot: &'static Slot,
    /// How many subscriptions each signal has here.
    subscriptions: RefCell<BySignal<usize>>,
}

/// While this lives, its listener receives one signal.
pub struct Subscription {
    listener: Rc<Listener>,
    signum: i32,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            taken: AtomicBool::new(false),
            fd: AtomicI32::new(-1),
            wanted: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            next: OnceLock::new(),
        }
    }

    fn all() -> impl Iterator<Item = &'static Slot> {
        std::iter::successors(Some(&SLOTS), |slot| slot.next.get().map(Box::as_ref))
    }

    fn take() -> &'static Slot {
        let mut slot = &SLOTS;
        while slot.taken.swap(true, SeqCst) {
            slot = slot.next.get_or_init(|| Box::new(Slot::new()));
        }
        slot
    }
}

impl Listener {
    /// Makes a listener without subscriptions.
    pub fn new() -> Result<Rc<Listener>> {
        let event = EventFd::new()?;
        let held = Held::new(event.fd())?;
        let slot = Slot::take();
        slot.pending.store(0, SeqCst);
        slot.fd.store(event.fd(), SeqCst);
        Ok(Rc::new(Listener {
            event,
            held,
            slot,
            subscriptions: RefCell::new([0; MAX as usize + 1]),
        }))
    }

    /// Subscribes to a signal. Fails with `EINVAL` if it cannot be handled.
    ///
    /// The signal is unblocked in this thread, and stays unblocked, as with
    /// libev. A signal that is held is blocked while it is subscribed to.
    pub fn subscribe(self: &Rc<Self>, signum: i32) -> Result<Subscription> {
        if !(1..=MAX).contains(&signum) {
            return Err(Error::new(libc::EINVAL));
        }
        let count = &mut self.subscriptions.borrow_mut()[signum as usize];
        if *count == 0 {
            acquire(signum)?;
            self.slot.wanted.fetch_or(bit(signum), SeqCst);
        }
        *count += 1;
        if held::is_held(signum) {
            self.held.add(signum)?;
        } else {
            mask::change(libc::SIG_UNBLOCK, &mask::set_of(&[signum]));
        }
        Ok(Subscription {
            listener: Rc::clone(self),
            signum,
        })
    }

    /// A descriptor that is readable when [`Listener::take`] has a signal to
    /// return.
    pub fn fd(&self) -> RawFd {
        self.held.fd()
    }

    /// Returns a function that tells whether a signal was received since the last
    /// call.
    pub fn take(&self) -> impl Fn(i32) -> bool + use<> {
        while let Some(signum) = self.held.next() {
            notify(signum);
        }
        self.event.drain();
        let pending = self.slot.pending.swap(0, SeqCst);
        move |signum| pending & bit(signum) != 0
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.slot.fd.store(-1, SeqCst);
        // A handler that has read the descriptor must finish before it is closed.
        // It does not block.
        while RUNNING.load(SeqCst) != 0 {
            std::thread::yield_now();
        }
        self.slot.taken.store(false, SeqCst);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let count = &mut self.listener.subscriptions.borrow_mut()[self.signum as usize];
        *count -= 1;
        if *count > 0 {
            return;
        }
        if held::is_held(self.signum) {
            // This happens before our action is replaced, because the signal
            // may be pending.
            self.listener.held.remove(self.signum);
        }
        release(self.signum);
        let slot = self.listener.slot;
        slot.wanted.fetch_and(!bit(self.signum), SeqCst);
        slot.pending.fetch_and(!bit(self.signum), SeqCst);
    }
}

/// Whether any listener of the process receives the signal.
pub fn is_heard(signum: i32) -> bool {
    let actions = actions();
    let action = usize::try_from(signum).ok().and_then(|n| actions.get(n));
    action.is_some_and(Option::is_some)
}

fn bit(signum: i32) -> u64 {
    1 << (signum - 1)
}

fn actions() -> MutexGuard<'static, BySignal<Option<Action>>> {
    ACTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one more listener of a signal. The first one sets our action.
fn acquire(signum: i32) -> Result<()> {
    let mut actions = actions();
    let action = &mut actions[signum as usize];
    if let Some(action) = action {
        action.listeners += 1;
        return Ok(());
    }
    let before = set_action(signum, &own_action())?;
    let listeners = 1;
    *action = Some(Action { listeners, before });
    Ok(())
}

/// Counts one listener less of a signal. After the last one the previous action
/// is restored, unless other code has changed the action since.
fn release(signum: i32) {
    let mut actions = actions();
    let handled = &mut actions[signum as usize];
    let Some(action) = handled else {
        return;
    };
    action.listeners -= 1;
    if action.listeners > 0 {
        return;
    }
    let replaced = set_action(signum, &action.before).ok();
    let own = own_action().sa_sigaction;
    if let Some(foreign) = replaced.filter(|replaced| replaced.sa_sigaction != own) {
        // It cannot fail: the system has just returned this action.
        let _ = set_action(signum, &foreign);
    }
    *handled = None;
}

/// The action of a signal that has listeners. System calls are restarted, and no
/// other signal interrupts the handler.
fn own_action() -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zero is valid for every field of the structure.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: sigfillset writes to the set, which is valid.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    *action
}

/// Sets the action of a signal. Returns the previous one.
fn set_action(signum: i32, action: &libc::sigaction) -> Result<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: both pointers are valid. The action's handler is `on_signal`, which
    // may run at any point, or one that the system returned.
    if unsafe { libc::sigaction(signum, action, before.as_mut_ptr()) } < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: sigaction succeeded, so it has filled in the structure.
    Ok(unsafe { before.assume_init() })
}

/// The signal handler. It may interrupt any code, so it uses only atomics and
/// write(2).
extern "C" fn on_signal(signum: libc::c_int) {
    // SAFETY: the pointer to this thread's errno is always valid.
    let errno = unsafe { *libc::__errno_location() };
    notify(signum);
    // The interrupted code may be about to read errno.
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Tells all listeners of a signal. Also called outside the handler.
fn notify(signum: i32) {
    RUNNING.fetch_add(1, SeqCst);
    for slot in Slot::all() {
        if slot.wanted.load(SeqCst) & bit(signum) == 0 {
            continue;
        }
        slot.pending.fetch_or(bit(signum), SeqCst);
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is passed with its length. The descriptor is -1, or
        // stays open while this call is counted in RUNNING.
        unsafe { libc::write(slot.fd.load(SeqCst), one.as_ptr().cast(), one.len()) };
    }
    RUNNING.fetch_sub(1, SeqCst);
}
