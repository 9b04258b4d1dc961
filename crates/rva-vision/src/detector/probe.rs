//! The probe of a shared library, which asks for its ONNX Runtime version without trusting that it is one.
//!
//! `ort` panics on some wrong libraries (no API table, no such API version), so everything that it takes for granted
//! is checked here first.

use std::{
    ffi::CStr,
    fs::File,
    io::Read,
    os::raw::c_char,
    path::{Path, PathBuf},
};

/// The ONNX Runtime API that `ort` is built for; version `1.N` of the library brings API N and all before it.
pub(crate) const API_WANTED: u32 = ort::MINOR_VERSION;

/// A library that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probed {
    /// The file that the loader took.
    pub path: PathBuf,
    /// The version as the library gives it: `1.31.1`.
    pub version: String,
}

/// The reason why a library can't be used: what was found, without the path.
pub(crate) type Unusable = String;

/// Loads a library (an absolute path, or a bare name for the loader's own search) and checks its version.
pub(crate) fn probe(path: &Path) -> Result<Probed, Unusable> {
    // A bare name is the loader's to resolve; a path can be looked at first.
    if path.components().count() > 1 {
        check_whole(path)?;
    }
    let (version, has_api, loaded_from) = ask(path)?;
    let minor = version.strip_prefix("1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < API_WANTED) {
        return Err(format!("found version {version:?}"));
    }
    if !has_api {
        return Err(format!("found version {version:?} without API {API_WANTED}"));
    }
    Ok(Probed { path: loaded_from.unwrap_or_else(|| path.to_owned()), version })
}

/// Refuses a folder, an empty file, and an ELF file that ends before its segments do: the loader maps such a file and
/// dies of a bus error at the first touch, which no error handling survives. A download that broke off is one.
fn check_whole(path: &Path) -> Result<(), Unusable> {
    let unreadable = |error: std::io::Error| format!("found a file that can't be read ({error})");
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err("found a folder".to_owned());
    }
    let mut head = Vec::new();
    file.by_ref().take(64 * 1024).read_to_end(&mut head).map_err(unreadable)?;
    if cfg!(target_os = "linux") && !head.starts_with(b"\x7fELF") {
        return Err(format!("found a file of {} bytes that isn't a shared library", metadata.len()));
    }
    if let Some(wanted) = elf64_length(&head)
        && metadata.len() < wanted
    {
        return Err(format!("found a file of {} bytes that breaks off, {wanted} or more belong to it", metadata.len()));
    }
    Ok(())
}

/// Returns where the last loadable segment of a 64-bit little-endian ELF file ends; `None` for other files, which the
/// loader refuses by itself. Offsets are those of the ELF-64 object file format, figures 2 and 6.
fn elf64_length(head: &[u8]) -> Option<u64> {
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let mut value = [0u8; 8];
        value[..bytes].copy_from_slice(head.get(at..at.checked_add(bytes)?)?);
        Some(u64::from_le_bytes(value))
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    const LOADABLE: u64 = 1;
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let mut end = 0;
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index * entry)?).ok()?;
        if number(at, 4)? == LOADABLE {
            end = end.max(number(at.checked_add(8)?, 8)?.checked_add(number(at.checked_add(32)?, 8)?)?);
        }
    }
    Some(end)
}

/// Returns the library's version, whether it has our API, and the file that it was loaded from.
#[allow(unsafe_code, reason = "a C library is asked for its table of functions")]
fn ask(path: &Path) -> Result<(String, bool, Option<PathBuf>), Unusable> {
    // SAFETY: loading runs the library's initialisers. The user names the library, or it lies where only ONNX Runtime
    // is put; there is no way to learn its version without loading it.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| format!("found a file that the loader refuses ({})", loader_text(&error)))?;
    // It stays loaded: the one that is chosen is used next, and C++ libraries don't survive being unloaded.
    let library = std::mem::ManuallyDrop::new(library);
    // SAFETY: the symbol's type is that of onnxruntime_c_api.h in every version of ONNX Runtime.
    let symbol = unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase") }
        .map_err(|_| "found a shared library without OrtGetApiBase".to_owned())?;
    // SAFETY: takes nothing and gives null or a table that lives as long as the library.
    let base = unsafe { symbol() };
    if base.is_null() {
        return Err("found a library whose OrtGetApiBase gives nothing".to_owned());
    }
    // SAFETY: not null, and the table's two functions have been the same since version 1.0.
    let (version, api) = unsafe { (((*base).GetVersionString)(), ((*base).GetApi)(API_WANTED)) };
    if version.is_null() {
        return Err("found a library without a version".to_owned());
    }
    // SAFETY: not null, ends with a zero byte, lives as long as the library.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    Ok((version, !api.is_null(), loaded_from(*symbol as *const ())))
}

/// Returns the loader's text without the path, which the caller names.
fn loader_text(error: &libloading::Error) -> String {
    let text = match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    };
    text.rsplit_once(": ").map_or(text.clone(), |(_, last)| last.to_owned())
}

/// Returns the file that holds a function.
#[allow(unsafe_code, reason = "dladdr has no safe wrapper")]
fn loaded_from(function: *const ()) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: all zeros is a value of this struct of pointers and is overwritten on success.
    let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: dladdr takes any address and writes to the struct, which outlives the call.
    let known = unsafe { libc::dladdr(function.cast(), &mut found) };
    let name: *const c_char = found.dli_fname;
    if known == 0 || name.is_null() {
        return None;
    }
    // SAFETY: not null, ends with a zero byte, lives as long as the library, which stays loaded.
    let name = unsafe { CStr::from_ptr(name) };
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())).canonicalize().ok()
}
