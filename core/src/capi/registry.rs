//! Kernels and their threads, found by handle.
//!
//! There are a few places for kernels, which are the only static memory of the C interface. A call brings the handle of
//! its thread, and this finds the kernel and the thread, and proves that both are there to stay:
//!
//! * A place is *pinned* while it is looked at, and a shutdown waits for the pins. So what is found there is not freed
//!   under the look.
//! * A thread's slot belongs to the thread of the host that entered it, by the number that the host gives each of its
//!   threads. Nobody else gets in, and so nobody else can take the thread away while it is in a call; and it cannot leave
//!   from inside one itself.
//! * A kernel is not shut down while a thread is in it.
#![expect(unsafe_code, reason = "the life of a kernel and of its threads is proven here, by hand")]

use core::cell::{Cell, RefCell, UnsafeCell};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use super::abi::{ifnet_config, ifnet_host, ifnet_kernel, thread};
use super::handle::{Handle, Kind, PLACES, Tag};
use super::host::{self, CHost, Functions, Memory};
use super::objects::Objects;
use crate::mem::{FixedPool, TryVec, raw};
use crate::thread::{NetEpoch, Thread};
use crate::{Config, Errno, Kernel, TaskMode};

/// A place for a kernel.
///
/// # Invariants
/// 1. `state` is the number of the boot, times four, plus the phase. Only who has moved it out of `FREE` or `LIVE` moves
///    it on.
/// 2. `kernel` points to a `CKernel` whenever the phase is `LIVE`, and as long as there are pins from such a time.
struct Place {
    state: AtomicUsize,
    pins: AtomicUsize,
    kernel: AtomicPtr<CKernel>,
}

const FREE: usize = 0;
const BOOTING: usize = 1;
const LIVE: usize = 2;
const CLOSING: usize = 3;
const PHASES: usize = 4;

static KERNELS: [Place; PLACES] = [const {
    Place { state: AtomicUsize::new(FREE), pins: AtomicUsize::new(0), kernel: AtomicPtr::new(core::ptr::null_mut()) }
}; PLACES];

/// While it lives, the place's kernel is not freed.
struct Pin(&'static Place);

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Place {
    /// The state if the kernel of this tag lives.
    fn live(&self, tag: Tag) -> Result<usize, Errno> {
        let state = self.state.load(Ordering::SeqCst);
        if state % PHASES == LIVE && tag.is_of(state / PHASES) { Ok(state) } else { Err(Errno::EBADF) }
    }
}

impl Pin {
    fn new(place: &'static Place) -> Self {
        place.pins.fetch_add(1, Ordering::SeqCst);
        Self(place)
    }

    fn kernel(&self, tag: Tag) -> Result<&CKernel, Errno> {
        self.0.live(tag)?;
        // SAFETY:
        // 1. The pin was counted before the state was read, both sequentially consistent. A shutdown changes the state
        //    first and reads the pins then: so either it sees this pin and waits, or `live` has refused.
        // 2. The kernel was live (invariant 2), and it is only ever shared.
        unsafe { self.0.kernel.load(Ordering::SeqCst).as_ref() }.ok_or(Errno::EBADF)
    }
}

/// A kernel that was booted from C.
pub(super) struct CKernel {
    pub(super) tag: Tag,
    /// Before `kernel`: they hold objects of it.
    pub(super) objects: Objects,
    slots: TryVec<Slot, Memory>,
    entered: AtomicUsize,
    pub(super) kernel: Kernel<CHost>,
    memory: Memory,
}

impl CKernel {
    pub(super) fn memory_in_use(&self) -> usize {
        self.memory.in_use()
    }
}

/// Room for a thread.
///
/// # Invariants
/// While `owner` is not 0, only the thread of the host with that number uses `session` and changes `owner`.
struct Slot {
    owner: AtomicUsize,
    generation: AtomicUsize,
    /// `curthread` of the kernel, by which a driver's function finds its handle.
    id: AtomicU32,
    session: UnsafeCell<Option<Session>>,
}

// SAFETY: by the invariant `session` is used by one thread at a time, and it is empty when it changes hands.
unsafe impl Sync for Slot {}
// SAFETY: a slot moves only before anybody has entered it.
unsafe impl Send for Slot {}

/// A thread that has entered.
pub(super) struct Session {
    /// The epoch section of the C code. Before `td`, which it borrows.
    section: RefCell<Option<NetEpoch<'static, CHost>>>,
    /// How often it was entered.
    sections: Cell<u32>,
    /// Calls under way, one inside the other.
    calls: Cell<u32>,
    errno: Cell<i32>,
    td: Thread<'static, CHost>,
}

/// A call: the thread that it came from, and its kernel.
pub(super) struct Call<'a> {
    pub(super) kernel: &'a CKernel,
    session: &'a Session,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.session.calls.set(self.session.calls.get() - 1);
    }
}

impl<'a> Call<'a> {
    pub(super) fn td(&self) -> &'a Thread<'static, CHost> {
        &self.session.td
    }

    /// The error of the last call that failed.
    pub(super) fn last_errno(&self) -> i32 {
        self.session.errno.get()
    }

    /// `NET_EPOCH_ENTER` of the C code.
    pub(super) fn section_enter(&self) -> Result<(), Errno> {
        let count = self.session.sections.get().checked_add(1).ok_or(Errno::EAGAIN)?;
        if count == 1 {
            // SAFETY:
            // 1. The session stays where it is until the thread leaves, which it cannot do inside a section.
            // 2. The section is dropped before `td`, by `section_exit` or as the field before it.
            let td: &'static Thread<'static, CHost> = unsafe { NonNull::from(&self.session.td).as_ref() };
            *self.session.section.borrow_mut() = Some(td.net_epoch_enter());
        }
        self.session.sections.set(count);
        Ok(())
    }

    /// `NET_EPOCH_EXIT` of the C code.
    pub(super) fn section_exit(&self) -> Result<(), Errno> {
        let count = self.session.sections.get().checked_sub(1).ok_or(Errno::EINVAL)?;
        self.session.sections.set(count);
        if count == 0 {
            let section = self.session.section.borrow_mut().take();
            drop(section);
        }
        Ok(())
    }
}

impl CKernel {
    /// The slot of a thread, if the caller is that thread.
    fn slot(&self, handle: Handle) -> Result<&Slot, Errno> {
        let slot = self.slots.get(handle.number - 1).ok_or(Errno::EBADF)?;
        let owner = slot.owner.load(Ordering::Acquire);
        if owner == 0 || !handle.is_generation(slot.generation.load(Ordering::Acquire)) {
            return Err(Errno::EBADF);
        }
        if owner != self.kernel.platform().functions.curthread()? {
            return Err(Errno::EPERM);
        }
        Ok(slot)
    }

    fn handle_of_slot(&self, number: usize, slot: &Slot) -> Result<*mut thread, Errno> {
        let generation = slot.generation.load(Ordering::Acquire);
        Handle::new(self.tag, Kind::Thread, generation, number + 1).map(Handle::encode).ok_or(Errno::EAGAIN)
    }
}

impl Slot {
    /// # Safety
    /// The caller is the slot's owner, or has just become it, and keeps no `&mut` into it.
    unsafe fn session(&self) -> Result<&Session, Errno> {
        // SAFETY: the owner is the only one to use it (invariant), and it is changed only by `thread_enter` and
        // `thread_exit`, of which the one finds it empty and the other finds no call under way.
        unsafe { &*self.session.get() }.as_ref().ok_or(Errno::EBADF)
    }
}

/// Runs `work` as the thread `td`. An error is remembered for `ifnet_errno`.
pub(super) fn with_thread<R>(td: *mut thread, work: impl FnOnce(&Call<'_>) -> Result<R, Errno>) -> Result<R, Errno> {
    let handle = Handle::decode(td, Kind::Thread)?;
    let (kernel, session) = {
        let pin = Pin::new(&KERNELS[handle.tag.place]);
        let kernel = pin.kernel(handle.tag)?;
        // SAFETY: `slot` has found the caller to be the owner.
        let session = unsafe { kernel.slot(handle)?.session()? };
        session.calls.set(session.calls.get() + 1);
        (NonNull::from(kernel), NonNull::from(session))
    };
    // SAFETY: without the pin, from here on:
    // 1. The caller is a thread that has entered and that cannot leave before this call has ended (`calls`), so the
    //    session stays where it is.
    // 2. As long as it is entered, the kernel is not shut down (`entered`).
    let call = unsafe { Call { kernel: kernel.as_ref(), session: session.as_ref() } };
    work(&call).inspect_err(|errno| call.session.errno.set(errno.value()))
}

/// Runs `work` on a kernel that cannot be shut down meanwhile.
pub(super) fn with_kernel<R>(kernel: *mut ifnet_kernel, work: impl FnOnce(&CKernel) -> R) -> Result<R, Errno> {
    let handle = Handle::decode(kernel, Kind::Kernel)?;
    let pin = Pin::new(&KERNELS[handle.tag.place]);
    Ok(work(pin.kernel(handle.tag)?))
}

/// The handle of the thread in which a driver's function is called; null for one that C did not enter.
pub(super) fn handle_of_thread(td: &Thread<'_, CHost>) -> *mut thread {
    let tag = td.platform().tag;
    let pin = Pin::new(&KERNELS[tag.place]);
    let find = || {
        let kernel = pin.kernel(tag).ok()?;
        // A walk over as many words as threads may exist; a thread has no field for its handle.
        let number = kernel.slots.iter().position(|slot| slot.id.load(Ordering::Acquire) == td.id().0.get())?;
        kernel.handle_of_slot(number, &kernel.slots[number]).ok()
    };
    find().unwrap_or(core::ptr::null_mut())
}

/// `ifnet_thread_enter`.
pub(super) fn thread_enter(kernel: *mut ifnet_kernel) -> Result<*mut thread, Errno> {
    with_kernel(kernel, |kernel| {
        let me = kernel.kernel.platform().functions.curthread()?;
        let free = |slot: &Slot| slot.owner.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let number = kernel.slots.iter().position(free).ok_or(Errno::EAGAIN)?;
        let slot = &kernel.slots[number];
        kernel.entered.fetch_add(1, Ordering::SeqCst);
        // SAFETY: whoever is in `kernel.entered` keeps the kernel where it is, and the thread ends before it leaves.
        let lasting: &'static Kernel<CHost> = unsafe { NonNull::from(&kernel.kernel).as_ref() };
        let entered = lasting.thread().and_then(|td| {
            slot.id.store(td.id().0.get(), Ordering::Release);
            let (section, sections) = (RefCell::new(None), Cell::new(0));
            let session = Session { section, sections, calls: Cell::new(0), errno: Cell::new(0), td };
            // SAFETY: the slot was free, so it is empty, and it is the caller's now.
            unsafe { *slot.session.get() = Some(session) };
            kernel.handle_of_slot(number, slot)
        });
        entered.inspect_err(|_| {
            slot.id.store(0, Ordering::Release);
            // SAFETY: it is the caller's, who has no reference into it.
            unsafe { *slot.session.get() = None };
            slot.owner.store(0, Ordering::Release);
            kernel.entered.fetch_sub(1, Ordering::SeqCst);
        })
    })?
}

/// `ifnet_thread_exit`.
pub(super) fn thread_exit(td: *mut thread) -> Result<(), Errno> {
    let handle = Handle::decode(td, Kind::Thread)?;
    // To the end: the kernel could be shut down as soon as nobody is counted in it.
    let pin = Pin::new(&KERNELS[handle.tag.place]);
    let kernel = pin.kernel(handle.tag)?;
    let slot = kernel.slot(handle)?;
    {
        // SAFETY: `slot` has found the caller to be the owner; the reference ends with the block.
        let session = unsafe { slot.session()? };
        if session.calls.get() != 0 || session.sections.get() != 0 {
            return Err(Errno::EBUSY);
        }
    }
    // SAFETY: the caller is the owner, and no call of its is under way that could have a reference into the session.
    let session = unsafe { (*slot.session.get()).take() };
    drop(session);
    slot.id.store(0, Ordering::Release);
    slot.generation.fetch_add(1, Ordering::AcqRel);
    slot.owner.store(0, Ordering::Release);
    kernel.entered.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

/// How many threads may be entered at a time, if the host does not say.
const THREADS: u32 = 16;
/// At most as many.
const THREADS_MAX: u32 = 1024;

/// `ifnet_boot`.
///
/// # Safety
/// Unless the host has a heap or `memory` is null: `memory` points to `len` bytes that nobody else uses until the kernel
/// is shut down, or until this has failed.
pub(super) unsafe fn boot(
    host: &ifnet_host,
    memory: *mut u8,
    len: usize,
    config: ifnet_config,
) -> Result<*mut ifnet_kernel, Errno> {
    let functions = Functions::check(host)?;
    let ifnet_config { threads, immediate_tasks } = config;
    let threads = if threads == 0 { THREADS } else { threads };
    if threads > THREADS_MAX || (memory.is_null() && !functions.has_heap()) {
        return Err(Errno::EINVAL);
    }
    let claim = |place: &Place| {
        let state = place.state.load(Ordering::SeqCst);
        let (boot, next) = (state / PHASES, state / PHASES + 1);
        let claimed = state % PHASES == FREE
            && place
                .state
                .compare_exchange(state, next * PHASES + BOOTING, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok();
        claimed.then_some(boot + 1)
    };
    let (number, boot) =
        KERNELS.iter().enumerate().find_map(|(at, place)| Some((at, claim(place)?))).ok_or(Errno::EAGAIN)?;
    let place = &KERNELS[number];
    let tag = Tag::new(number, boot);
    host::receive_panics(Some(functions));
    let tasks = if immediate_tasks == 0 { TaskMode::Deferred } else { TaskMode::Immediate };
    let build = || {
        let memory = match Memory::heap(&functions) {
            Some(heap) => heap,
            // SAFETY: the caller's promise.
            None => Memory::Pool(unsafe { pool_over(memory, len) }?.by_ref()),
        };
        build(tag, functions, memory, threads, tasks)
    };
    let built = build().and_then(|kernel| {
        let handle = Handle::new(tag, Kind::Kernel, 0, 1).ok_or(Errno::EAGAIN)?;
        place.kernel.store(kernel.as_ptr(), Ordering::SeqCst);
        Ok(handle.encode())
    });
    let phase = if built.is_ok() { LIVE } else { FREE };
    place.state.store(boot * PHASES + phase, Ordering::SeqCst);
    if built.is_err() {
        pass_panics_on();
    }
    built
}

/// After a host has gone: another one hears of panics.
fn pass_panics_on() {
    let functions_at = |place| {
        let pin = Pin::new(place);
        let state = place.state.load(Ordering::SeqCst);
        let tag = Tag::new(0, state / PHASES);
        pin.kernel(tag).map(|kernel| kernel.kernel.platform().functions).ok()
    };
    host::receive_panics(KERNELS.iter().find_map(functions_at));
}

/// Makes the pool, which lies at the beginning of its own memory.
///
/// # Safety
/// As [`boot`].
unsafe fn pool_over(memory: *mut u8, len: usize) -> Result<&'static FixedPool, Errno> {
    let skip = memory.align_offset(align_of::<FixedPool>());
    let begin = skip.checked_add(size_of::<FixedPool>()).filter(|begin| *begin < len).ok_or(Errno::ENOMEM)?;
    // SAFETY:
    // 1. `skip + size_of::<FixedPool>() < len`: both pieces lie in the memory and do not overlap.
    // 2. The first is aligned for what is written into it.
    // 3. Nobody else uses them for as long as this kernel lives (the caller's promise), and nothing that uses them
    //    outlives it: `'static` is that long.
    unsafe {
        let rest = core::slice::from_raw_parts_mut(memory.add(begin).cast::<MaybeUninit<u8>>(), len - begin);
        let pool = memory.add(skip).cast::<FixedPool>();
        pool.write(FixedPool::new(rest));
        Ok(&*pool)
    }
}

fn build(
    tag: Tag,
    functions: Functions,
    memory: Memory,
    threads: u32,
    tasks: TaskMode,
) -> Result<NonNull<CKernel>, Errno> {
    let mut slots = TryVec::new(memory);
    slots.try_reserve_exact(threads as usize)?;
    for _ in 0..threads {
        let (owner, generation, id) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU32::new(0));
        let slot = Slot { owner, generation, id, session: UnsafeCell::new(None) };
        slots.try_push(slot).map_err(|_| Errno::ENOMEM)?;
    }
    // One more: the kernel's own shutdown is a thread.
    let config = Config::default().threads(threads as usize + 1).tasks(tasks);
    let kernel = Kernel::boot(CHost { functions, memory, tag }, config)?;
    let objects = Objects::new(memory);
    let whole = CKernel { tag, objects, slots, entered: AtomicUsize::new(0), kernel, memory };
    raw::try_alloc(&memory, whole).map_err(|(no_mem, whole)| {
        let CKernel { tag: _, objects, slots, entered: _, kernel, memory: _ } = whole;
        drop((objects, slots));
        kernel.shutdown();
        no_mem.into()
    })
}

/// `ifnet_shutdown`.
pub(super) fn shutdown(kernel: *mut ifnet_kernel) -> Result<(), Errno> {
    let handle = Handle::decode(kernel, Kind::Kernel)?;
    let place = &KERNELS[handle.tag.place];
    // First without an effect: those who are in the kernel rightly shall not see it closing.
    with_kernel(kernel, is_empty)??;
    let live = place.live(handle.tag)?;
    let closing = live - LIVE + CLOSING;
    place.state.compare_exchange(live, closing, Ordering::SeqCst, Ordering::SeqCst).map_err(|_| Errno::EBADF)?;
    while place.pins.load(Ordering::SeqCst) != 0 {
        core::hint::spin_loop();
    }
    let Some(kernel) = NonNull::new(place.kernel.load(Ordering::SeqCst)) else { return Err(Errno::EBADF) };
    // SAFETY: it was live, and it is this caller's to end since the state has changed (invariant 1); shared only here.
    let empty = is_empty(unsafe { kernel.as_ref() });
    if let Err(errno) = empty {
        place.state.store(live, Ordering::SeqCst);
        return Err(errno);
    }
    place.kernel.store(core::ptr::null_mut(), Ordering::SeqCst);
    // SAFETY:
    // 1. The kernel came from `try_alloc`, and is this caller's alone: the state is `CLOSING`, there are no pins, and no
    //    thread is entered.
    // 2. What was read out of the memory is dropped as `whole`; the memory is given back without dropping it again.
    let whole = unsafe { kernel.read() };
    let CKernel { tag: _, objects, slots, entered: _, kernel: booted, memory } = whole;
    drop((objects, slots));
    booted.shutdown();
    // SAFETY: as above; the value was moved out.
    unsafe { raw::free(&memory, kernel) };
    place.state.store(closing - CLOSING + FREE, Ordering::SeqCst);
    pass_panics_on();
    Ok(())
}

/// Whether nothing is left that would outlive the kernel.
fn is_empty(kernel: &CKernel) -> Result<(), Errno> {
    let mut vnets = 0;
    kernel.kernel.vnet_foreach(|_| vnets += 1);
    let empty = kernel.entered.load(Ordering::SeqCst) == 0 && vnets == 1 && kernel.objects.is_empty();
    if empty { Ok(()) } else { Err(Errno::EBUSY) }
}
