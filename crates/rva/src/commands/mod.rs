//! One module for each command.

pub mod backup;
pub mod completions;
pub mod config;
pub mod detect;
pub mod doctor;
pub mod eval;
pub mod forget;
pub mod help;
pub mod ingest;
pub mod init;
pub mod maintain;
pub mod query;
pub mod refine;
pub mod replay;
pub mod report;
pub mod run;
pub mod status;
pub mod tables;
pub mod verify;
