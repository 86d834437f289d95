//! The name of a unit, and the specifiers that depend on it.

use super::refusal::UnitRefusal;
use crate::config::names;

/// The longest name of a service for which ship can create a user, `ship-NAME`.
const SERVICE_CHARS_MAX: usize = 26;
/// The limit of systemd.
const UNIT_CHARS_MAX: usize = 255;

/// The name of a service unit: `PREFIX.service` or `PREFIX@INSTANCE.service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitName {
    prefix: String,
    instance: Option<String>,
}

impl UnitName {
    /// Parses a name as `systemctl` accepts it, with or without `.service`.
    ///
    /// # Errors
    /// If it is not the name of a service, or that of a template.
    pub fn parse(text: &str) -> Result<Self, UnitRefusal> {
        const OTHER_KINDS: [&str; 10] = [
            "socket",
            "timer",
            "target",
            "path",
            "mount",
            "automount",
            "slice",
            "scope",
            "device",
            "swap",
        ];
        let is_part = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if text.is_empty()
            || text.starts_with('-')
            || text.len() > UNIT_CHARS_MAX
            || !text.chars().all(is_part)
        {
            return Err(UnitRefusal::InvalidName);
        }
        if let Some((_, kind)) = text.rsplit_once('.')
            && OTHER_KINDS.contains(&kind)
        {
            return Err(UnitRefusal::NotService(kind.to_owned()));
        }
        let stem = text.strip_suffix(".service").unwrap_or(text);
        let (prefix, instance) = match stem.split_once('@') {
            None => (stem, None),
            Some((prefix, "")) => {
                let example = format!("{prefix}@main.service");
                return Err(UnitRefusal::Template(example, format!("{prefix}@*")));
            }
            Some((prefix, instance)) => (prefix, Some(instance.to_owned())),
        };
        if prefix.is_empty() {
            return Err(UnitRefusal::InvalidName);
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            instance,
        })
    }

    /// The name with its type, as systemd prints it.
    pub fn full(&self) -> String {
        format!("{}.service", self.stem())
    }

    fn stem(&self) -> String {
        match &self.instance {
            None => self.prefix.clone(),
            Some(instance) => format!("{}@{instance}", self.prefix),
        }
    }

    /// A valid name for a service of ship.
    pub fn service(&self) -> String {
        let sanitize = |c: char| match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
            _ => '-',
        };
        let stem = self.stem();
        let name: String = stem.chars().map(sanitize).take(SERVICE_CHARS_MAX).collect();
        let name = name.trim_matches('-').to_owned();
        if names::SERVICE.check(&name).is_ok() {
            name
        } else {
            format!("service-{name}").trim_matches('-').to_owned()
        }
    }

    /// Replaces the specifiers that would have another value in a unit of ship. The others keep
    /// their value there.
    pub(super) fn resolve_own(&self, text: &str) -> String {
        replace_specifiers(text, |specifier| {
            let value = self.own_specifier(specifier)?;
            Some(value.replace('%', "%%"))
        })
    }

    /// Replaces all specifiers of a system unit. `None` if one of them depends on the host.
    pub(super) fn resolve_all(&self, text: &str) -> Option<String> {
        let mut is_known = true;
        let resolved = replace_specifiers(text, |specifier| {
            let fixed = match specifier {
                '%' => "%",
                't' => "/run",
                'S' => "/var/lib",
                'C' => "/var/cache",
                'L' => "/var/log",
                'E' => "/etc",
                'T' => "/tmp",
                'V' => "/var/tmp",
                'h' => "/root",
                'u' => "root",
                'U' => "0",
                _ => "",
            };
            if !fixed.is_empty() {
                return Some(fixed.to_owned());
            }
            let own = self.own_specifier(specifier);
            is_known &= own.is_some();
            own
        });
        is_known.then_some(resolved)
    }

    fn own_specifier(&self, specifier: char) -> Option<String> {
        let instance = self.instance.clone().unwrap_or_default();
        let last = self.prefix.rsplit('-').next().unwrap_or_default();
        match specifier {
            'n' => Some(self.full()),
            'N' => Some(self.stem()),
            'p' => Some(self.prefix.clone()),
            'P' => Some(unescape(&self.prefix)),
            'i' => Some(instance),
            'I' => Some(unescape(&instance)),
            'j' => Some(last.to_owned()),
            'J' => Some(unescape(last)),
            'f' if self.instance.is_some() => Some(format!("/{}", unescape(&instance))),
            'f' => Some(format!("/{}", unescape(&self.prefix))),
            _ => None,
        }
    }
}

/// Replaces each `%X` for which there is a value.
fn replace_specifiers(text: &str, mut value: impl FnMut(char) -> Option<String>) -> String {
    let mut resolved = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            resolved.push(c);
            continue;
        }
        let Some(specifier) = chars.next() else {
            resolved.push('%');
            break;
        };
        match value(specifier) {
            Some(value) => resolved.push_str(&value),
            None => resolved.extend(['%', specifier]),
        }
    }
    resolved
}

/// Undoes the escapes of systemd: `-` stands for `/`, and `\x2d` for a character.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let hex = rest.strip_prefix("\\x").and_then(|hex| hex.get(..2));
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = rest.get(4..).unwrap_or_default();
        } else {
            let c = if c == '-' { '/' } else { c };
            bytes.extend(c.to_string().bytes());
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).expect("a valid name")
    }

    #[test]
    fn unit_name_is_a_service_with_or_without_its_type() {
        assert_eq!(name("redis-server").full(), "redis-server.service");
        assert_eq!(name("worker@mail.service").full(), "worker@mail.service");
        assert_eq!(name("worker@mail").service(), "worker-mail");
        assert_eq!(name("php8.2-fpm").service(), "php8-2-fpm");
        assert_eq!(name("7zip").service(), "service-7zip");
        for other in ["web.socket", "backup.timer", "multi-user.target"] {
            assert!(matches!(
                UnitName::parse(other),
                Err(UnitRefusal::NotService(_))
            ));
        }
        assert!(matches!(
            UnitName::parse("worker@.service"),
            Err(UnitRefusal::Template(..))
        ));
        for invalid in ["", "-x", "web*", "a b", "../web", "@x", "web\n"] {
            assert_eq!(
                UnitName::parse(invalid),
                Err(UnitRefusal::InvalidName),
                "{invalid}"
            );
        }
    }

    #[test]
    fn specifiers_of_the_name_are_replaced_and_others_kept() {
        let name = name("my-worker@a-b\\x2dc");
        assert_eq!(
            name.resolve_own("%n %p %i %I %j %% %t"),
            "my-worker@a-b\\x2dc.service my-worker a-b\\x2dc a/b-c worker %% %t"
        );
        assert_eq!(
            name.resolve_all("%t/%p.sock 100%%").as_deref(),
            Some("/run/my-worker.sock 100%")
        );
        assert_eq!(name.resolve_all("%H"), None);
    }
}
