//! The documentation: generated references are current, links lead somewhere, and what a page shows
//! is accepted by ship.

mod annotated;
mod cli_reference;
mod command_lines;
mod configuration_reference;
mod exit_codes;
mod generated;
mod glossary;
mod known_keys;
mod links;
mod markdown;
mod pages;
mod prose;
mod quick_start;
mod toml_blocks;
