//! The answers of a service to the user who runs it, on the same machine and without a port.
//!
//! `rva status` asks a service that works in a data folder without any configuration: the service listens on an
//! abstract Unix socket, whose name says the folder and the service's role in it. The folder is named by its device and
//! inode, so each spelling of its path finds the same socket. Nothing lies in the file system, so nothing stays behind.
//! Only processes of the same user, and root's, are answered.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// The role of a service in a data folder: each is played by one process at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `rva run`: everything.
    Run,
    /// The ingest.
    Ingest,
    /// What refines bronze.
    Refine,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Run, Self::Ingest, Self::Refine];

    /// Returns the role's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Ingest => "ingest",
            Self::Refine => "refine",
        }
    }

    /// Returns the name of the socket at which whoever plays the role in a folder answers, as paths of Unix sockets
    /// write it: a zero byte stands before an abstract name.
    ///
    /// # Errors
    /// Returns an error where the folder isn't there.
    pub fn socket(self, folder: &Path) -> io::Result<PathBuf> {
        let folder = fs::metadata(folder)?;
        let name = format!("\0rva/{:x}-{:x}/{}", folder.dev(), folder.ino(), self.name());
        Ok(OsString::from_vec(name.into_bytes()).into())
    }
}

/// Returns whether a process of this user asks, or root does.
pub(crate) fn may_ask(peer: u32) -> bool {
    peer == rustix::process::geteuid().as_raw() || peer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_socket_a_role_however_its_path_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let of = |path: &Path, role: Role| role.socket(path).unwrap();
        assert_eq!(of(folder.path(), Role::Run), of(&link, Role::Run));
        assert_ne!(of(folder.path(), Role::Run), of(folder.path(), Role::Ingest));
        assert!(Role::Run.socket(&folder.path().join("none")).is_err());
    }

    #[test]
    fn other_users_are_not_answered() {
        let own = rustix::process::geteuid().as_raw();
        assert!(may_ask(own) && may_ask(0) && !may_ask(own + 1));
    }
}
