//! Whether a run mirrors what the target was filled with.

use crate::checkpoint::{Checkpoint, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Found;

/// Refuses to go on from a position that belongs to something else, to begin what is mirrored already, and to begin again where
/// the position was lost.
pub(super) fn admit(found: &Found, subject: &Subject) -> Result<()> {
    // One without a token holds nothing, and so belongs to nothing: it may have been taken with a mistake in the command line.
    if let Some(kept) = found.kept.as_ref().filter(|kept| kept.token.is_some()) {
        check(&kept.subject, subject)?;
    }
    check_overlap(&found.others, subject)?;
    if found.has_rows {
        return Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the target holds rows of the store {:?}, and no position: the whole log would be added to them again",
                subject.store.id
            ),
        )
        .advise("bring back the row of fga_sync_state from a backup that fits the rows, or fill empty tables (target.schema, target.table_prefix)"));
    }
    Ok(())
}

fn check(kept: &Subject, subject: &Subject) -> Result<()> {
    let differs = |what: &str, was: &str, is: &str, advice: &str| {
        Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the position {:?} in the target belongs to the {what} {was:?}, not {is:?}",
                subject.name
            ),
        )
        .advise(advice))
    };
    if kept.store.id != subject.store.id {
        return differs(
            "store",
            &kept.store.id,
            &subject.store.id,
            "check --store-id; another store needs a job of its own",
        );
    }
    if kept.store.created_at != subject.store.created_at {
        return differs(
            "store created at",
            kept.store
                .created_at
                .as_deref()
                .unwrap_or("an unknown time"),
            subject
                .store
                .created_at
                .as_deref()
                .unwrap_or("an unknown time"),
            "the store was replaced by another with the same id: fill an empty target (target.schema, target.table_prefix) from it",
        );
    }
    if kept.source != subject.source {
        // Ids are ULIDs, made anew for each store; with its time, one is nobody else's.
        if kept.store.created_at.is_none() {
            return differs(
                "source",
                &kept.source,
                &subject.source,
                "check --source; if it is the same recording in another place, update fga_sync_state.source once by hand",
            );
        }
        tracing::warn!(
            was = kept.source,
            is = subject.source,
            "the same store is read at another address"
        );
    }
    if kept.type_filter != subject.type_filter {
        return differs(
            "type filter",
            &kept.type_filter,
            &subject.type_filter,
            "use the --type that it was filled with, or a job of its own ([job.NAME]) for the other type",
        );
    }
    if kept.mode != subject.mode {
        return differs(
            "mode",
            kept.mode.name(),
            subject.mode.name(),
            "use the --mode that it was filled with: the tables of another mode would lack what came before",
        );
    }
    if kept.store.name != subject.store.name {
        tracing::warn!(was = ?kept.store.name, is = ?subject.store.name, "the store was renamed");
    }
    Ok(())
}

/// Refuses to fill one store's rows twice.
fn check_overlap(checkpoints: &[Checkpoint], subject: &Subject) -> Result<()> {
    let overlaps = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
    let twice = checkpoints.iter().map(|kept| &kept.subject).find(|kept| {
        kept.store.id == subject.store.id && overlaps(&kept.type_filter, &subject.type_filter)
    });
    match twice {
        None => Ok(()),
        Some(kept) => Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the store {:?} is mirrored in these tables already, as {:?}; {:?} would add its changes again",
                subject.store.id, kept.name, subject.name
            ),
        )
        .advise("give one of them other tables (target.schema, target.table_prefix), or types that do not overlap; a row of fga_sync_state without a token holds nothing, and can be deleted")),
    }
}
