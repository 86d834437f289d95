//! The command line: arguments on the way in, text and exit codes on the way out.

mod abort;
pub mod args;
mod check;
mod conclusion;
mod cron;
mod deploy;
mod exit;
mod freeze;
mod hints;
mod history;
mod init;
mod logs;
mod migrate;
mod moment;
mod output;
mod pause;
mod plan;
mod promote;
mod report;
mod restart;
mod resume;
mod rollback;
mod scale;
mod status;
mod terminal;
mod unlock;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use args::{Cli, VerbArgs};
pub use exit::{CliError, Exit};
use output::{complain, note, print, stdout_fail};

use crate::app::logging;
use crate::report::stdout_failure;

/// How many threads work for the runtime at most: hosts answer slowly, and ship waits for most of
/// the time.
const THREADS_MAX: usize = 8;
/// A thread of the runtime's pool for what blocks. As long as there is one, work waits for it where
/// no more can be had.
const POOL_THREADS_MIN: usize = 1;

/// Runs the command line and says what to tell the caller.
///
/// It is not generic, so that all it calls is compiled with the library and not once more with the
/// binary.
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
        return complain(&fail);
    }
    logging::begin(cli.verbose);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(fail) => return complain(&fail),
    };
    let ended = runtime.block_on(run(cli.verb));
    match (ended, stdout_failure()) {
        // Whoever reads the output must not take it for whole.
        (Ok(Exit::Done), Some(why)) => complain(&CliError::new(
            Exit::Internal,
            format!(
                "error: cannot write to stdout: {why}\nhint: the work itself is done; `ship \
                 status` and `ship history` show it"
            ),
        )),
        (Ok(exit), why) => {
            if let Some(why) = why {
                note(&format!("error: cannot write to stdout: {why}"));
            }
            exit.into()
        }
        (Err(fail), _) => complain(&fail),
    }
}

/// Shows clap's error, or the help that was asked for.
fn usage(words: &[String], error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.use_stderr() {
        // Where nobody reads it, that is no further error.
        drop(printed);
        if let Some(hint) = hints::for_usage(words, error.kind()) {
            note(&hint);
        }
        return Exit::Refused.into();
    }
    match printed {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => complain(&stdout_fail(&why)),
        _ => Exit::Done.into(),
    }
}

/// The runtime, and the threads that it cannot do without: where the system has none to give, ship
/// ends here and touches nothing.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_MAX);
    can_have(threads + POOL_THREADS_MIN)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // A thread of the pool stays: the first one is started here, and never given back.
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

/// Whether so many threads can be had at the same time.
fn can_have(threads: usize) -> Result<(), CliError> {
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
                        "error: cannot start a thread: {error}; nothing was touched\nhint: the \
                         user has as many processes and \
                         threads as the system allows; end some, or raise the limit that `ulimit \
                         -u` shows"
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

async fn run(verb: VerbArgs) -> Result<Exit, CliError> {
    match verb {
        VerbArgs::Init(args) => init::run(args),
        VerbArgs::Deploy(args) => Box::pin(deploy::run(args)).await,
        VerbArgs::Plan(args) => plan::run(args).await,
        VerbArgs::Check(args) => check::run(args).await,
        VerbArgs::Status(args) => status::run(args).await,
        VerbArgs::History(args) => history::run(args),
        VerbArgs::Logs(args) => logs::run(args).await,
        VerbArgs::Rollback(args) => Box::pin(rollback::run(args)).await,
        VerbArgs::Pause(args) => pause::run(args).await,
        VerbArgs::Resume(args) => Box::pin(resume::run(args)).await,
        VerbArgs::Promote(args) => Box::pin(promote::run(args)).await,
        VerbArgs::Abort(args) => Box::pin(abort::run(args)).await,
        VerbArgs::Restart(args) => Box::pin(restart::run(args)).await,
        VerbArgs::Scale(args) => Box::pin(scale::run(args)).await,
        VerbArgs::Migrate(args) => Box::pin(migrate::run(args)).await,
        VerbArgs::Freeze(args) => freeze::run(args),
        VerbArgs::Thaw(args) => freeze::thaw(args),
        VerbArgs::Report(args) => report::run(args),
        VerbArgs::Unlock(args) => unlock::run(args).await,
        VerbArgs::Cron(args) => cron::run(args),
        VerbArgs::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ship", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        VerbArgs::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| {
                    CliError::new(Exit::Internal, format!("error: no manual page: {error}"))
                })?;
            print(&String::from_utf8_lossy(&page))
        }
    }
}
