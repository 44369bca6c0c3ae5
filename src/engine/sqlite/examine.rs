//! What the file tells of how a run would fare.

use super::classify::while_doing;
use super::{Sqlite, lock};
use crate::engine::examine::{Between, Concern, Examine, Written};
use crate::schema::SchemaStatus;
use crate::target::TargetResult;

impl Examine for Sqlite {
    fn product(&mut self) -> TargetResult<String> {
        Ok(format!("SQLite {}", rusqlite::version()))
    }

    /// Opening it has shown that the file and its directory may be written. SQLite has no rights of tables.
    fn try_rights(&mut self, _tables: &SchemaStatus, _writes: Written) -> TargetResult<String> {
        self.connection
            .execute_batch("begin immediate; rollback")
            .map_err(while_doing("begin to write"))?;
        lock::may_be_taken(&self.path)?;
        Ok("the file and its directory may be written, and a transaction begins".to_owned())
    }

    /// Each run sets what it needs.
    fn concerns(&mut self) -> TargetResult<Vec<Concern>> {
        Ok(Vec::new())
    }

    fn between(&mut self) -> TargetResult<Option<Between>> {
        Ok(None)
    }
}
