//! What is special to `PostgreSQL`.

use ship::store::{Database, Postgres, StoreAccess};

use super::database_contract::check_all;
use super::postgres_server::PostgresServer;

fn open(url: &str, access: StoreAccess) -> Postgres {
    Postgres::open(url, access).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn contract_is_kept() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    check_all(&|| Box::new(open(&server.url(), StoreAccess::Write)));
}
