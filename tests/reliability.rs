//! Makes `docs/RELIABILITY.md` of the rows that the other tests have left.

#[path = "support/mod.rs"]
mod support;

#[test]
#[ignore = "the last step of `tests/run`: it needs the rows of all other tests"]
fn every_fault_has_a_row_and_the_page_is_made_of_them() {
    match support::reliability::page() {
        Ok(page) => println!("{}", page.display()),
        Err(missing) => panic!("no test has left a row for: {}", missing.join(", ")),
    }
}
