//! A PC with one CPU and four threads, which the timer takes the CPU from a thousand times a second.
//!
//! QEMU loads the kernel as a Xen guest (PVH): it begins in 32-bit mode without paging. The first lines map the first
//! gigabyte onto itself and go to 64-bit mode. Workers are threads, each with a stack; what a switch leaves on a stack is
//! exactly what the interrupt has put there.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Verdict;
use crate::{interrupt, stack};

/// One takes interrupts.
pub const CPUS: usize = 1;
/// Threads.
pub const WORKERS: usize = 4;

const SERIAL: u16 = 0x3f8;
const DEBUG_EXIT: u16 = 0xf4;
const PIC_FIRST: u16 = 0x20;
const PIC_SECOND: u16 = 0xa0;
const PIT_CHANNEL: u16 = 0x40;
const PIT_COMMAND: u16 = 0x43;
/// 1.193182 MHz by this is a millisecond.
const PIT_DIVISOR: u16 = 1193;

/// Exceptions have the vectors below this one.
const VECTOR_TIMER: usize = 32;
const VECTOR_SPURIOUS: usize = VECTOR_TIMER + 7;
/// A thread gives the CPU away.
const VECTOR_YIELD: usize = 48;
const VECTORS: usize = 49;

const CODE_SEGMENT: u64 = 0x08;
const DATA_SEGMENT: u64 = 0x10;
const FLAG_INTERRUPTS: u64 = 1 << 9;

static IN_INTERRUPT: AtomicBool = AtomicBool::new(false);
/// The thread that runs.
static CURRENT: AtomicUsize = AtomicUsize::new(0);
/// Where the stacks of the others were left.
static SAVED: [AtomicUsize; WORKERS] = [const { AtomicUsize::new(0) }; WORKERS];
static START_INFO: AtomicUsize = AtomicUsize::new(0);

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad pvh_start

    .section .bss.boot, "aw", @nobits
    .balign 4096
pml4:   .skip 4096
pdpt:   .skip 4096
pd:     .skip 4096

    .section .rodata.boot, "a"
    .balign 8
gdt:    .quad 0
        .quad 0x00af9a000000ffff
        .quad 0x00cf92000000ffff
gdt_end:
gdt_ptr:
    .word gdt_end - gdt - 1
    .quad gdt

    .section .text.entry, "ax"
    .code32
    .globl pvh_start
pvh_start:
    cli
    movl $pdpt + 3, pml4
    movl $pd + 3, pdpt
    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax
    movl %eax, pd(,%ecx,8)
    incl %ecx
    cmpl $512, %ecx
    jne 1b
    movl $pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    lgdt gdt_ptr
    ljmp $0x08, $2f

    .code64
2:  movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %ebx, %edi
    leaq {stacks}(%rip), %rsp
    addq ${stack}, %rsp
    call {start}
    ud2

    .macro interrupt_stub name, handler
    \name:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    cld
    call \handler
    movq %rax, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    iretq
    .endm

    .section .text, "ax"
    .globl timer_stub, yield_stub, spurious_stub, trap_stub
    interrupt_stub timer_stub, {timer}
    interrupt_stub yield_stub, {switch}
spurious_stub:
    iretq
trap_stub:
    movq %rsp, %rdi
    andq $-16, %rsp
    call {trap}
    ud2
    "#,
    stacks = sym stack::STACKS,
    stack = const stack::SIZE,
    start = sym boot,
    timer = sym timer,
    switch = sym switch,
    trap = sym trap,
    options(att_syntax),
);

unsafe extern "C" {
    fn timer_stub();
    fn yield_stub();
    fn spurious_stub();
    fn trap_stub();
}

/// What a stub leaves on a stack, lowest address first.
#[repr(C)]
struct Frame {
    /// `r15` … `r8`, `rbp`, `rdi`, `rsi`, `rdx`, `rcx`, `rbx`, `rax`.
    registers: [u64; 15],
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Which of `registers` is the first argument.
const RDI: usize = 9;

/// The interrupt descriptor table.
#[repr(C, align(16))]
struct Idt(UnsafeCell<[[u64; 2]; VECTORS]>);

// SAFETY: written once, by the only CPU, before interrupts are on.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([[0; 2]; VECTORS]));

/// Where the assembly above ends.
extern "C" fn boot(start_info: usize) -> ! {
    START_INFO.store(start_info, Ordering::Relaxed);
    set_vectors();
    start_timer();
    for (worker, saved) in SAVED.iter().enumerate().skip(1) {
        saved.store(first_frame(worker), Ordering::Relaxed);
    }
    interrupts_on();
    crate::start(0)
}

fn set_vectors() {
    for vector in 0..VECTORS {
        let handler: unsafe extern "C" fn() = match vector {
            VECTOR_TIMER => timer_stub,
            VECTOR_YIELD => yield_stub,
            VECTOR_SPURIOUS => spurious_stub,
            _ => trap_stub,
        };
        let at = handler as usize as u64;
        // Present, an interrupt gate: the CPU masks interrupts.
        let low = at & 0xffff | CODE_SEGMENT << 16 | 0x8e00 << 32 | (at & 0xffff_0000) << 32;
        // SAFETY: nobody else uses the table yet, and `vector` is inside it.
        unsafe { (*IDT.0.get())[vector] = [low, at >> 32] };
    }
    let limit = (VECTORS * 16 - 1) as u64;
    let base = IDT.0.get().expose_provenance() as u64;
    let pointer = [limit | base << 16, base >> 48];
    // SAFETY: `pointer` is ten bytes of limit and base, and the table stays for ever.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack)) };
}

fn start_timer() {
    for (port, value) in [
        // Both interrupt controllers: initialise; from which vector; how they are connected; 8086 mode; all but the timer off.
        (PIC_FIRST, 0x11),
        (PIC_SECOND, 0x11),
        (PIC_FIRST + 1, VECTOR_TIMER as u8),
        (PIC_SECOND + 1, VECTOR_TIMER as u8 + 8),
        (PIC_FIRST + 1, 4),
        (PIC_SECOND + 1, 2),
        (PIC_FIRST + 1, 1),
        (PIC_SECOND + 1, 1),
        (PIC_FIRST + 1, 0xfe),
        (PIC_SECOND + 1, 0xff),
        // The timer: channel 0, both bytes, a rate.
        (PIT_COMMAND, 0x34),
        (PIT_CHANNEL, PIT_DIVISOR.to_le_bytes()[0]),
        (PIT_CHANNEL, PIT_DIVISOR.to_le_bytes()[1]),
    ] {
        out_byte(port, value);
    }
}

/// Puts on the stack of a worker what makes it begin when it is switched to.
fn first_frame(worker: usize) -> usize {
    let top = stack::top(worker).expose_provenance();
    // As behind a call: the stack is aligned before the return address is pushed.
    let rsp = top - 8;
    let mut frame = Frame {
        registers: [0; 15],
        rip: begin as extern "C" fn(usize) -> ! as usize as u64,
        cs: CODE_SEGMENT,
        rflags: FLAG_INTERRUPTS,
        rsp: rsp as u64,
        ss: DATA_SEGMENT,
    };
    frame.registers[RDI] = worker as u64;
    let at = rsp - size_of::<Frame>();
    // SAFETY: on the stack of a thread that has not begun; aligned to 8, as the stack's end is to 16.
    unsafe { core::ptr::with_exposed_provenance_mut::<Frame>(at).write(frame) };
    at
}

extern "C" fn begin(worker: usize) -> ! {
    crate::start(worker)
}

/// The timer's handler, with interrupts off, on the stack of what it interrupted.
extern "C" fn timer(frame: usize) -> usize {
    out_byte(PIC_FIRST, 0x20);
    IN_INTERRUPT.store(true, Ordering::Relaxed);
    interrupt::tick(0);
    IN_INTERRUPT.store(false, Ordering::Relaxed);
    switch(frame)
}

/// The next thread gets the CPU, with interrupts off. Gives the place where its stack was left.
extern "C" fn switch(frame: usize) -> usize {
    let current = CURRENT.load(Ordering::Relaxed);
    SAVED[current].store(frame, Ordering::Relaxed);
    let next = (current + 1) % WORKERS;
    CURRENT.store(next, Ordering::Relaxed);
    SAVED[next].load(Ordering::Relaxed)
}

/// An exception; some have pushed an error code first.
extern "C" fn trap(stack: *const [u64; 4]) -> ! {
    let address: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    // SAFETY: the CPU has pushed more than four words.
    let words = unsafe { stack.read() };
    panic!("trap: {words:#x?} on the stack, cr2 {address:#x}");
}

/// There is one.
pub fn cpu() -> usize {
    0
}

/// The thread that runs.
pub fn worker() -> usize {
    CURRENT.load(Ordering::Relaxed)
}

/// Whether this is the timer's handler.
pub fn in_interrupt() -> bool {
    IN_INTERRUPT.load(Ordering::Relaxed)
}

/// Masks interrupts. Whether they were on.
pub fn interrupts_off() -> bool {
    let flags: u64;
    // SAFETY: the stack is balanced again; there is no red zone. Not `nomem`: nothing may be moved out of the masked part.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    flags & FLAG_INTERRUPTS != 0
}

/// Unmasks interrupts.
pub fn interrupts_on() {
    // SAFETY: the handlers save what they change.
    unsafe { asm!("sti", options(nostack)) };
}

/// Gives the CPU to the next thread.
pub fn doze(_: &AtomicBool) {
    // SAFETY: the handler of this vector returns here with everything as it was.
    unsafe { asm!("int {}", const VECTOR_YIELD) };
}

/// A lock that is held is never asked for: its holder is not interrupted.
pub fn stop() {
    panic!("a lock was taken twice");
}

/// Its turn comes anyhow.
pub fn kick(_: usize) {}

/// Where the stack is now.
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

fn out_byte(port: u16, value: u8) {
    // SAFETY: the ports above are those of a PC's devices, and none of them touches memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

fn in_byte(port: u16) -> u8 {
    let value: u8;
    // SAFETY: as `out_byte`.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte to the serial line.
pub fn put(byte: u8) {
    while in_byte(SERIAL + 5) & 0x20 == 0 {}
    out_byte(SERIAL, byte);
}

/// Ends QEMU. Its exit status is twice the number written, and one: never zero, so all is well is 33.
pub fn exit(verdict: Verdict) -> ! {
    loop {
        out_byte(DEBUG_EXIT, 0x10 + verdict as u8);
    }
}

/// `cmdline_paddr` of `struct hvm_start_info`.
pub fn command_line() -> &'static str {
    let start_info = START_INFO.load(Ordering::Relaxed);
    let at = core::ptr::with_exposed_provenance::<u64>(start_info + 24);
    // SAFETY: the loader has put the structure there, in the first gigabyte, and nothing else uses that memory.
    let line = unsafe { at.read() };
    if line == 0 {
        return "";
    }
    // SAFETY: as above; the string ends with a zero.
    unsafe { core::ffi::CStr::from_ptr(core::ptr::with_exposed_provenance(line as usize)) }.to_str().unwrap_or("")
}
