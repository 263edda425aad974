//! What differs from machine to machine. Each machine gives the rest of the kernel the same few things:
//!
//! | | |
//! |---|---|
//! | `CPUS`, `cpu()` | how many CPUs take interrupts, and which one this is |
//! | `WORKERS`, `worker()` | how many threads of control there are, and which one this is |
//! | `interrupts_off()`, `interrupts_on()` | masks and unmasks them on this CPU; the first tells whether they were on |
//! | `in_interrupt()` | whether this is a handler |
//! | `doze(flag)` | gives the CPU away until `flag` is set, or an interrupt has come, or for no reason |
//! | `stop()` | stops the CPU, with interrupts off, until it is kicked, or for no reason |
//! | `kick(worker)` | ends the doze of another, and its stop |
//! | `stack_pointer()` | where this stack is now |
//! | `put(byte)` | the console |
//! | `command_line()` | what the boot loader was told |
//! | `exit(verdict)` | ends the machine |
//!
//! It calls `crate::start(worker)` once for each worker, on that worker's stack, with interrupts on, and
//! `crate::interrupt::tick(cpu)` from the timer's handler of each CPU.

#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "riscv64")]
pub use riscv64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

/// How the kernel ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Ok = 0,
    /// The emulated kernel has panicked, with one of the specified texts.
    Panicked = 3,
    /// An expectation of this kernel failed, or the machine trapped.
    Broken = 5,
}
