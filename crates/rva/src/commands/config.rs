//! `rva config show`: the merged configuration.

use crate::{
    cli::{ConfigArgs, ConfigCommand, ConfigFormat},
    exit::Exit,
    output::to_stdout,
};
use rva_service::{Loaded, ShowFormat, show};

/// Prints every setting with its origin.
///
/// # Errors
/// Returns an error where stdout can't be written.
pub fn run(args: ConfigArgs, loaded: &Loaded) -> anyhow::Result<Exit> {
    let ConfigCommand::Show { format } = args.command;
    let format = match format {
        ConfigFormat::Yaml => ShowFormat::Yaml,
        ConfigFormat::Json => ShowFormat::Json,
    };
    to_stdout(&show(loaded, format))?;
    Ok(Exit::Done)
}
