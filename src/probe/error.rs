//! Distinguishes a failure of the instance from a problem of the prober.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use crate::core::fleet::health::{REFUSED, Verdict};
use crate::probe::route::Route;

/// Returns the verdict on an error of connecting or reading: [`Verdict::Error`] if the cause is on
/// this machine, [`Verdict::Fail`] otherwise.
pub(super) fn verdict(error: &io::Error, route: &Route) -> Verdict {
    if let Route::Socket(path) = route
        && matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        )
    {
        return Verdict::Error(format!("the ssh connection is closed ({})", path.display()));
    }
    let problem = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => {
            "too many open files on this machine; raise `ulimit -n`"
        }
        Some(Errno::ADDRNOTAVAIL) => "this machine has no free local port",
        Some(Errno::NOMEM | Errno::NOBUFS) => "this machine has no memory for a connection",
        Some(Errno::NETUNREACH | Errno::NETDOWN) => "this machine has no network route to it",
        Some(Errno::PERM | Errno::ACCESS) => "this machine is not allowed to connect to it",
        _ => return Verdict::Fail(describe(error)),
    };
    Verdict::Error(problem.to_owned())
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => REFUSED.to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

/// The innermost I/O error of a chain.
pub(super) fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    chain(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .last()
}

/// An error and its causes, the outermost first.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_reports_problems_of_this_machine_as_errors_not_failures() {
        let direct = Route::Direct {
            address: "127.0.0.1".to_owned(),
        };
        let socket = Route::Socket("/run/x".into());
        let of = |errno: Errno, route| verdict(&io::Error::from(errno), route);
        assert!(
            matches!(of(Errno::MFILE, &direct), Verdict::Error(text) if text.contains("ulimit"))
        );
        assert!(matches!(of(Errno::NETUNREACH, &direct), Verdict::Error(_)));
        assert!(
            matches!(of(Errno::NOENT, &socket), Verdict::Error(text) if text.contains("ssh connection is closed"))
        );
        assert_eq!(
            of(Errno::CONNREFUSED, &direct),
            Verdict::Fail("connection refused".to_owned())
        );
        assert_eq!(
            of(Errno::HOSTUNREACH, &direct),
            Verdict::Fail("no route to the host".to_owned())
        );
    }
}
