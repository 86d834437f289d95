//! Packs the files of a release on a host, to send them to this machine.

use super::host_context::{HostContext, Input, Script, Text, WORK};
use super::stage::transfer_time;
use crate::core::ids::ReleaseId;

/// Prints a gzipped tar archive of the files of a release. Takes no lock and changes nothing.
///
/// `size_bytes` is the size of the artifact from which the release was unpacked.
pub fn pack(context: &HostContext, release: &ReleaseId, size_bytes: u64) -> Script {
    let deadline = WORK * 3 + transfer_time(size_bytes);
    Text::located(context)
        .set("RELEASE", release)
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/pack.sh"))
        .script(Input::default(), deadline)
}
