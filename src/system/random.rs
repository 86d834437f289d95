//! Random numbers of the operating system.

/// An unpredictable random number; 0 if the system provides none.
pub fn number() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// 128 random bits in hex; empty if the system provides none.
pub fn id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map(|()| format!("{:032x}", u128::from_ne_bytes(bytes)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_32_digits_and_differ() {
        let (one, other) = (id(), id());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
        assert_ne!(number(), number());
    }
}
