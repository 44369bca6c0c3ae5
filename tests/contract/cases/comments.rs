//! The tables say what they hold, to whoever looks at them with a client of the database.

use anyhow::ensure;

use super::cases;
use crate::engine::{Done, Engine, TABLES};

cases![every_table_and_column_says_what_it_holds];

fn every_table_and_column_says_what_it_holds(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    database.open()?.migrate().done()?;
    for table in TABLES.iter().chain(&["fga_sync_schema"]) {
        let (of_table, of_columns) = database.comments(table)?;
        ensure!(says_something(of_table.as_deref()), "{table}: {of_table:?}");
        ensure!(of_columns.len() > 1, "{table}: {of_columns:?}");
        for column in of_columns {
            ensure!(says_something(column[1].as_deref()), "{table}: {column:?}");
        }
    }
    Ok(())
}

/// In letters that every encoding has.
fn says_something(comment: Option<&str>) -> bool {
    comment.is_some_and(|said| !said.is_empty() && said.is_ascii())
}
