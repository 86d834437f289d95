//! Takes the measurements of analyses over HTTP.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tokio::time::timeout;

use super::error::chain;
use super::http::printable;
use crate::core::analysis::measurement::{Bound, Measurement};
use crate::core::time::Human;

/// The size limit of a response from which one number is read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Evaluates a value of a JSON document within `deadline`. `pointer` is a JSON pointer to the
/// value.
pub async fn measure_http(
    url: &str,
    pointer: &str,
    success: &Bound,
    deadline: Duration,
) -> Measurement {
    within(deadline, async {
        let (status, document) = get(Url::parse(url).map_err(|why| why.to_string())?).await?;
        if !(200..300).contains(&status) {
            return Err(format!("HTTP {status}"));
        }
        let document = document.ok_or("the response is not valid JSON")?;
        let value = document
            .pointer(pointer)
            .ok_or_else(|| format!("the response has no value at {pointer}"))?;
        match value {
            Value::Null => Ok(Measurement::inconclusive(format!("null at {pointer}"))),
            value => number(value).map(|number| Measurement::of(number, success)),
        }
    })
    .await
}

/// Evaluates the result of an instant query within `deadline`. `address` is the base URL of
/// Prometheus.
pub async fn measure_prometheus(
    address: &str,
    query: &str,
    success: &Bound,
    deadline: Duration,
) -> Measurement {
    within(deadline, async {
        let base = format!("{}/api/v1/query", address.trim_end_matches('/'));
        let mut url = Url::parse(&base).map_err(|why| why.to_string())?;
        url.query_pairs_mut().append_pair("query", query);
        let (status, document) = get(url).await?;
        let document = document
            .ok_or_else(|| format!("HTTP {status}, and the response is not from Prometheus"))?;
        if document["status"] != "success" {
            let why = document["error"].as_str().unwrap_or("no reason given");
            return Err(format!("HTTP {status}: {}", printable(why)));
        }
        let (kind, result) = (&document["data"]["resultType"], &document["data"]["result"]);
        let pair = match (kind.as_str(), result.as_array().map(Vec::as_slice)) {
            (Some("scalar"), _) => result,
            (Some("vector"), Some([])) => {
                return Ok(Measurement::inconclusive("the query returned no elements"));
            }
            (Some("vector"), Some([one])) => &one["value"],
            (Some("vector"), Some(many)) => {
                return Err(format!(
                    "the query returned {} elements; aggregate them to one, for example with sum()",
                    many.len()
                ));
            }
            (kind, _) => {
                let kind = printable(kind.unwrap_or("nothing"));
                return Err(format!(
                    "expected a scalar or an instant vector, found a {kind}"
                ));
            }
        };
        // [timestamp, "number"]
        number(&pair[1]).map(|number| Measurement::of(number, success))
    })
    .await
}

async fn within(
    deadline: Duration,
    measurement: impl Future<Output = Result<Measurement, String>>,
) -> Measurement {
    match timeout(deadline, measurement).await {
        Ok(Ok(measurement)) => measurement,
        Ok(Err(why)) => Measurement::error(why),
        Err(_) => Measurement::error(format!("no answer within {}", Human(deadline))),
    }
}

/// The status, and the document if it is JSON. Each request uses a new connection.
async fn get(url: Url) -> Result<(u16, Option<Value>), String> {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder =
        reqwest::Client::builder().user_agent(concat!("ship/", env!("CARGO_PKG_VERSION")));
    // Loading the system's certificates takes longer than a request without TLS.
    let builder = if url.scheme() == "https" {
        builder
    } else {
        builder.tls_certs_only([])
    };
    let client = builder.build().map_err(|why| innermost(&why))?;
    let mut response = client
        .get(url)
        .send()
        .await
        .map_err(|why| innermost(&why))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|why| innermost(&why))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(format!(
                "HTTP {status}, and the response is larger than {} MiB",
                BODY_BYTES_MAX >> 20
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, serde_json::from_slice(&body).ok()))
}

/// A number, written as a number or as text; 1 or 0 for `true` or `false`.
fn number(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    number.ok_or_else(|| format!("expected a number, found {}", printable(&value.to_string())))
}

/// The last cause, which is the most specific one. No cause contains the URL, which may hold a
/// password.
fn innermost(error: &reqwest::Error) -> String {
    chain(error)
        .last()
        .map_or_else(String::new, |cause| printable(&cause.to_string()))
}
