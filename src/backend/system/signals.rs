//! Signals as readable descriptors: any number of listeners, on any threads,
//! hear of the same signal. The handler touches atomics and eventfds only;
//! what was done about a signal before comes back with its last subscription.
//!
//! SIGINT and SIGQUIT are `held`: system(3) ignores them while it waits for its
//! command, and they would be lost meanwhile.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::EventFd;
use crate::backend::{Error, Result};
use held::Held;

mod held;

/// Signal numbers are 1 to this, so that a set of them fits 64 bits.
const MAX: i32 = 64;

/// Something of each signal, by its number.
type BySignal<T> = [T; MAX as usize + 1];

/// A listener as the handler sees it. Slots are never freed, only used again,
/// so that the handler may walk over them at any time.
struct Slot {
    taken: AtomicBool,
    /// Where to write; -1 for nowhere.
    fd: AtomicI32,
    wanted: AtomicU64,
    pending: AtomicU64,
    next: OnceLock<Box<Slot>>,
}

static SLOTS: Slot = Slot::new();
/// How many handlers are running, on all threads.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// The signals that are handled here.
static ACTIONS: Mutex<BySignal<Option<Action>>> = Mutex::new([const { None }; MAX as usize + 1]);

struct Action {
    listeners: usize,
    before: libc::sigaction,
}

/// Hears of signals, one descriptor for all of them.
pub struct Listener {
    event: EventFd,
    held: Held,
    slot: &'static Slot,
    /// How many subscriptions each signal has here.
    subscriptions: RefCell<BySignal<usize>>,
}

/// A signal that a listener hears of while this lives.
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

    /// Hear of a signal. `EINVAL` for one that cannot be handled.
    ///
    /// It is unblocked in this thread, and stays so: as libev leaves it. One
    /// that is held is blocked there meanwhile.
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
            unblock(signum);
        }
        Ok(Subscription {
            listener: Rc::clone(self),
            signum,
        })
    }

    /// Readable when there is something to [`Listener::take`].
    pub fn fd(&self) -> RawFd {
        self.held.fd()
    }

    /// Whether each signal was received since the last time.
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
        // A handler that saw the descriptor must be done with it before it is
        // closed. It waits for nothing.
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
            // While our action is in place: it may be pending.
            self.listener.held.remove(self.signum);
        }
        release(self.signum);
        let slot = self.listener.slot;
        slot.wanted.fetch_and(!bit(self.signum), SeqCst);
        slot.pending.fetch_and(!bit(self.signum), SeqCst);
    }
}

/// Whether some listener of the process hears of the signal.
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

/// Have the signal handled here, for one more listener.
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

/// One listener less. After the last the signal is handled as it was before,
/// unless someone else has taken it since.
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
        // It was valid a moment ago.
        let _ = set_action(signum, &foreign);
    }
    *handled = None;
}

/// What a signal with listeners does. System calls that it meets go on, and no
/// other signal's handler can interrupt it.
fn own_action() -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zero is a value of every field of the structure.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the set is ours; sigfillset fills it in.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    *action
}

/// Returns what was done before.
fn set_action(signum: i32, action: &libc::sigaction) -> Result<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: both structures are ours. The handler they name is on_signal,
    // which is safe to run at any point, or what the system had named.
    if unsafe { libc::sigaction(signum, action, before.as_mut_ptr()) } < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: sigaction succeeded, so that it filled the structure in.
    Ok(unsafe { before.assume_init() })
}

fn unblock(signum: i32) {
    // SAFETY: the set is ours; the mask that was before is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set_of(&[signum]), ptr::null_mut()) };
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills in the set, sigaddset changes it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signum in signals {
            libc::sigaddset(set.as_mut_ptr(), signum);
        }
        set.assume_init()
    }
}

/// Runs in the middle of anything: atomics and write(2) alone.
extern "C" fn on_signal(signum: libc::c_int) {
    // SAFETY: the place of this thread's errno is always there.
    let errno = unsafe { *libc::__errno_location() };
    notify(signum);
    // SAFETY: as above. The code that was interrupted may be about to read it.
    unsafe { *libc::__errno_location() = errno };
}

/// Tell all listeners of a signal, from its handler or not.
fn notify(signum: i32) {
    RUNNING.fetch_add(1, SeqCst);
    for slot in Slot::all() {
        if slot.wanted.load(SeqCst) & bit(signum) == 0 {
            continue;
        }
        slot.pending.fetch_or(bit(signum), SeqCst);
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is ours, with its length. The descriptor is -1 or
        // stays open until this handler is no longer counted in RUNNING.
        unsafe { libc::write(slot.fd.load(SeqCst), one.as_ptr().cast(), one.len()) };
    }
    RUNNING.fetch_sub(1, SeqCst);
}
