//! The shared databases: what ship expects of each of them, checked with real servers.

mod database_contract;
mod etcd;
mod etcd_access;
mod etcd_certificates;
mod etcd_cluster;
mod etcd_faults;
mod etcd_watch;
mod transactions;
