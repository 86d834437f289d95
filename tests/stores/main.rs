//! The databases for the state: what ship expects of each of them, checked with real servers.

mod cuts;
mod cutting_proxy;
mod database_contract;
mod etcd;
mod etcd_access;
mod etcd_faults;
mod etcd_watch;
mod postgres;
mod postgres_faults;
mod postgres_login;
mod postgres_pooler;
mod shared_stores;
mod sqlite;
mod store_contract;
mod transactions;
