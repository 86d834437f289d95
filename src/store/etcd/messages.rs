//! The messages of etcd's JSON gateway.
//!
//! The gateway writes 64-bit numbers as strings, leaves out fields that are zero, and encodes keys
//! and values in base64.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

pub(super) const TRANSACTION: &str = "/v3/kv/txn";
pub(super) const GRANT_LEASE: &str = "/v3/lease/grant";
pub(super) const RENEW_LEASE: &str = "/v3/lease/keepalive";
pub(super) const LEASE_TTL: &str = "/v3/lease/timetolive";
pub(super) const REVOKE_LEASE: &str = "/v3/lease/revoke";
pub(super) const WATCH: &str = "/v3/watch";
pub(super) const AUTHENTICATE: &str = "/v3/auth/authenticate";
pub(super) const STATUS: &str = "/v3/maintenance/status";

/// The default of `--max-txn-ops` of etcd. It limits the conditions and the operations separately.
pub(super) const OPERATIONS_MAX: usize = 128;

/// The keys from `first` up to but excluding `end`; only `first` if `end` is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) first: Vec<u8>,
    pub(super) end: Option<Vec<u8>>,
}

impl ByteRange {
    pub(super) fn key(key: Vec<u8>) -> Self {
        Self {
            first: key,
            end: None,
        }
    }

    /// All keys that begin with `prefix`.
    pub(super) fn prefix(prefix: Vec<u8>) -> Self {
        let mut end = prefix.clone();
        // No key has the byte 0xff, which does not occur in UTF-8.
        match end.last_mut() {
            Some(last) => *last = last.saturating_add(1),
            None => end.push(0),
        }
        Self {
            first: prefix,
            end: Some(end),
        }
    }

    fn fields(&self) -> Value {
        match &self.end {
            None => json!({ "key": STANDARD.encode(&self.first) }),
            Some(end) => {
                json!({ "key": STANDARD.encode(&self.first), "range_end": STANDARD.encode(end) })
            }
        }
    }
}

/// Reads a range; at an earlier revision, if one is given.
pub(super) fn range_operation(range: &ByteRange, revision: Option<u64>) -> Value {
    let mut fields = range.fields();
    if let Some(revision) = revision {
        fields["revision"] = revision.to_string().into();
    }
    json!({ "request_range": fields })
}

pub(super) fn put_operation(key: &[u8], value: &str, lease: Option<i64>) -> Value {
    let mut fields = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
    if let Some(lease) = lease {
        fields["lease"] = lease.to_string().into();
    }
    json!({ "request_put": fields })
}

pub(super) fn delete_operation(range: &ByteRange) -> Value {
    json!({ "request_delete_range": range.fields() })
}

/// Requires the revision that created a record; 0 if it must not exist.
pub(super) fn created_comparison(key: &[u8], revision: u64) -> Value {
    json!({
        "key": STANDARD.encode(key), "target": "CREATE", "result": "EQUAL",
        "create_revision": revision.to_string(),
    })
}

/// Requires the revision that last changed a record.
pub(super) fn modified_comparison(key: &[u8], revision: u64) -> Value {
    json!({
        "key": STANDARD.encode(key), "target": "MOD", "result": "EQUAL",
        "mod_revision": revision.to_string(),
    })
}

pub(super) fn transaction_request(comparisons: &[Value], operations: &[Value]) -> Value {
    json!({ "compare": comparisons, "success": operations })
}

pub(super) fn grant_request(ttl_s: u64) -> Value {
    json!({ "TTL": ttl_s.to_string() })
}

pub(super) fn lease_request(lease: i64) -> Value {
    json!({ "ID": lease.to_string() })
}

pub(super) fn watch_request(key: &[u8]) -> Value {
    json!({ "create_request": { "key": STANDARD.encode(key) } })
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ResponseHeader {
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct TransactionResponse {
    #[serde(default)]
    pub(super) header: ResponseHeader,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<OperationResponse>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OperationResponse {
    #[serde(default)]
    pub(super) response_range: RangeResponse,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RangeResponse {
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "bytes")]
    pub(super) key: Vec<u8>,
    #[serde(default, deserialize_with = "bytes")]
    pub(super) value: Vec<u8>,
    #[serde(deserialize_with = "number")]
    pub(super) create_revision: u64,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: u64,
    /// 0 without a lease.
    #[serde(default, deserialize_with = "number")]
    pub(super) lease: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct GrantResponse {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
}

/// One message of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Streamed<T> {
    pub(super) result: T,
}

/// The time that is left of a lease.
#[derive(Debug, Deserialize)]
pub(super) struct LeaseTtl {
    /// Seconds; 0 or -1 if the lease has expired.
    #[serde(rename = "TTL", default, deserialize_with = "number")]
    pub(super) remaining_s: i64,
    /// Seconds. Only the answer about the time to live has it.
    #[serde(rename = "grantedTTL", default, deserialize_with = "number")]
    pub(super) granted_s: i64,
}

/// A message about changes of a record.
#[derive(Debug, Deserialize)]
pub(super) struct WatchResponse {
    #[serde(default)]
    pub(super) created: bool,
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) cancel_reason: String,
    #[serde(default)]
    pub(super) events: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct TokenResponse {
    pub(super) token: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct MemberStatus {
    #[serde(rename = "dbSize", default, deserialize_with = "number")]
    pub(super) size_bytes: u64,
}

/// An error of etcd: its text, and its code in gRPC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErrorAnswer {
    pub(super) text: String,
    pub(super) code: u64,
}

impl ErrorAnswer {
    /// The error in an answer or in a message of a stream; `None` if there is none.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            error: Option<Value>,
            code: Option<u64>,
        }
        let envelope: Envelope = serde_json::from_slice(body).ok()?;
        let (text, code) = match envelope.error? {
            Value::String(text) => (text, envelope.code),
            // In a stream, the error is an object.
            object => {
                let code = object["grpc_code"].as_u64().or(object["code"].as_u64());
                (object["message"].as_str()?.to_owned(), code)
            }
        };
        let code = code.unwrap_or(0);
        (!text.is_empty()).then_some(Self { text, code })
    }
}

/// A 64-bit number, which is a string in JSON.
fn number<'de, D: Deserializer<'de>, N: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<N, D::Error> {
    let text = match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        value => value.to_string(),
    };
    text.parse().map_err(D::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parser_reads_numbers_in_strings_and_fields_that_are_left_out() {
        let text = r#"{"header":{"cluster_id":"3","revision":"7"},"succeeded":true,"responses":
            [{"response_range":{"header":{"revision":"7"},"kvs":[{"key":"eA==",
            "create_revision":"2","mod_revision":"9223372036854775807","version":"1"}],
            "count":"1"}},{"response_put":{}}]}"#;
        let response: TransactionResponse = serde_json::from_str(text).unwrap();
        assert!(response.succeeded);
        assert_eq!(response.header.revision, 7);
        let record = &response.responses[0].response_range.kvs[0];
        assert_eq!((record.key.as_slice(), record.value.len()), (&b"x"[..], 0));
        assert_eq!(record.mod_revision, 9_223_372_036_854_775_807);
        assert_eq!(record.lease, 0);
        let response: TransactionResponse = serde_json::from_str("{}").unwrap();
        assert!(!response.succeeded);
    }

    #[test]
    fn errors_are_found_in_answers_and_in_streams() {
        let answer = br#"{"error":"etcdserver: no leader","message":"same","code":14}"#;
        let stream = br#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"x"}}"#;
        let expected = Some(ErrorAnswer {
            text: "etcdserver: no leader".to_owned(),
            code: 14,
        });
        assert_eq!(ErrorAnswer::parse(answer), expected);
        assert_eq!(ErrorAnswer::parse(stream), expected);
        assert_eq!(ErrorAnswer::parse(br#"{"header":{}}"#), None);
        assert_eq!(ErrorAnswer::parse(b"404 page not found"), None);
    }

    #[test]
    fn prefix_ends_before_the_next_byte() {
        let range = ByteRange::prefix("ship/é".as_bytes().to_vec());
        assert!(range.end.as_deref() > Some("ship/é\u{10ffff}".as_bytes()));
        assert!(range.end.as_deref() <= Some("ship/ê".as_bytes()));
    }
}
