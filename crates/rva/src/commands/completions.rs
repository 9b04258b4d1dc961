//! `rva completions`: a script for a shell.

use crate::{cli::Cli, exit::Exit, output::to_stdout};
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Writes the script to stdout.
///
/// # Errors
/// Returns an error where stdout can't be written.
pub fn run(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "rva", &mut script);
    to_stdout(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
