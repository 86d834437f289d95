//! The history: which revisions can be gone back to, and which may be forgotten.

use std::collections::BTreeSet;

use super::names::{ReleaseId, Revision};

/// What the policy needs to know of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub revision: Revision,
    /// Its release.
    pub release: ReleaseId,
    /// Whether a rollout of it has ever succeeded: every replica was available.
    pub proven: bool,
}

/// The newest proven revision of another release than `present`: where a failed rollout goes back to, and what a bare
/// `ship rollback` means. "The previous one" would do neither, as it may be the broken one.
pub fn fallback<'a>(past: &'a [Past], present: &ReleaseId) -> Option<&'a Past> {
    past.iter().filter(|entry| entry.proven && entry.release != *present).max_by_key(|entry| entry.revision)
}

/// The revisions that stay when the history holds at most `limit` old ones besides `current`.
///
/// The oldest go first, but never what runs, never the newest proven revision, and never the one to fall back to: a
/// row of failed deploys must not push out the last good one.
pub fn retained(past: &[Past], current: Revision, limit: usize) -> BTreeSet<Revision> {
    let newest_proven = past.iter().filter(|entry| entry.proven).map(|entry| entry.revision).max();
    let present = past.iter().find(|entry| entry.revision == current);
    let back = present.and_then(|present| fallback(past, &present.release)).map(|entry| entry.revision);
    let mut kept: BTreeSet<_> = [Some(current), newest_proven, back].into_iter().flatten().collect();
    let mut newest_first: Vec<_> = past.iter().map(|entry| entry.revision).collect();
    newest_first.sort_unstable_by_key(|revision| std::cmp::Reverse(*revision));
    for revision in newest_first {
        if kept.len() > limit {
            break;
        }
        kept.insert(revision);
    }
    kept
}

/// The releases that stay on the hosts: those of retained revisions that were proven. What failed is not gone back to.
pub fn kept_releases(past: &[Past], retained: &BTreeSet<Revision>) -> BTreeSet<ReleaseId> {
    past.iter()
        .filter(|entry| entry.proven && retained.contains(&entry.revision))
        .map(|entry| entry.release.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(entries: &[(u32, &str, bool)]) -> Vec<Past> {
        entries
            .iter()
            .map(|&(revision, release, proven)| Past { revision: Revision(revision), release: release.into(), proven })
            .collect()
    }

    fn numbers(revisions: &BTreeSet<Revision>) -> Vec<u32> {
        revisions.iter().map(|revision| revision.0).collect()
    }

    #[test]
    fn the_way_back_skips_what_failed_and_what_is_the_same() {
        let past = past(&[(1, "a", true), (2, "b", true), (3, "c", false), (4, "b", true)]);
        assert_eq!(fallback(&past, &"b".into()).unwrap().revision, Revision(1));
        assert_eq!(fallback(&past, &"c".into()).unwrap().revision, Revision(4));
        assert!(fallback(&past[..1], &"a".into()).is_none());
    }

    #[test]
    fn failed_deploys_never_push_out_the_last_good_one() {
        let past = past(&[(1, "a", true), (2, "b", true), (3, "c", false), (4, "d", false), (5, "e", false)]);
        assert_eq!(numbers(&retained(&past, Revision(2), 2)), [1, 2, 5]);
        assert_eq!(numbers(&retained(&past, Revision(2), 0)), [1, 2]);
        assert_eq!(kept_releases(&past, &retained(&past, Revision(2), 2)).len(), 2);
    }

    #[test]
    fn the_limit_counts_old_revisions_as_kubernetes_does() {
        let past: Vec<_> =
            (1..=6).map(|n| Past { revision: Revision(n), release: format!("r{n}").into(), proven: true }).collect();
        assert_eq!(numbers(&retained(&past, Revision(6), 3)), [3, 4, 5, 6]);
    }
}
