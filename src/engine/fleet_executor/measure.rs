//! Measurements that need no observation of the instances.

use std::collections::BTreeMap;

use crate::core::analysis::measurement::Measurement;
use crate::core::analysis::{Analysis, MeasurementMethod};
use crate::probe;
use crate::remote::{self, LocalCommand};

/// Makes one measurement that needs no observation of the instances.
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
                words, // A number reads the same everywhere.
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
        MeasurementMethod::Compare(_) => Measurement::inconclusive(
            "new instances are compared with old ones where these are counted",
        ),
    }
}
