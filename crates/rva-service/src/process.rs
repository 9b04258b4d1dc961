//! The layers of the configuration as this process has them.

use crate::{ConfigError, Layers, Loaded, Origin, Override, Problem, load};
use std::{
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The file that is read when no other is named and it is there.
const DEFAULT_FILE: &str = "rva.yaml";

/// A function that reads the configuration of this process once more.
pub type LoadAgain = Box<dyn Fn() -> Result<Loaded, ConfigError> + Send>;

/// Merges default, file, the process's environment and flags. The file is the named one, else `rva.yaml` of the working
/// directory if there is one.
///
/// # Errors
/// Returns an error where the named file can't be read, or with all problems of the configuration.
pub fn load_of_process(file: Option<&Path>, overrides: Vec<Override>) -> Result<Loaded, ConfigError> {
    let file = read(file)?;
    load(&Layers { file, environment: std::env::vars_os().filter_map(text).collect(), overrides })
}

/// Returns a variable as text; one that is no text can't be ours.
fn text((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn read(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let problem = |text: String| ConfigError {
        problems: vec![Problem {
            path: "file".to_owned(),
            text,
            origin: Origin::File { path: path.to_owned(), line: None },
        }],
    };
    if named.is_none()
        && let Ok(found) = std::fs::metadata(path)
        && let Some(text) = foreign(found.uid(), found.mode(), rustix::process::geteuid().as_raw())
    {
        return Err(problem(text));
    }
    match crate::text_of_file(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(problem(format!("{error}, wanted a YAML file"))),
    }
}

/// Returns the reason why a file that nobody named isn't read; `None` where it may be.
fn foreign(owner: u32, mode: u32, user: u32) -> Option<String> {
    let found = if owner != user && owner != 0 {
        format!("a file of another user (number {owner}) in this folder")
    } else if mode & 0o002 != 0 {
        format!("a file in this folder that everybody can write ({:03o})", mode & 0o777)
    } else {
        return None;
    };
    Some(format!("found {found}, wanted one of this user: --config {DEFAULT_FILE} takes it all the same"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nobody_named_is_read_where_it_is_ones_own() {
        for (owner, mode, user, wanted) in [
            (1000, 0o644, 1000, ""),
            (0, 0o644, 1000, ""),
            (1000, 0o664, 1000, ""),
            (1001, 0o644, 1000, "another user (number 1001)"),
            (1001, 0o644, 0, "another user (number 1001)"),
            (1000, 0o646, 1000, "everybody can write (646)"),
        ] {
            let found = foreign(owner, mode, user).unwrap_or_default();
            assert!(
                found.contains(wanted) && found.is_empty() == wanted.is_empty(),
                "{owner} {mode:o} {user}: {found}"
            );
            assert!(found.is_empty() || found.contains("--config rva.yaml"), "{found}");
        }
    }
}
