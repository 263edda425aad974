//! The `scenario` target: any bytes, as a scenario.

use crate::explore::{Explorer, Failure, FailureKind};
use crate::runner::{Boot, program};
use crate::scenario::{Source, ast, parse};

/// As many statements are run, those in loops counted once; more are only parsed.
const STATEMENTS: usize = 100;

/// Reads bytes as a scenario, prints what was read and reads that again, and runs it with one schedule if it is small.
///
/// # Errors
/// What printing has changed, or the Rust panic of a run: a bug of the runner. How the emulated kernel takes it is the
/// business of other targets; a driver may use `kpi` wrongly, and a kernel panic is then right.
pub fn scenario(bytes: &[u8]) -> Result<(), String> {
    let Ok(source) = Source::from_bytes("fuzz", bytes) else { return Ok(()) };
    let script = match parse(&source) {
        Ok(script) => script,
        Err(diagnostics) => {
            // What is told about it must be tellable.
            let _ = diagnostics.render(false);
            return Ok(());
        }
    };
    let printed = script.to_string();
    match parse(&Source::new("printed", printed.as_str())) {
        Ok(again) if again == script => {}
        Ok(_) => return Err(format!("what was printed means something else:\n{printed}")),
        Err(diagnostics) => return Err(format!("what was printed cannot be read: {diagnostics}\n{printed}")),
    }
    let (mut statements, mut loops) = (0, 0);
    ast::walk(&script.stmts, &mut |stmt| {
        statements += 1;
        loops += usize::from(matches!(stmt.kind, ast::StmtKind::For { .. }));
    });
    if statements > STATEMENTS || loops > 0 || source.text.contains("seq") {
        return Ok(());
    }
    let explorer = Explorer { max_steps: 20_000, ..Explorer::default() };
    let failure = explorer.replay(&program(&source, &script, &Boot::default()), &crate::explore::Schedule::default());
    match failure {
        Some(Failure { kind: FailureKind::Bug, message, .. }) => Err(message),
        _ => Ok(()),
    }
}
