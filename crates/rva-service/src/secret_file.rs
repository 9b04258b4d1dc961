//! Files as people and orchestrators write them: text with any beginning that editors give it, and files of secrets.

use std::{fs::File, io::Read, path::Path};

/// The longest file of a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The longest file of text, in bytes.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Reads a text file: UTF-8, also with the byte order mark that Windows' editors put first, or UTF-16 with one.
///
/// # Errors
/// Returns an error, with found and wanted, where the file can't be read, is too long or isn't text.
pub fn text_of_file(path: &Path) -> std::io::Result<String> {
    text_of(&bytes_of(path, TEXT_BYTES_MAX)?)
}

/// Reads the secret that a file holds: one line, whose end doesn't count.
///
/// # Errors
/// Returns an error where the file can't be read, is empty, or isn't one line of text. It doesn't repeat what is in it.
pub(crate) fn secret_of_file(path: &Path) -> std::io::Result<String> {
    let text = text_of(&bytes_of(path, SECRET_BYTES_MAX)?)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err(wrong("found nothing in it, wanted the secret".to_owned())),
        line if line.contains(['\n', '\r']) => {
            Err(wrong(format!("found {} lines in it, wanted the secret alone", line.lines().count())))
        }
        line => Ok(line.to_owned()),
    }
}

fn bytes_of(path: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(wrong(format!("found more than {bytes_max} bytes, wanted at most that")));
    }
    Ok(bytes)
}

fn text_of(bytes: &[u8]) -> std::io::Result<String> {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| wrong("found UTF-16 that breaks off, wanted text in UTF-8".to_owned()))
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] | rest => match std::str::from_utf8(rest) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                let at = error.valid_up_to();
                Err(wrong(format!("found a byte that is no UTF-8 at {at}, wanted text in UTF-8")))
            }
        },
    }
}

fn wrong(text: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_editors_of_windows_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let utf_16 = |unit: fn(u16) -> [u8; 2], mark: [u8; 2]| {
            mark.into_iter().chain("a: é\r\n".encode_utf16().flat_map(unit)).collect::<Vec<u8>>()
        };
        for bytes in [
            "a: é\r\n".as_bytes().to_vec(),
            "\u{feff}a: é\r\n".as_bytes().to_vec(),
            utf_16(u16::to_le_bytes, [0xFF, 0xFE]),
            utf_16(u16::to_be_bytes, [0xFE, 0xFF]),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(text_of_file(&path).unwrap(), "a: é\r\n");
        }
        std::fs::write(&path, b"ab\xe9").unwrap();
        assert!(text_of_file(&path).unwrap_err().to_string().contains("no UTF-8 at 2"));
    }

    #[test]
    fn a_file_of_a_secret_holds_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (text, wanted) in [
            ("hush", Ok("hush")),
            ("hush\n", Ok("hush")),
            (" hush \r\n", Ok(" hush ")),
            ("\n", Err("nothing")),
            ("a\nhush\n", Err("2 lines")),
        ] {
            std::fs::write(&path, text).unwrap();
            match (secret_of_file(&path), wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted),
                (Err(error), Err(wanted)) => {
                    assert!(error.to_string().contains(wanted) && !error.to_string().contains("hush"), "{error}");
                }
                (found, wanted) => panic!("{text:?}: found {found:?}, wanted {wanted:?}"),
            }
        }
        assert!(secret_of_file(folder.path()).is_err());
    }
}
