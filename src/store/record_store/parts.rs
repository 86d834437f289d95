//! Splits events into records.

use crate::core::rollout::event::Entry;

/// The size of a record with several events. etcd permits 1.5 MiB in a transaction.
const RECORD_BYTES_MAX: usize = 512 * 1024;

/// Splits events into parts that fit into one record each. Usually there is only one part.
pub(super) fn parts(entries: &[Entry]) -> Vec<&[Entry]> {
    let mut bytes = 0;
    let mut parts = Vec::new();
    let mut rest = entries;
    let mut count = 0;
    for entry in entries {
        let size = serde_json::to_string(entry).map_or(0, |text| text.len());
        if count > 0 && bytes + size > RECORD_BYTES_MAX {
            let (part, later) = rest.split_at(count);
            parts.push(part);
            (rest, bytes, count) = (later, 0, 0);
        }
        bytes += size;
        count += 1;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}
