//! The console: one line at a time.

use core::fmt::{self, Write};

use crate::arch;
use crate::lock::TicketLock;

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(arch::put);
        Ok(())
    }
}

static CONSOLE: TicketLock<()> = TicketLock::new(());

/// Prints a line.
pub fn line(text: fmt::Arguments<'_>) {
    let _lock = CONSOLE.lock();
    // The console cannot fail.
    let _ = writeln!(Uart, "{text}");
}

/// Prints the last line of this kernel, from wherever it fails: this CPU may hold the console's lock already.
pub fn last_words(text: fmt::Arguments<'_>) {
    arch::interrupts_off();
    let _ = writeln!(Uart, "\n{text}");
}

/// `println!`.
macro_rules! say {
    ($($text:tt)*) => { crate::console::line(format_args!($($text)*)) };
}
