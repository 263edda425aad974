//! The `ifnet` command. See `ifnet help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ifnet_std::cli::main()
}
