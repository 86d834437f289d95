//! What ship fetches and asks over the network itself, from servers in the test's own process.

mod artifact;
mod artifact_sources;
mod monitor;
mod probe;
mod recovered;
