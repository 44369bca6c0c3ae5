//! `fga-sync version`: which program this is, and which tables it makes.

use serde::Serialize;

use super::{print, print_json};
use crate::config::Format;
use crate::error::Result;
use crate::schema;

/// Keys are added, never changed or taken away.
#[derive(Serialize)]
struct Version {
    version: &'static str,
    schema_version: u32,
}

/// As `--version` prints it after any command.
pub(super) const LINE: &str = concat!("fga-sync ", env!("CARGO_PKG_VERSION"), "\n");

pub(super) fn version(format: Format) -> Result<u8> {
    match format {
        Format::Text => print(&format!("{LINE}tables of version {}\n", schema::VERSION))?,
        Format::Json => print_json(&Version {
            version: env!("CARGO_PKG_VERSION"),
            schema_version: schema::VERSION,
        })?,
    }
    Ok(0)
}
