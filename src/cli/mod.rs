//! The command line: parses arguments, prints results, and returns exit codes.

mod abort;
mod adopt;
pub mod args;
mod check;
mod conclusion;
mod cron;
mod deploy;
mod disconnect;
mod dispatch;
mod exit;
mod freeze;
mod hints;
mod history;
mod init;
mod inventory;
mod logs;
mod migrate;
mod output;
mod parse_time;
mod pause;
mod plan;
mod plan_actions;
mod promote;
mod report;
mod restart;
mod resume;
mod rollback;
mod scale;
mod shared_args;
mod stack;
mod state;
mod status;
mod terminal;
mod unlock;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use args::{Cli, VerbArgs};
pub use exit::{CliError, Exit};
use output::{note, print_error, stdout_fail};

use crate::app::logging;
use crate::report::stdout_failure;

/// Worker threads of the runtime. A few are enough, because ship mostly waits for hosts.
const THREADS_MAX: usize = 8;
/// Threads of the runtime's pool for blocking work. If the system refuses to start more, blocking
/// work waits for this one.
const POOL_THREADS_MIN: usize = 1;

/// The open files of about 2,000 hosts.
const OPEN_FILES: u64 = 16_384;

/// How long to wait for background work at the end.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

/// Runs the command line and returns the exit code.
///
/// It is not generic, so that everything it calls is compiled only once, with the library.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let words: Vec<_> = args
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&words, &error),
    };
    if let Err(fail) = hints::check(&words) {
        return print_error(&fail);
    }
    logging::init(cli.verbose);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(fail) => return print_error(&fail),
    };
    let ended = runtime.block_on(run(cli.verb));
    // A call of a state store that does not answer ends with the process.
    runtime.shutdown_timeout(SHUTDOWN_WAIT);
    match (ended, stdout_failure()) {
        // The exit code must show that the output is incomplete.
        (Ok(Exit::Done), Some(why)) => print_error(&CliError::new(
            Exit::Internal,
            format!(
                "error: cannot write to stdout: {why}\nhint: the operation itself is complete; see \
                 `ship status` and `ship history`"
            ),
        )),
        (Ok(exit), why) => {
            if let Some(why) = why {
                note(&format!("error: cannot write to stdout: {why}"));
            }
            exit.into()
        }
        (Err(fail), _) => print_error(&fail),
    }
}

/// Prints clap's error, or the requested help.
fn usage(words: &[String], error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.use_stderr() {
        // A closed stderr is not a further error.
        drop(printed);
        if let Some(hint) = hints::for_usage(words, error.kind()) {
            note(&hint);
        }
        return Exit::Refused.into();
    }
    match printed {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => print_error(&stdout_fail(&why)),
        _ => Exit::Done.into(),
    }
}

/// Starts the runtime with the threads that it needs. If the system refuses them, ship exits here,
/// before it has changed anything.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_MAX);
    check_threads(threads + POOL_THREADS_MIN)?;
    raise_open_files();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // The first thread of the blocking pool is started here and kept until ship exits.
    let built = builder
        .worker_threads(threads)
        .thread_keep_alive(Duration::from_hours(24 * 365))
        .enable_all()
        .build();
    let runtime = built
        .map_err(|error| CliError::new(Exit::Internal, format!("error: cannot start: {error}")))?;
    runtime.spawn_blocking(|| ());
    Ok(runtime)
}

/// Allows as many open files as a large fleet needs, as far as the system lets this user: a connection
/// needs about eight. Programs that ship starts inherit the limit.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "cannot raise the limit of open files");
        }
    }
}

/// Checks that this many threads can run at the same time.
fn check_threads(threads: usize) -> Result<(), CliError> {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
    let mut started = Vec::new();
    for _ in 0..threads {
        let wait = std::sync::Arc::clone(&wait);
        let thread = std::thread::Builder::new().spawn(move || {
            let gate = wait.lock().map(|gate| gate.recv());
            drop(gate);
        });
        match thread {
            Ok(thread) => started.push(thread),
            Err(error) => {
                drop(release);
                return Err(CliError::new(
                    Exit::Internal,
                    format!(
                        "error: cannot start a thread: {error}; no changes were made\nhint: this \
                         user has reached the limit of processes and threads; end some, or raise \
                         the limit (`ulimit -u`)"
                    ),
                ));
            }
        }
    }
    drop(release);
    for thread in started {
        drop(thread.join());
    }
    Ok(())
}

async fn run(mut verb: VerbArgs) -> Result<Exit, CliError> {
    match stack::StackTarget::of(&mut verb)? {
        Some(target) => Box::pin(stack::run(verb, target)).await,
        None => Box::pin(dispatch::run_one(verb)).await,
    }
}
