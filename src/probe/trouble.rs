//! Whether a failed probe is the instance's failure or the prober's own.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use crate::core::fleet::health::{REFUSED, Verdict};
use crate::probe::route::Route;

/// Reads an error of connecting or talking. What says nothing about the instance is an error of the
/// prober.
pub(super) fn verdict(error: &io::Error, route: &Route) -> Verdict {
    if let Route::Socket(path) = route
        && matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        )
    {
        return Verdict::Error(format!("the ssh connection is gone ({})", path.display()));
    }
    let own = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => {
            "too many open files on this machine; raise `ulimit -n`"
        }
        Some(Errno::ADDRNOTAVAIL) => "no free local port on this machine",
        Some(Errno::NOMEM | Errno::NOBUFS) => "no memory for a connection on this machine",
        Some(Errno::NETUNREACH | Errno::NETDOWN) => "this machine has no network to it",
        Some(Errno::PERM | Errno::ACCESS) => "this machine may not connect to it",
        _ => return Verdict::Fail(words(error)),
    };
    Verdict::Error(own.to_owned())
}

fn words(error: &io::Error) -> String {
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

/// An error and its causes, from the outside in.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probers_own_trouble_is_no_failure_of_the_instance() {
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
            matches!(of(Errno::NOENT, &socket), Verdict::Error(text) if text.contains("ssh connection is gone"))
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
