//! Runs the measurements that query other systems or run a command.

use std::collections::BTreeMap;

use crate::core::analysis::measurement::Measurement;
use crate::core::analysis::{Analysis, MeasurementMethod};
use crate::probe;
use crate::remote::{self, LocalCommand};

/// Runs one measurement.
pub(super) async fn measure(analysis: &Analysis) -> Measurement {
    let deadline = analysis.timeout;
    match &analysis.method {
        MeasurementMethod::Http {
            url,
            pointer,
            success,
        } => probe::measure_http(url, pointer, success, deadline).await,
        MeasurementMethod::Prometheus {
            address,
            query,
            success,
        } => probe::measure_prometheus(address, query, success, deadline).await,
        MeasurementMethod::Command { words, success } => {
            match remote::run_supervised(&LocalCommand {
                words,
                // The C locale makes every command print numbers in the same format.
                env: &BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
                dir: None,
                deadline,
            })
            .await
            {
                Ok(output) => Measurement::of_command(
                    output.status,
                    &output.stdout,
                    &output.stderr,
                    success.as_ref(),
                ),
                Err(why) => Measurement::error(why),
            }
        }
        MeasurementMethod::Compare(_) => {
            Measurement::inconclusive("the controller compares instances, not the executor")
        }
    }
}
