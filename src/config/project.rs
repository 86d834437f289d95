//! An inventory with its playbook.

use crate::config::inventory::Inventory;
use crate::config::playbook::Playbook;
use crate::config::secret_url::SecretUrl;
use std::path::{Path, PathBuf};

/// A valid inventory with its valid playbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub inventory: Inventory,
    pub playbook: Playbook,
}

impl Project {
    /// The files on this machine that ship reads or runs for this inventory. Arguments of commands
    /// are included only if they name files below `base`, with or without a directory in the name.
    pub fn local_files(&self, base: Option<&Path>) -> Vec<PathBuf> {
        let Self {
            inventory,
            playbook,
        } = self;
        let mut files = vec![inventory.path.clone(), playbook.path.clone()];
        for host in inventory.machines() {
            let ssh = &host.ssh;
            files.extend(
                [&ssh.identity_file, &ssh.config, &ssh.known_hosts]
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
        }
        files.extend(
            playbook
                .service
                .secrets
                .env_file
                .iter()
                .map(|file| file.value.clone()),
        );
        files.extend(playbook.artifact.local_files());
        if let Some(notify) = &playbook.notify {
            files.extend(notify.mail.iter().map(|mail| mail.sendmail.clone()));
            files.extend(
                notify
                    .webhook
                    .iter()
                    .filter_map(|webhook| match &webhook.url {
                        SecretUrl::File(path) => Some(path.clone()),
                        SecretUrl::Literal(_) | SecretUrl::Env(_) => None,
                    }),
            );
        }
        if let Some(SecretUrl::File(path)) = &inventory.state {
            files.push(path.clone());
        }
        let beside = |file: &Path| file.parent().unwrap_or(Path::new("")).to_owned();
        let (here, playbook_dir) = (beside(&inventory.path), beside(&playbook.path));
        let hosts_from = inventory.hosts_from.iter();
        let commands = playbook
            .local_commands()
            .map(|command| (&playbook_dir, command))
            .chain(hosts_from.map(|from| (&here, &from.command[..])));
        for (dir, command) in commands {
            let is_file =
                |index, word: &str| word.contains('/') || index > 0 && dir.join(word).exists();
            let words = command
                .iter()
                .enumerate()
                .filter(|(index, word)| is_file(*index, word));
            let words = words.map(|(index, word)| (index, dir.join(word)));
            let is_below_base =
                |path: &Path| base.is_some_and(|base| absolute(path).starts_with(base));
            files.extend(
                words
                    .filter(|(index, path)| *index == 0 || is_below_base(path))
                    .map(|(_, path)| path),
            );
        }
        files.sort();
        files.dedup();
        files
    }
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Shortens `inventory/../playbooks/a.toml` to `playbooks/a.toml`, if that is the same file.
pub(super) fn tidied(path: &Path) -> Option<PathBuf> {
    let tidy = simplify_path(path);
    (tidy.canonicalize().ok()? == path.canonicalize().ok()?).then_some(tidy)
}

/// The path without `dir/../`. It may be another file if `dir` is a symbolic link.
pub(crate) fn simplify_path(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if tidy.file_name().is_some() => drop(tidy.pop()),
            part => tidy.push(part),
        }
    }
    tidy
}
