//! The database in the state directory.

use super::store_contract::{check_all, open_sqlite};
use super::{database_contract, store_contract};

#[test]
fn sqlite_is_a_database_as_ship_expects() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join(".ship");
    database_contract::check_all(&|| open_sqlite(&place));
}

#[test]
fn sqlite_is_a_store_as_ship_expects() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join(".ship");
    check_all(&|| store_contract::open_sqlite(&place));
}
