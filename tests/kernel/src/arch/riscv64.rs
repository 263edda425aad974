//! QEMU's `virt`: four harts in machine mode, a UART, the CLINT's timers and software interrupts, the test device.
//!
//! All harts start at once at the same address, and tell each other apart by `mhartid`. A hart is a worker.
//!
//! The floating-point unit stays off: an instruction that used it would trap, and so a handler need not save its
//! registers.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Verdict;
use crate::{interrupt, stack};

/// One for each hart.
pub const CPUS: usize = 4;
/// The same.
pub const WORKERS: usize = CPUS;

const UART: usize = 0x1000_0000;
const TEST_DEVICE: usize = 0x10_0000;
const CLINT_MSIP: usize = 0x200_0000;
const CLINT_MTIMECMP: usize = 0x200_4000;
const CLINT_MTIME: usize = 0x200_bff8;
/// A millisecond of `mtime`.
const TICK: u64 = 10_000;

const MSTATUS_MIE: usize = 1 << 3;
const MIE_SOFTWARE: usize = 1 << 3;
const MIE_TIMER: usize = 1 << 7;
const CAUSE_INTERRUPT: usize = 1 << 63;
const CAUSE_SOFTWARE: usize = CAUSE_INTERRUPT | 3;
const CAUSE_TIMER: usize = CAUSE_INTERRUPT | 7;

static IN_INTERRUPT: [AtomicBool; CPUS] = [const { AtomicBool::new(false) }; CPUS];
/// Where the device tree is.
static DEVICE_TREE: AtomicUsize = AtomicUsize::new(0);

// A hart takes its stack from `STACKS` by its number; those that are too many sleep for ever. The handler saves what the
// called function may change.
global_asm!(
    r#"
    .section .text.entry, "ax"
    .globl _start
_start:
    .option arch, +m
    csrr a0, mhartid
    li t1, {workers}
    bgeu a0, t1, 2f
    addi t2, a0, 1
    li t3, {stack}
    mul t2, t2, t3
    la sp, {stacks}
    add sp, sp, t2
    la t0, trap_vector
    csrw mtvec, t0
    call {start}
2:  wfi
    j 2b

    .section .text, "ax"
    .balign 4
trap_vector:
    addi sp, sp, -128
    sd ra, 0(sp)
    sd t0, 8(sp)
    sd t1, 16(sp)
    sd t2, 24(sp)
    sd t3, 32(sp)
    sd t4, 40(sp)
    sd t5, 48(sp)
    sd t6, 56(sp)
    sd a0, 64(sp)
    sd a1, 72(sp)
    sd a2, 80(sp)
    sd a3, 88(sp)
    sd a4, 96(sp)
    sd a5, 104(sp)
    sd a6, 112(sp)
    sd a7, 120(sp)
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    call {trap}
    ld ra, 0(sp)
    ld t0, 8(sp)
    ld t1, 16(sp)
    ld t2, 24(sp)
    ld t3, 32(sp)
    ld t4, 40(sp)
    ld t5, 48(sp)
    ld t6, 56(sp)
    ld a0, 64(sp)
    ld a1, 72(sp)
    ld a2, 80(sp)
    ld a3, 88(sp)
    ld a4, 96(sp)
    ld a5, 104(sp)
    ld a6, 112(sp)
    ld a7, 120(sp)
    addi sp, sp, 128
    mret
    "#,
    workers = const WORKERS,
    stack = const stack::SIZE,
    stacks = sym stack::STACKS,
    start = sym hart_start,
    trap = sym trap,
);

/// Where a hart comes out of the assembly above.
extern "C" fn hart_start(hart: usize, device_tree: usize) -> ! {
    DEVICE_TREE.store(device_tree, Ordering::Relaxed);
    next_tick(hart);
    // SAFETY: `mtvec` points to the handler, which may run from here on.
    unsafe { asm!("csrw mie, {}", in(reg) MIE_SOFTWARE | MIE_TIMER, options(nostack)) };
    interrupts_on();
    crate::start(hart)
}

/// The handler, with interrupts off, on the stack of what it interrupted.
extern "C" fn trap(cause: usize, pc: usize, value: usize) {
    let hart = cpu();
    match cause {
        CAUSE_TIMER => {
            next_tick(hart);
            IN_INTERRUPT[hart].store(true, Ordering::Relaxed);
            interrupt::tick(hart);
            IN_INTERRUPT[hart].store(false, Ordering::Relaxed);
        }
        // Nothing else to do: whoever was kicked looks again.
        CAUSE_SOFTWARE => write_register::<u32>(CLINT_MSIP + 4 * hart, 0),
        _ => panic!("trap: cause {cause:#x} at {pc:#x}, value {value:#x}"),
    }
}

fn next_tick(hart: usize) {
    // From now, and not from when it was due: a slow machine loses ticks, and does not choke on them.
    let now = read_register::<u64>(CLINT_MTIME);
    write_register::<u64>(CLINT_MTIMECMP + 8 * hart, now + TICK);
}

fn read_register<T>(address: usize) -> T {
    // SAFETY: the addresses above are registers of this machine, of this width, and reading them changes no memory.
    unsafe { core::ptr::with_exposed_provenance::<T>(address).read_volatile() }
}

fn write_register<T>(address: usize, value: T) {
    // SAFETY: as `read_register`.
    unsafe { core::ptr::with_exposed_provenance_mut::<T>(address).write_volatile(value) };
}

/// The hart that this runs on.
pub fn cpu() -> usize {
    let hart: usize;
    // SAFETY: reads a register.
    unsafe { asm!("csrr {}, mhartid", out(reg) hart, options(nomem, nostack, preserves_flags)) };
    hart
}

/// The same.
pub fn worker() -> usize {
    cpu()
}

/// Whether this is the timer's handler.
pub fn in_interrupt() -> bool {
    IN_INTERRUPT[cpu()].load(Ordering::Relaxed)
}

/// Masks interrupts on this hart. Whether they were on.
pub fn interrupts_off() -> bool {
    let before: usize;
    // SAFETY: touches one bit of a register of this hart. Not `nomem`: nothing may be moved out of the masked part.
    unsafe { asm!("csrrc {}, mstatus, {}", out(reg) before, in(reg) MSTATUS_MIE, options(nostack)) };
    before & MSTATUS_MIE != 0
}

/// Unmasks interrupts on this hart.
pub fn interrupts_on() {
    // SAFETY: as above; the handler saves what it changes.
    unsafe { asm!("csrs mstatus, {}", in(reg) MSTATUS_MIE, options(nostack)) };
}

/// Waits for an interrupt, unless `flag` is set. With interrupts off, `wfi` still ends when one is pending: a kick
/// between the look at the flag and the `wfi` is not lost.
pub fn doze(flag: &AtomicBool) {
    interrupts_off();
    if !flag.load(Ordering::SeqCst) {
        // SAFETY: waits.
        unsafe { asm!("wfi", options(nostack)) };
    }
    interrupts_on();
}

/// Waits for a kick, with interrupts off and left off. The kick is used up, which is no loss to `doze`: a flag was set
/// before it. The timer has to wait, or it would end the wait at once and for ever.
pub fn stop() {
    // SAFETY: touches one bit of a register of this hart, waits, and puts the bit back.
    unsafe { asm!("csrc mie, {0}", "wfi", "csrs mie, {0}", in(reg) MIE_TIMER, options(nostack)) };
    write_register::<u32>(CLINT_MSIP + 4 * cpu(), 0);
}

/// Sends a software interrupt.
pub fn kick(worker: usize) {
    write_register::<u32>(CLINT_MSIP + 4 * worker, 1);
}

/// Where the stack is now.
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// Writes a byte to the UART.
pub fn put(byte: u8) {
    while read_register::<u8>(UART + 5) & 0x20 == 0 {}
    write_register::<u8>(UART, byte);
}

/// Ends QEMU with the verdict as its exit status.
pub fn exit(verdict: Verdict) -> ! {
    let code = match verdict {
        Verdict::Ok => 0x5555,
        failed => (failed as u32) << 16 | 0x3333,
    };
    loop {
        write_register::<u32>(TEST_DEVICE, code);
    }
}

/// `/chosen/bootargs`: the value of the property of that name, wherever it stands.
pub fn command_line() -> &'static str {
    let start = DEVICE_TREE.load(Ordering::Relaxed);
    let word = |at: usize| u32::from_be(read_register::<u32>(start + at)) as usize;
    let text = |at: usize| {
        // SAFETY: the loader has put a device tree there, whose strings end with a zero, and nothing else uses that memory.
        unsafe { core::ffi::CStr::from_ptr(core::ptr::with_exposed_provenance(start + at)) }.to_str().unwrap_or("")
    };
    let (mut at, strings) = (word(8), word(12));
    loop {
        at += 4;
        match word(at - 4) {
            // A node begins: its name.
            1 => at += (text(at).len() + 4) & !3,
            // A property: its length, the place of its name, its value.
            3 => {
                if text(strings + word(at + 4)) == "bootargs" {
                    return text(at + 8);
                }
                at += 8 + ((word(at) + 3) & !3);
            }
            // A node ends; nothing.
            2 | 4 => {}
            _ => return "",
        }
    }
}
