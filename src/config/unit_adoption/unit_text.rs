//! The files of a unit, as `systemctl cat` prints them one after another.

/// The settings of a unit, in the order of its files.
#[derive(Debug, Default)]
pub(super) struct UnitText {
    settings: Vec<UnitSetting>,
}

#[derive(Debug, PartialEq, Eq)]
struct UnitSetting {
    section: String,
    name: String,
    value: String,
}

impl UnitText {
    pub(super) fn parse(text: &str) -> Self {
        let mut settings = Vec::new();
        let mut section = String::new();
        let mut line = String::new();
        for part in text.lines() {
            // A comment may stand between the parts of a line.
            if part.trim_start().starts_with(['#', ';']) {
                continue;
            }
            if let Some(continued) = part.strip_suffix('\\') {
                line.push_str(continued);
                line.push(' ');
                continue;
            }
            line.push_str(part);
            let whole = std::mem::take(&mut line);
            let whole = whole.trim();
            let header = whole.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            if let Some(name) = header {
                name.clone_into(&mut section);
            } else if let Some((name, value)) = whole.split_once('=') {
                settings.push(UnitSetting {
                    section: section.clone(),
                    name: name.trim().to_owned(),
                    value: value.trim().replace('\t', " "),
                });
            }
        }
        Self { settings }
    }

    /// The values of a setting. An empty one removes those before it.
    pub(super) fn values(&self, section: &str, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for setting in &self.settings {
            if setting.section != section || setting.name != name {
                continue;
            }
            if setting.value.is_empty() {
                values.clear();
            } else {
                values.push(setting.value.as_str());
            }
        }
        values
    }

    pub(super) fn has(&self, section: &str, name: &str) -> bool {
        let mut settings = self.settings.iter();
        settings.any(|setting| setting.section == section && setting.name == name)
    }

    /// The names in a section, each once.
    pub(super) fn names(&self, section: &str) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for setting in &self.settings {
            if setting.section == section && !names.contains(&setting.name.as_str()) {
                names.push(&setting.name);
            }
        }
        names
    }

    /// The sections, each once.
    pub(super) fn sections(&self) -> Vec<&str> {
        let mut sections: Vec<&str> = Vec::new();
        for setting in &self.settings {
            if !sections.contains(&setting.section.as_str()) {
                sections.push(&setting.section);
            }
        }
        sections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_text_joins_lines_and_applies_drop_ins() {
        let text = UnitText::parse(
            "# /etc/systemd/system/a.service\n[Service]\nExecStart=/bin/a \\\n# why\n  -b\nLimit=1\n\
             ReadWritePaths=/a\n\n# /etc/systemd/system/a.service.d/x.conf\n[Service]\nLimit = 2\n\
             ReadWritePaths=\nReadWritePaths=/b\nReadWritePaths=/c\n[Unit]\nAfter=\n",
        );
        assert_eq!(text.values("Service", "ExecStart"), ["/bin/a    -b"]);
        assert_eq!(text.values("Service", "Limit"), ["1", "2"]);
        assert_eq!(text.values("Service", "ReadWritePaths"), ["/b", "/c"]);
        assert_eq!(text.values("Unit", "After"), [""; 0]);
        assert!(text.has("Unit", "After") && !text.has("Service", "After"));
        assert_eq!(
            text.names("Service"),
            ["ExecStart", "Limit", "ReadWritePaths"]
        );
        assert_eq!(text.sections(), ["Service", "Unit"]);
    }
}
