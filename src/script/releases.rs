//! What a host keeps of its releases: their whole definitions, and which of them were proven
//! healthy.

use super::site::{HostContext, Input, Script, Text, WORK};
use crate::core::ids::ReleaseId;
use crate::core::time::Time;
use crate::script::number::{digest, number, wrong};
use crate::script::unreadable::Unreadable;

/// A release as a host keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRelease {
    /// Its digest, by the name of its directory.
    pub id: ReleaseId,
    /// When it was deployed, if it is marked as proven healthy.
    pub proven: Option<Time>,
    /// Its definition as JSON. The caller checks that its SHA-256 is `id`.
    pub definition: String,
}

/// Prints the definitions of all releases on a host. Takes no lock and changes nothing. For
/// [`read_releases`].
pub fn releases(site: &HostContext) -> Script {
    Text::located(site)
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/releases.sh"))
        .script(Input::default(), WORK)
}

/// Reads what [`releases`] has printed.
///
/// # Errors
/// If it did not come to its end, or makes no sense.
pub fn read_releases(stdout: &str) -> Result<Vec<KeptRelease>, Unreadable> {
    let body = stdout
        .strip_suffix("\nend=done\n")
        .ok_or(Unreadable::NoEnd)?;
    let (_, body) = body.split_once("\nship=1").ok_or(Unreadable::NoBeginning)?;
    let mut found: Vec<KeptRelease> = Vec::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| wrong(line, "is no `key=value`"))?;
        if key == "release" {
            found.push(KeptRelease {
                id: digest(line, value)?,
                proven: None,
                definition: String::new(),
            });
            continue;
        }
        let release = found
            .last_mut()
            .ok_or_else(|| wrong(line, "belongs to no release"))?;
        match key {
            "proven" => release.proven = Some(Time(number(line, value)?)),
            "definition" => value.clone_into(&mut release.definition),
            _ => return Err(wrong(line, "is not known")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::script::releases::*;

    #[test]
    fn releases_are_read_with_their_marks() {
        let id = "5".repeat(64);
        let text = format!(
            "motd\n\nship=1\nrelease={id}\nproven=17\ndefinition={{\"a\":\"b=c\"}}\n\nend=done\n"
        );
        let found = read_releases(&text).expect("a report");
        let expected = KeptRelease {
            id: id.as_str().into(),
            proven: Some(Time(17)),
            definition: "{\"a\":\"b=c\"}".into(),
        };
        assert_eq!(found, [expected]);
        assert_eq!(
            read_releases("\nship=1\n\nend=done\n").expect("a report"),
            []
        );
    }

    #[test]
    fn report_that_breaks_off_is_not_taken_for_whole() {
        let id = "5".repeat(64);
        assert_eq!(
            read_releases(&format!("\nship=1\nrelease={id}\ndefin")),
            Err(Unreadable::NoEnd)
        );
        assert!(read_releases("\nship=1\nrelease=../x\n\nend=done\n").is_err());
        assert!(read_releases("\nship=1\nproven=1\n\nend=done\n").is_err());
    }
}
