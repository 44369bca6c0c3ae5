//! Parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(fga_sync::command::main(std::env::args_os()))
}
