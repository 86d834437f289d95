//! Ctrl-C and TERM become events: the first lets what is in flight end, the second leaves at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::exit::{Exit, Fail};
use crate::engine::Interrupts;

/// Listens from now on.
pub(super) fn listen() -> Result<Interrupts, Fail> {
    let failed = |error| {
        Fail::new(
            Exit::Internal,
            format!("error: cannot listen for signals: {error}"),
        )
    };
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, name) in [
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::hangup(), "SIGHUP"),
    ] {
        let mut stream = signal(kind).map_err(failed)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(name).is_err() {
                    break;
                }
            }
        });
    }
    Ok(receiver)
}
