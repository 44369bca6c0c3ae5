//! Parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    fga_sync::command::complete_if_asked();
    ExitCode::from(fga_sync::command::main(std::env::args_os()))
}
