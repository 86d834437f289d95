//! Opens a shared database by its URL.

use super::etcd::Etcd;
use super::postgres::Postgres;
use crate::store::database::Database;
use crate::store::error::StoreError;
use crate::store::records::StoreAccess;

/// Opens the database with a URL. With [`StoreAccess::Write`], creates what ship needs in it.
///
/// # Errors
/// If the URL is invalid, or the database cannot be reached or used.
pub fn connect(url: &str, access: StoreAccess) -> Result<Box<dyn Database>, StoreError> {
    if url.starts_with("etcd://") {
        Ok(Box::new(Etcd::open(url, access)?))
    } else {
        Ok(Box::new(Postgres::open(url, access)?))
    }
}
