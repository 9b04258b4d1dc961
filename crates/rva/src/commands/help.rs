//! `rva help`: the help of the program, of a command, or the table of exit codes.

use crate::{
    cli::Cli,
    exit::{Exit, Refusal, table_text},
    output::to_stdout,
};
use clap::CommandFactory;

const EXIT_CODES: &str = "exit-codes";

/// Prints the help of the program, of a command, or the table of exit codes.
///
/// # Errors
/// Returns an error where there is no such topic.
pub fn run(topic: Option<&str>) -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    command.build();
    let text = match topic {
        None => command.render_long_help().to_string(),
        Some(EXIT_CODES) => table_text(),
        Some(topic) => match command.find_subcommand_mut(topic) {
            Some(found) => found.render_long_help().to_string(),
            None => {
                let known: Vec<String> = Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
                let text = format!("found help topic {topic:?}, wanted {EXIT_CODES} or one of {}", known.join(", "));
                return Err(Refusal::usage(text).into());
            }
        },
    };
    to_stdout(&text)?;
    Ok(Exit::Done)
}
