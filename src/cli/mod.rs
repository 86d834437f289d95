//! Floor 4: the verbs. Each has a file of its own; `session` is what they share.

mod abort;
mod aftermath;
pub mod args;
mod channels;
mod check;
mod contract;
mod cron;
mod deploy;
mod exit;
mod freeze;
mod gone;
mod history;
mod init;
mod logs;
mod lookup;
mod loss;
mod moment;
mod night;
mod ownership;
mod pages;
mod patience;
mod pause;
mod plan;
mod promote;
mod recall;
mod releases;
mod report;
mod restart;
mod resume;
mod rollback;
mod rollout;
mod scale;
mod session;
mod signals;
mod status;
mod trace;
mod unlock;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Verb};
pub use exit::{Exit, Fail};

/// Runs the command line and says what to tell the caller.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; where nobody reads them any more, that is none either.
            drop(error.print());
            return if error.use_stderr() { Exit::Refused.into() } else { Exit::Done.into() };
        }
    };
    trace::begin(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&Fail::new(Exit::Internal, format!("error: cannot start: {error}"))),
    };
    match runtime.block_on(run(cli.verb)) {
        Ok(exit) => exit.into(),
        Err(fail) => complain(&fail),
    }
}

async fn run(verb: Verb) -> Result<Exit, Fail> {
    match verb {
        Verb::Init(args) => init::run(args),
        Verb::Deploy(args) => Box::pin(deploy::run(args)).await,
        Verb::Plan(args) => plan::run(args).await,
        Verb::Check(args) => check::run(args).await,
        Verb::Status(args) => status::run(args).await,
        Verb::History(args) => history::run(&args),
        Verb::Logs(args) => logs::run(args).await,
        Verb::Rollback(args) => Box::pin(rollback::run(args)).await,
        Verb::Pause(args) => pause::run(args).await,
        Verb::Resume(args) => Box::pin(resume::run(args)).await,
        Verb::Promote(args) => Box::pin(promote::run(args)).await,
        Verb::Abort(args) => Box::pin(abort::run(args)).await,
        Verb::Restart(args) => Box::pin(restart::run(args)).await,
        Verb::Scale(args) => Box::pin(scale::run(args)).await,
        Verb::Contract(args) => Box::pin(contract::run(args)).await,
        Verb::Freeze(args) => freeze::run(args),
        Verb::Thaw(args) => freeze::thaw(args),
        Verb::Report(args) => report::run(&args),
        Verb::Unlock(args) => unlock::run(args).await,
        Verb::Cron(args) => cron::run(&args),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ship", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Verb::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| Fail::new(Exit::Internal, format!("error: no manual page: {error}")))?;
            print(&String::from_utf8_lossy(&page))
        }
    }
}

/// Data goes to stdout. A reader that has gone away (`| head`) is no error.
fn print(text: &str) -> Result<Exit, Fail> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Fail::new(Exit::Internal, format!("error: cannot write to stdout: {error}"))),
    }
}

/// A line of progress. Where nobody reads it, the work goes on.
fn note(text: &str) {
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

fn complain(fail: &Fail) -> ExitCode {
    note(fail.message.trim_end());
    fail.exit.into()
}
