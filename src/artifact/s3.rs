//! Turns `s3://bucket/key` into a presigned HTTPS URL, with the usual environment variables.
//!
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; `AWS_REGION` (or
//! `AWS_DEFAULT_REGION`; default `us-east-1`); `AWS_ENDPOINT_URL` for other servers with the same
//! protocol.

use std::time::Duration;

use reqwest::Url;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use crate::artifact::fetch_error::FetchError;

/// How long a presigned URL is valid. Each attempt to download gets a new one.
const SIGNED_FOR: Duration = Duration::from_hours(1);
const REGION: &str = "us-east-1";

/// The presigned URL of `s3://bucket/key`.
pub(super) fn presigned_url(url: &Url) -> Result<Url, FetchError> {
    let wrong = |why: String| FetchError::permanent(why, "use the form s3://BUCKET/KEY");
    let name = url
        .host_str()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| wrong("the bucket name is missing".to_owned()))?;
    let key = url.path().trim_start_matches('/');
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let region = variable("AWS_REGION")
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| REGION.to_owned());
    let (endpoint, style) = match variable("AWS_ENDPOINT_URL") {
        // Other servers have one host name for all buckets.
        Some(endpoint) => (endpoint, UrlStyle::Path),
        None => (
            format!("https://s3.{region}.amazonaws.com"),
            UrlStyle::VirtualHost,
        ),
    };
    let endpoint = endpoint
        .parse()
        .map_err(|why| wrong(format!("AWS_ENDPOINT_URL is not a valid URL: {why}")))?;
    let bucket = Bucket::new(endpoint, style, name.to_owned(), region);
    let bucket = bucket.map_err(|why| wrong(format!("the bucket URL is not valid: {why}")))?;
    let credentials = Credentials::from_env().ok_or_else(|| {
        let help = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN)";
        FetchError::permanent("there are no S3 credentials in the environment", help)
    })?;
    Ok(bucket.get_object(Some(&credentials), key).sign(SIGNED_FOR))
}
