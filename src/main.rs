//! The `ship` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ship::cli::main(std::env::args_os().collect())
}
