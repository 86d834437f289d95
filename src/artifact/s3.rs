//! `s3://bucket/key` as an https URL that is signed for a while, by the usual variables of the
//! environment.
//!
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; `AWS_REGION` (or
//! `AWS_DEFAULT_REGION`; `us-east-1`); `AWS_ENDPOINT_URL` for those who serve the same protocol
//! elsewhere.

use std::time::Duration;

use reqwest::Url;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use crate::artifact::trouble::FetchError;

/// A download may be resumed for as long; each attempt is signed anew.
const SIGNED_FOR: Duration = Duration::from_hours(1);
const REGION: &str = "us-east-1";

/// The URL that is asked in place of `s3://bucket/key`.
pub(super) fn signed(url: &Url) -> Result<Url, FetchError> {
    let wrong = |why: String| FetchError::lasting(why, "write s3://BUCKET/KEY");
    let name = url
        .host_str()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| wrong("it names no bucket".to_owned()))?;
    let key = url.path().trim_start_matches('/');
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let region = variable("AWS_REGION")
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| REGION.to_owned());
    let (endpoint, style) = match variable("AWS_ENDPOINT_URL") {
        // Who serves it elsewhere has one name for all buckets.
        Some(endpoint) => (endpoint, UrlStyle::Path),
        None => (
            format!("https://s3.{region}.amazonaws.com"),
            UrlStyle::VirtualHost,
        ),
    };
    let endpoint = endpoint
        .parse()
        .map_err(|why| wrong(format!("AWS_ENDPOINT_URL is no URL: {why}")))?;
    let bucket = Bucket::new(endpoint, style, name.to_owned(), region);
    let bucket = bucket.map_err(|why| wrong(format!("this bucket cannot be asked: {why}")))?;
    let credentials = Credentials::from_env().ok_or_else(|| {
        let help = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN)";
        FetchError::lasting("no credentials for s3 are in the environment", help)
    })?;
    Ok(bucket.get_object(Some(&credentials), key).sign(SIGNED_FOR))
}
