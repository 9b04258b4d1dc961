//! Where the layers of the configuration come from in this process.

use crate::{cli::Cli, exit::Refusal};
use rva_service::{Layers, Loaded};
use std::{io::ErrorKind, path::PathBuf};

/// Read when no other is named and it is there.
const DEFAULT_FILE: &str = "rva.yaml";

/// Merges default, file, environment and flags.
///
/// # Errors
/// The named file can't be read, or all problems of the configuration.
pub fn read(cli: &Cli) -> anyhow::Result<Loaded> {
    let layers = Layers {
        file: file(cli)?,
        environment: std::env::vars_os().filter_map(text).collect(),
        overrides: cli.overrides(),
    };
    Ok(rva_service::load(&layers)?)
}

/// Variables that are no text can't be ours.
fn text((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn file(cli: &Cli) -> anyhow::Result<Option<(PathBuf, String)>> {
    let (path, is_named) = match &cli.common.config {
        Some(path) => (path.clone(), true),
        None => (PathBuf::from(DEFAULT_FILE), false),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == ErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => {
            let text = format!("configuration file {}: {error}, wanted a YAML file", path.display());
            Err(Refusal::usage(text).into())
        }
    }
}
