//! The databases for the state: what ship expects of each of them, checked with real servers.

mod database_contract;
mod sqlite;
mod store_contract;
mod transactions;
