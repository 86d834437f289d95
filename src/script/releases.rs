//! Reads the releases on a host: their definitions, and which of them are proven.

use super::host_context::{HostContext, Input, Script, Text, WORK};
use crate::core::ids::ReleaseId;
use crate::core::time::Time;
use crate::script::unreadable::Unreadable;
use crate::script::values::{digest, malformed, number};

/// A release on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRelease {
    /// Its digest, from the name of its directory.
    pub id: ReleaseId,
    /// The time of its deploy, if it is marked as proven.
    pub proven: Option<Time>,
    /// Its definition as JSON. The caller checks that its SHA-256 is `id`.
    pub definition: String,
}

/// Prints the definitions of all releases on a host. Takes no lock and changes nothing.
/// [`read_releases`] parses the output.
pub fn releases(context: &HostContext) -> Script {
    Text::located(context)
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/releases.sh"))
        .script(Input::default(), WORK)
}

/// Parses the output of [`releases`].
///
/// # Errors
/// If the output is incomplete or malformed.
pub fn read_releases(stdout: &str) -> Result<Vec<KeptRelease>, Unreadable> {
    let body = stdout
        .strip_suffix("\nend=done\n")
        .ok_or(Unreadable::NoEnd)?;
    let (_, body) = body.split_once("\nship=1").ok_or(Unreadable::NoBeginning)?;
    let mut found: Vec<KeptRelease> = Vec::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| malformed(line, "is not `key=value`"))?;
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
            .ok_or_else(|| malformed(line, "does not follow a release"))?;
        match key {
            "proven" => release.proven = Some(Time(number(line, value)?)),
            "definition" => value.clone_into(&mut release.definition),
            _ => return Err(malformed(line, "has an unknown key")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::script::releases::*;

    #[test]
    fn releases_are_parsed_with_their_marks() {
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
    fn incomplete_list_of_releases_is_an_error() {
        let id = "5".repeat(64);
        assert_eq!(
            read_releases(&format!("\nship=1\nrelease={id}\ndefin")),
            Err(Unreadable::NoEnd)
        );
        assert!(read_releases("\nship=1\nrelease=../x\n\nend=done\n").is_err());
        assert!(read_releases("\nship=1\nproven=1\n\nend=done\n").is_err());
    }
}
