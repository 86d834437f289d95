//! A host and its connection.

use std::sync::Arc;

use crate::remote::{HostLink, HostSite};

/// A host and its connection.
#[derive(Clone)]
pub(super) struct LinkedHost {
    pub(super) site: HostSite,
    pub(super) link: Arc<HostLink>,
}
