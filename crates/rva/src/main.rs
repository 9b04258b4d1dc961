//! `rva`: everything on one machine.

mod annotated;
mod cli;
mod commands;
mod embedded;
mod exit;
mod folder;
mod output;
mod progress;
mod rows;
mod shared_args;
mod spill;
mod table;
mod terminal;

use cli::{Cli, Command};
use exit::{Exit, exit_of};
use rva_service::{load_of_process, raise_open_files, warn_of_plain_text};
use std::process::ExitCode;
use terminal::Terminal;

// What a query gives back, glibc's allocator keeps in an arena for each thread: after a sort that spilled, more than
// half of what was resident was held by nobody.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The stack of threads: DataFusion's planner recurses deeply, and unoptimised frames are large, so the default 2 MiB
/// overflow.
const STACK_BYTES: usize = 32 << 20;

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os().collect()).unwrap_or_else(|error| error.exit());
    let worker = std::thread::Builder::new().name("rva".into()).stack_size(STACK_BYTES).spawn(move || start(cli));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(exit)) => ExitCode::from(exit.code()),
        // The panic has said what it had to say.
        Ok(Err(_)) => ExitCode::from(Exit::Failure.code()),
        Err(error) => {
            eprintln!("error: start a thread: {error}");
            ExitCode::from(Exit::Failure.code())
        }
    }
}

fn start(cli: Cli) -> Exit {
    let terminal = Terminal::new();
    let outcome = run(cli, &terminal);
    match outcome {
        Ok(exit) => exit,
        Err(error) if output::is_closed_pipe(&error) => Exit::Done,
        Err(error) => {
            terminal.say_error(&output::with_causes(&error));
            exit_of(&error)
        }
    }
}

fn run(cli: Cli, terminal: &Terminal) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Completions { shell } => return commands::completions::run(*shell),
        Command::Help { topic } => return commands::help::run(topic.as_deref()),
        _ => {}
    }
    let (file, overrides) = (cli.common.program.config.clone(), cli.overrides());
    let loaded = load_of_process(file.as_deref(), overrides.clone())?;
    let load_again = Box::new(move || load_of_process(file.as_deref(), overrides.clone()));
    terminal.start(&loaded.config.telemetry)?;
    if matches!(cli.command, Command::Run(_) | Command::Init(_) | Command::Ingest(_)) {
        warn_of_plain_text(&loaded.config);
    }
    raise_open_files();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES / 2).build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Run(args) => commands::run::run(args, loaded, load_again, terminal).await,
            Command::Detect(args) => commands::detect::run(args, loaded, terminal).await,
            Command::Init(args) => commands::init::run(args, loaded, terminal).await,
            Command::Ingest(args) => commands::ingest::run(args, loaded, terminal).await,
            Command::Refine(args) => commands::refine::run(args, loaded, load_again, terminal).await,
            Command::Verify(args) => commands::verify::run(args, loaded, terminal).await,
            Command::Replay(args) => commands::replay::run(args, loaded, terminal).await,
            Command::Query(args) => commands::query::run(args, loaded, terminal).await,
            Command::Report(args) => commands::report::run(args, loaded, terminal).await,
            Command::Status(args) => commands::status::run(args, loaded).await,
            Command::Tables(args) => commands::tables::run(args, loaded).await,
            Command::Maintain(args) => commands::maintain::run(args, loaded, terminal).await,
            Command::Backup(args) => commands::backup::run(args, loaded, terminal).await,
            Command::Restore(args) => commands::backup::restore(args, loaded, terminal).await,
            Command::Forget(args) => commands::forget::run(args, loaded, terminal).await,
            Command::Eval(args) => commands::eval::run(&args, terminal),
            Command::Doctor(_) => commands::doctor::run(loaded),
            Command::Config(args) => commands::config::run(args, &loaded),
            Command::Completions { .. } | Command::Help { .. } => Ok(Exit::Done),
        }
    })
}
