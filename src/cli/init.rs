//! `ship init`: an inventory and a playbook to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::args::InitArgs;
use super::exit::{Exit, Fail};
use super::output::print;

const INVENTORY: &str = include_str!("init/inventory.toml");
const PLAYBOOK: &str = include_str!("init/playbook.toml");
/// What a service is called where its directory's name is none for one.
const SERVICE: &str = "app";

pub(super) fn run(args: InitArgs) -> Result<Exit, Fail> {
    let inventory = args
        .inventory
        .inventory
        .unwrap_or_else(|| PathBuf::from("inventory.toml"));
    let playbook = inventory.with_file_name("playbook.toml");
    if inventory == playbook {
        return Err(Fail::refused(
            "error: the playbook is to be playbook.toml; give the inventory another name",
        ));
    }
    let service = service_name(&inventory);
    for file in [&inventory, &playbook] {
        if file.exists() {
            return Err(exists(file));
        }
    }
    write_new(&playbook, &PLAYBOOK.replace("SERVICE", &service))?;
    write_new(&inventory, &INVENTORY.replace("PLAYBOOK", "playbook.toml"))?;
    let (inventory, playbook) = (inventory.display(), playbook.display());
    print(&format!(
        "wrote {inventory}: name your machines in it\nwrote {playbook}: say in it what runs \
         there\n\nthen:\n  ship check \
         {inventory}      # the files and every machine, all problems at once\n  ship plan \
         {inventory}       # what a \
         deploy would do\n  ship deploy {inventory}\n"
    ))
}

/// The name of the inventory's directory, as far as a service may have it.
fn service_name(inventory: &Path) -> String {
    let absolute = std::path::absolute(inventory).unwrap_or_else(|_| inventory.to_owned());
    let dir = absolute
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().to_lowercase());
    let fit = |c: char| {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            c
        } else {
            '-'
        }
    };
    let name: String = dir.unwrap_or_default().chars().take(30).map(fit).collect();
    let name = name.trim_matches('-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.to_owned()
    } else {
        SERVICE.to_owned()
    }
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> Result<(), Fail> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    match written.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(why) if why.kind() == ErrorKind::AlreadyExists => Err(exists(path)),
        Err(why) => Err(Fail::refused(format!(
            "error: cannot write {}: {why}",
            path.display()
        ))),
    }
}

fn exists(path: &Path) -> Fail {
    Fail::refused(format!(
        "error: {} is there already, and stays as it is; name another inventory",
        path.display()
    ))
}
