//! Asks whether a host has zstd.

use super::host_context::{Input, Script, Text, WORK};

/// Prints `zstd=yes` if the host has a zstd that can decompress a file with another one as the
/// dictionary, and `zstd=no` otherwise.
pub fn finds_zstd() -> Script {
    Text::empty()
        .add(include_str!("sh/zstd.sh"))
        .script(Input::default(), WORK)
}
