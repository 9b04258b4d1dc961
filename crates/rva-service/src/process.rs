//! Where the layers of the configuration come from in this process.

use crate::{ConfigError, Layers, Loaded, Origin, Override, Problem, load};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Read when no other is named and it is there.
const DEFAULT_FILE: &str = "rva.yaml";

/// Merges default, file, the process's environment and flags. The file is the named one, else `rva.yaml` of the working
/// directory where there is one.
///
/// # Errors
/// The named file can't be read, or all problems of the configuration.
pub fn load_of_process(file: Option<&Path>, overrides: Vec<Override>) -> Result<Loaded, ConfigError> {
    let file = read(file)?;
    load(&Layers { file, environment: std::env::vars_os().filter_map(text).collect(), overrides })
}

/// Variables that are no text can't be ours.
fn text((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn read(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match crate::text_of_file(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(ConfigError {
            problems: vec![Problem {
                path: "file".to_owned(),
                text: format!("{error}, wanted a YAML file"),
                origin: Origin::File { path: path.to_owned(), line: None },
            }],
        }),
    }
}
