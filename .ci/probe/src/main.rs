//! A program with no heap at all that runs a kernel from boot to shutdown.
//!
//! The proof that the core needs no global allocator: this program has none, and rustc links no program that can reach
//! the `alloc` crate without one. All memory is a static array. It also proves that every byte comes back: what the pool
//! has handed out is zero again at the end, after running out of memory in the middle as well.
//!
//! It runs on the host, where the C library calls `main`; the core knows nothing of that.
#![no_std]
#![no_main]

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use core::fmt::{self, Write};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use allocator_api2::alloc::{AllocError, Allocator};

use ifnet::mem::{FixedPool, PoolRef};
use ifnet::platform::spin::SpinHost;
use ifnet::{
    Config, Errno, IfFlags, IfType, IfnetOwner, Kernel, SockAddr, Thread, VnetRef, bpf_open, ether_ifattach,
    ether_ifdetach, if_addaddr, if_addgroup, if_addmulti, if_alloc, if_attach, if_clone_create, if_clone_destroy,
    if_deladdr, if_delgroup, if_detach, if_free, if_initname, if_rename, if_up, if_vmove_loan, if_vmove_reclaim,
    ifunit, ifunit_ref, vnet_alloc, vnet_destroy,
};

type Host = SpinHost<Refusing>;

/// A pool that can be told to refuse.
#[derive(Clone, Copy)]
struct Refusing(PoolRef);

/// How many allocations are still granted.
static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: every call is passed on to the pool.
unsafe impl Allocator for Refusing {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let left = LEFT.load(Ordering::Relaxed);
        LEFT.store(left.checked_sub(1).ok_or(AllocError)?, Ordering::Relaxed);
        self.0.allocate(layout)
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(memory, layout) };
    }
}

#[link(name = "c")]
unsafe extern "C" {
    fn write(fd: c_int, text: *const u8, len: usize) -> isize;
    fn abort() -> !;
}

/// Standard error.
struct Stderr;

impl Write for Stderr {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the pointer and the length are those of a string.
        unsafe { write(2, text.as_ptr(), text.len()) };
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Stderr, "{info}");
    // SAFETY: may be called at any time.
    unsafe { abort() }
}

/// The compiled `core` names it in its tables for unwinding; a panic aborts here, so it is never called.
// SAFETY: the only symbol of this name in the program.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The memory of the kernel.
#[repr(align(4096))]
struct Memory(UnsafeCell<[MaybeUninit<u8>; 1 << 19]>);

// SAFETY: `main` borrows it once, and no other thread exists.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([MaybeUninit::uninit(); 1 << 19]));

/// The pool over it; a static, because the host keeps it for ever.
struct Pool(UnsafeCell<MaybeUninit<FixedPool>>);

// SAFETY: `main` writes it once, before anybody reads it, and no other thread exists.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool(UnsafeCell::new(MaybeUninit::uninit()));

/// What the C library calls.
// SAFETY: the only symbol of this name in the program.
#[unsafe(no_mangle)]
pub extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    #[cfg(feature = "allocate")]
    {
        extern crate alloc;
        core::hint::black_box(alloc::boxed::Box::new(core::hint::black_box(1_u64)));
    }
    // SAFETY:
    // 1. The C library calls `main` once, so each of the two is borrowed once, for ever.
    // 2. No other thread exists.
    let pool: &'static FixedPool = unsafe { (*POOL.0.get()).write(FixedPool::new(&mut *MEMORY.0.get())) };
    // Twice: the second kernel finds the memory as the first one did.
    for _ in 0..2 {
        run(pool).expect("a step failed that must not");
        assert_eq!(pool.in_use(), 0, "bytes that did not come back");
    }
    boot_without_memory(pool);
    let _ = writeln!(Stderr, "probe: ok");
    0
}

/// Rounds after which the arrays have their size and the pool is cut up.
const WARM_UP: usize = 4;

/// The whole life of a kernel.
fn run(pool: &'static FixedPool) -> Result<(), Errno> {
    let kernel: Kernel<Host> = Kernel::boot(SpinHost::new(Refusing(pool.by_ref())), Config::default().threads(4))?;
    {
        let td = kernel.thread()?;
        let jail = vnet_alloc(&td)?;
        driver(&td, &jail)?;
        hardware(&td)?;
        cloned(&td, &jail)?;
        refuse(pool, &td, &jail)?;
        // Arrays that have grown stay large, and the pool cuts its memory up in the first rounds: only then must one
        // round leave what the round before has left.
        for _ in 0..WARM_UP {
            exhaust(&td);
            settled(pool, &td);
        }
        let before = settled(pool, &td);
        exhaust(&td);
        assert_eq!(settled(pool, &td), before, "what ENOMEM has left behind");
        // With an interface inside that was lent, and one that was made there.
        if_clone_create(&td, "disc7")?;
        drop(if_vmove_loan(&td, "disc7", &jail)?);
        {
            let _cur = td.curvnet_set(Some(jail.clone()));
            if_clone_create(&td, "epair")?;
        }
        vnet_destroy(&td, &jail)?;
        assert!(ifunit(&td, "disc7").is_some(), "a lent interface returns");
    }
    // What is left is the kernel's own, and `disc7`.
    kernel.shutdown();
    Ok(())
}

/// A driver without a cloner: attach, lend, pull back, rename, groups, detach, free.
fn driver(td: &Thread<'_, Host>, jail: &VnetRef<Host>) -> Result<(), Errno> {
    let owner = if_alloc(td, IfType::Ether)?;
    if_initname(&owner, "tst", Some(0))?;
    if_attach(td, &owner)?;
    drop(if_vmove_loan(td, "tst0", jail)?);
    assert!(ifunit(td, "tst0").is_none(), "a lent interface is not here");
    drop(if_vmove_reclaim(td, "tst0", jail)?);
    if_rename(td, &owner, "wan")?;
    if_addgroup(td, &owner, "uplink")?;
    if_addgroup(td, &owner, "other")?;
    if_delgroup(td, &owner, "other")?;
    if_addaddr(td, &owner, SockAddr::Inet([192, 0, 2, 1]), 24)?;
    if_up(td, &owner);
    assert!(ifunit_ref(td, "wan").is_some_and(|ifp| ifp.flags().contains(IfFlags::UP)));
    end(td, owner);
    Ok(())
}

fn end(td: &Thread<'_, Host>, owner: IfnetOwner<Host>) {
    if_detach(td, &owner);
    if_free(td, owner);
}

/// A driver of hardware, with a tap and a listener that is closed late.
fn hardware(td: &Thread<'_, Host>) -> Result<(), Errno> {
    let owner = if_alloc(td, IfType::Ether)?;
    if_initname(&owner, "em", Some(0))?;
    ether_ifattach(td, &owner, [2, 0, 0, 0, 0, 1])?;
    let listener = bpf_open(td, "em0")?;
    ether_ifdetach(td, &owner);
    if_free(td, owner);
    assert_eq!(listener.poll(), Err(Errno::ENXIO));
    Ok(())
}

/// Cloned interfaces, one end of a pair away from home.
fn cloned(td: &Thread<'_, Host>, jail: &VnetRef<Host>) -> Result<(), Errno> {
    assert_eq!(&*if_clone_create(td, "disc")?, "disc0");
    assert_eq!(&*if_clone_create(td, "epair")?, "epair0a");
    drop(if_vmove_loan(td, "epair0b", jail)?);
    if_clone_destroy(td, "epair0a")?;
    let _cur = td.curvnet_set(Some(jail.clone()));
    assert!(ifunit(td, "epair0b").is_none(), "both ends are gone");
    Ok(())
}

/// Refuses every allocation of every verb in turn: each must say `ENOMEM` and leave everything as it was.
fn refuse(pool: &FixedPool, td: &Thread<'_, Host>, jail: &VnetRef<Host>) -> Result<(), Errno> {
    let tap = if_alloc(td, IfType::Ether)?;
    if_initname(&tap, "em", Some(2))?;
    ether_ifattach(td, &tap, [2, 0, 0, 0, 0, 2])?;

    each_refused(pool, td, "if_alloc", || if_alloc(td, IfType::Ether).map(|owner| if_free(td, owner)));
    each_refused(pool, td, "vnet_alloc", || {
        let jail = vnet_alloc(td)?;
        granted(|| vnet_destroy(td, &jail))
    });
    for kind in ["disc", "epair", "disc300", "epair300"] {
        each_refused(pool, td, kind, || {
            let name = if_clone_create(td, kind)?;
            granted(|| if_clone_destroy(td, &name))
        });
    }
    each_refused(pool, td, "ether_ifattach", || {
        let owner = if_alloc(td, IfType::Ether)?;
        if_initname(&owner, "em", Some(1))?;
        let attached = ether_ifattach(td, &owner, [2, 0, 0, 0, 0, 1]);
        granted(|| {
            if attached.is_ok() {
                ether_ifdetach(td, &owner);
            }
            if_free(td, owner);
            attached
        })
    });
    each_refused(pool, td, "bpf_open", || bpf_open(td, "em2").map(drop));
    each_refused(pool, td, "if_addaddr", || {
        let addr = SockAddr::Inet([192, 0, 2, 7]);
        if_addaddr(td, &tap, addr, 24)?;
        if_deladdr(&tap, addr)
    });
    each_refused(pool, td, "if_addgroup", || {
        if_addgroup(td, &tap, "uplink")?;
        if_delgroup(td, &tap, "uplink")
    });
    each_refused(pool, td, "if_rename", || {
        if_rename(td, &tap, "wan0")?;
        granted(|| if_rename(td, &tap, "em2"))
    });
    each_refused(pool, td, "if_vmove_loan", || {
        drop(if_vmove_loan(td, "em2", jail)?);
        granted(|| if_vmove_reclaim(td, "em2", jail).map(drop))
    });
    drop(if_vmove_loan(td, "em2", jail)?);
    each_refused(pool, td, "if_vmove_reclaim", || {
        drop(if_vmove_reclaim(td, "em2", jail)?);
        granted(|| if_vmove_loan(td, "em2", jail).map(drop))
    });

    ether_ifdetach(td, &tap);
    if_free(td, tap);
    Ok(())
}

/// Runs `verb`, which undoes itself, with no allocation granted, with one, and so on until it succeeds.
fn each_refused(pool: &FixedPool, td: &Thread<'_, Host>, what: &str, verb: impl Fn() -> Result<(), Errno>) {
    // Once without a limit: arrays that have grown stay large.
    verb().unwrap_or_else(|errno| panic!("{what}: {errno:?} with memory"));
    let before = settled(pool, td);
    for allowed in 0.. {
        LEFT.store(allowed, Ordering::Relaxed);
        let result = verb();
        LEFT.store(usize::MAX, Ordering::Relaxed);
        assert_eq!(settled(pool, td), before, "{what} has kept something, refused after {allowed} allocations");
        match result {
            Ok(()) => break,
            Err(errno) => assert_eq!(errno, Errno::ENOMEM, "{what}, refused after {allowed} allocations"),
        }
    }
}

/// Undoes a verb; what this needs is granted.
fn granted(undo: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    LEFT.store(usize::MAX, Ordering::Relaxed);
    undo()
}

/// What is in use once all that was deferred is done.
fn settled(pool: &FixedPool, td: &Thread<'_, Host>) -> usize {
    while td.kernel().run_deferred(td) {}
    td.net_epoch_drain_callbacks();
    pool.in_use()
}

/// Makes vnets and interfaces of every kind until memory is short, and takes all of them away again while it is.
fn exhaust(td: &Thread<'_, Host>) {
    let mut jails: [Option<VnetRef<Host>>; 256] = [const { None }; 256];
    let mut made = 0;
    for place in &mut jails {
        match vnet_alloc(td) {
            Ok(jail) => *place = Some(jail),
            Err(errno) => {
                assert_eq!(errno, Errno::ENOMEM);
                break;
            }
        }
        made += 1;
    }
    assert!((2..256).contains(&made), "the pool is too large or too small for this test: {made} vnets");
    // There may be room for smaller things yet.
    for kind in ["epair", "disc"] {
        let refused = (0..1000).find_map(|_| if_clone_create(td, kind).err());
        assert_eq!(refused, Some(Errno::ENOMEM), "{kind}");
    }
    for unit in 0.. {
        // Units past those that the cloner has given out: the names are free.
        match disc_by_hand(td, 10_000 + unit) {
            Ok(()) => {}
            Err(errno) => {
                assert_eq!(errno, Errno::ENOMEM);
                break;
            }
        }
    }
    let lo0 = ifunit(td, "lo0").expect("it is always there");
    let refused = (0..=u8::MAX).find_map(|n| if_addaddr(td, &lo0, SockAddr::Inet([127, 0, 1, n]), 32).err());
    assert!(matches!(refused, None | Some(Errno::ENOMEM)));
    (0..=u8::MAX).for_each(|n| _ = if_deladdr(&lo0, SockAddr::Inet([127, 0, 1, n])));
    assert!(matches!(if_addmulti(td, &lo0, SockAddr::Link([1, 0, 94, 0, 0, 1])), Ok(()) | Err(Errno::ENOMEM)));

    // Nothing of this needs memory.
    for jail in jails.into_iter().flatten() {
        vnet_destroy(td, &jail).expect("teardown needs no memory");
    }
    loop {
        let mut name = None;
        ifnet::if_foreach(td, |ifp| -> Result<(), Errno> {
            if *ifp.name() != *"lo0" {
                name = Some(ifp.name());
            }
            Ok(())
        })
        .expect("the closure does not fail");
        let Some(name) = name else { break };
        if if_clone_destroy(td, &name).is_err() {
            panic!("teardown needs no memory: {}", &*name);
        }
    }
}

/// A cloned interface with a unit of its own.
fn disc_by_hand(td: &Thread<'_, Host>, unit: u32) -> Result<(), Errno> {
    let mut name = Name([0; 16], 0);
    write!(name, "disc{unit}").expect("it fits");
    if_clone_create(td, core::str::from_utf8(&name.0[..name.1]).expect("it is ASCII")).map(drop)
}

/// A name under construction.
struct Name([u8; 16], usize);

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = self.0.get_mut(self.1..self.1 + text.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.1 += text.len();
        Ok(())
    }
}

/// A boot that is refused memory gives everything back, wherever it was refused.
fn boot_without_memory(pool: &'static FixedPool) {
    for allowed in 0.. {
        LEFT.store(allowed, Ordering::Relaxed);
        // As large as those before: the pool does not join the pieces that it was cut into.
        let config = Config::default().threads(4);
        let booted = Kernel::<Host>::boot(SpinHost::new(Refusing(pool.by_ref())), config);
        let done = booted.map(Kernel::shutdown);
        assert_eq!(pool.in_use(), 0, "after {allowed} allocations");
        match done {
            Ok(()) => break,
            Err(errno) => assert_eq!(errno, Errno::ENOMEM),
        }
    }
    LEFT.store(usize::MAX, Ordering::Relaxed);
}
