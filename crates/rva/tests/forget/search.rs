//! A search in every byte of a folder: what is packed is unpacked, as far as files of tables are.

use arrow::{record_batch::RecordBatch, util::pretty::pretty_format_batches};
use iceberg::spec::{FormatVersion, Manifest, ManifestList};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for path in fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The bytes of a file, and what they mean where they are packed.
fn contents(path: &Path) -> Vec<Vec<u8>> {
    let Ok(raw) = fs::read(path) else { return Vec::new() };
    let name = path.display().to_string();
    let mut found = Vec::new();
    if name.ends_with(".parquet") {
        let file = fs::File::open(path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        found.push(pretty_format_batches(&batches).unwrap().to_string().into_bytes());
    } else if name.ends_with(".avro") {
        let text = match Manifest::parse_avro(&raw) {
            Ok(manifest) => format!("{:?}", manifest.entries()),
            Err(_) => format!("{:?}", ManifestList::parse_with_version(&raw, FormatVersion::V2).unwrap().entries()),
        };
        found.push(text.into_bytes());
    } else if name.ends_with(".zst") {
        found.push(zstd::decode_all(&raw[..]).unwrap());
    }
    found.push(raw);
    found
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The files below a folder that hold one of some texts, as text or as the hexadecimal digits of its bytes.
pub fn files_holding(folder: &Path, texts: &[String]) -> Vec<String> {
    // What all of them begin with is looked for first: a window over megabytes for each of hundreds would take minutes.
    let common = texts.iter().skip(1).fold(texts[0].clone(), |common, text| {
        common.chars().zip(text.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect()
    });
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let is_in = |bytes: &[u8]| {
        [common.clone(), hex(&common)].iter().any(|common| holds(bytes, common.as_bytes()))
            && texts.iter().any(|text| holds(bytes, text.as_bytes()) || holds(bytes, hex(text).as_bytes()))
    };
    let hit = |path: &PathBuf| contents(path).iter().any(|bytes| is_in(bytes));
    files(folder).into_iter().filter(hit).map(|path| path.display().to_string()).collect()
}

/// The content of every file of warehouse and log: what a command changed shows in it.
pub fn snapshot_of(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = super::parts(data).into_iter().flat_map(|folder| files(&folder));
    // Who opens the log to write, and nobody else, is named there.
    all.filter(|path| !path.ends_with("writer.lock")).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}
