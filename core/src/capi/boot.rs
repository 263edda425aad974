//! Boot and shutdown of a kernel whose host is in C. The static library exports these; a kernel in Rust boots itself.
#![expect(unsafe_code, reason = "takes memory from C, and a kernel that nobody uses any more out of its own")]

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::abi::{ifnet_config, ifnet_host, ifnet_kernel_t};
use super::host::{self, CHost, Functions, LockedPool, Memory};
use super::lock;
use super::raw::{self, errno};
use super::registry::{CKernel, Claim, Kernels, with_kernel};
use crate::mem::{FixedPool, raw as piece};
use crate::{Config, Errno, Kernel, TaskMode};

/// How many threads may be entered at a time, if the host does not say.
const THREADS: u32 = 16;
/// At most as many.
const THREADS_MAX: u32 = 1024;

/// `ifnet_boot` of the header.
///
/// # Safety
/// Pointers that are not null point to what their types say; `memory`, to `len` bytes that are nobody else's.
pub unsafe fn ifnet_boot(
    host: *const ifnet_host,
    memory: *mut c_void,
    len: usize,
    config: *const ifnet_config,
    kernel: *mut ifnet_kernel_t,
) -> c_int {
    if kernel.is_null() {
        return Errno::EINVAL.value();
    }
    // SAFETY: the caller's promise.
    let booted = unsafe {
        raw::get(host).ok_or(Errno::EINVAL).and_then(|host| {
            let config = raw::get(config).unwrap_or_default();
            boot(&host, memory.cast(), len, config)
        })
    };
    // SAFETY: the caller's promise.
    errno(booted.and_then(|booted| unsafe { raw::put(kernel, booted) }))
}

/// `ifnet_shutdown` of the header.
pub fn ifnet_shutdown(kernel: ifnet_kernel_t) -> c_int {
    errno(shutdown(kernel))
}

/// `ifnet_memory_in_use` of the header.
pub fn ifnet_memory_in_use(kernel: ifnet_kernel_t) -> usize {
    with_kernel::<CHost, _>(kernel, |kernel| kernel.kernel.platform().memory.in_use()).unwrap_or(0)
}

/// # Safety
/// Unless the host has a heap or `memory` is null: `memory` points to `len` bytes that nobody else uses until the kernel
/// is shut down, or until this has failed.
unsafe fn boot(host: &ifnet_host, memory: *mut u8, len: usize, config: ifnet_config) -> Result<ifnet_kernel_t, Errno> {
    let functions = Functions::check(host)?;
    let ifnet_config { threads, immediate_tasks } = config;
    let threads = if threads == 0 { THREADS } else { threads };
    if threads > THREADS_MAX || (memory.is_null() && !functions.has_heap()) {
        return Err(Errno::EINVAL);
    }
    lock::begin_use(functions.locks())?;
    let opened = Kernels::claim().and_then(|claim| {
        host::receive_panics(Some(functions));
        let memory = match Memory::heap(&functions) {
            Some(heap) => heap,
            // SAFETY: the caller's promise.
            None => Memory::pool(unsafe { pool_over(memory, len) }?),
        };
        let tasks = if immediate_tasks == 0 { TaskMode::Deferred } else { TaskMode::Immediate };
        let whole = build(&claim, CHost { functions, memory }, threads as usize, tasks);
        let whole = whole.inspect_err(|_| memory.end())?;
        // SAFETY: it was built for this place, and `shutdown` closes that before it frees it.
        Ok(unsafe { claim.open(whole) })
    });
    if opened.is_err() {
        lock::end_use();
        pass_panics_on();
    }
    opened
}

/// After a host has gone: another one hears of panics.
fn pass_panics_on() {
    host::receive_panics(Kernels::<CHost>::find(|kernel| Some(kernel.kernel.platform().functions)));
}

/// Makes the pool, which lies at the beginning of its own memory.
///
/// # Safety
/// As [`boot`].
unsafe fn pool_over(memory: *mut u8, len: usize) -> Result<&'static LockedPool, Errno> {
    let skip = memory.align_offset(align_of::<LockedPool>());
    let begin = skip.checked_add(size_of::<LockedPool>()).filter(|begin| *begin < len).ok_or(Errno::ENOMEM)?;
    // SAFETY:
    // 1. `skip + size_of::<LockedPool>() < len`: both pieces lie in the memory and do not overlap.
    // 2. The first is aligned for what is written into it.
    // 3. Nobody else uses them for as long as this kernel lives (the caller's promise), and nothing that uses them
    //    outlives it: `'static` is that long.
    unsafe {
        let rest = core::slice::from_raw_parts_mut(memory.add(begin).cast::<MaybeUninit<u8>>(), len - begin);
        let pool = memory.add(skip).cast::<LockedPool>();
        pool.write(LockedPool::new(FixedPool::new(rest)));
        Ok(&*pool)
    }
}

fn build(claim: &Claim<CHost>, host: CHost, threads: usize, tasks: TaskMode) -> Result<NonNull<CKernel<CHost>>, Errno> {
    let memory = host.memory;
    // One more: the kernel's own shutdown is a thread.
    let config = Config::default().threads(threads + 1).tasks(tasks);
    let kernel = piece::try_alloc(&memory, Kernel::boot(host, config)?).map_err(|(no_mem, kernel)| {
        kernel.shutdown();
        no_mem
    })?;
    // SAFETY: it was just allocated, and lives until `unbuild`, which ends first what is built here.
    let whole = unsafe { claim.build(kernel.as_ref(), threads) };
    let whole = whole.and_then(|whole| piece::try_alloc(&memory, whole).map_err(|(no_mem, _)| no_mem.into()));
    // SAFETY: nobody else knows of the kernel yet.
    whole.inspect_err(|_| unsafe { unbuild(memory, kernel) })
}

/// # Safety
/// `kernel` came from [`build`], and nobody uses it.
unsafe fn unbuild(memory: Memory, kernel: NonNull<Kernel<CHost>>) {
    // SAFETY: the caller's promise; it is moved out, and its memory given back without dropping it again.
    unsafe {
        kernel.read().shutdown();
        piece::free(&memory, kernel);
    }
}

fn shutdown(kernel: ifnet_kernel_t) -> Result<(), Errno> {
    let (whole, claim) = Kernels::<CHost>::close(kernel, is_empty)?;
    // SAFETY:
    // 1. The two came from `build`. They are this caller's alone: the place was closed, so there are no pins, and no thread
    //    is entered.
    // 2. What refers to the kernel is dropped first. What was read out of memory is not dropped there again.
    unsafe {
        let memory = whole.as_ref().kernel.platform().memory;
        let kernel = NonNull::from(whole.as_ref().kernel);
        drop(whole.read());
        piece::free(&memory, whole);
        unbuild(memory, kernel);
        memory.end();
    }
    lock::end_use();
    drop(claim);
    pass_panics_on();
    Ok(())
}

/// Whether nothing is left that would outlive the kernel.
fn is_empty(kernel: &CKernel<CHost>) -> Result<(), Errno> {
    let mut vnets = 0;
    kernel.kernel.vnet_foreach(|_| vnets += 1);
    kernel.is_left()?;
    if vnets == 1 { Ok(()) } else { Err(Errno::EBUSY) }
}
