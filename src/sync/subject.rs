//! Whether a run mirrors what the target was filled with.

use crate::checkpoint::{Checkpoint, StoreIdentity, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Found;

/// Refuses to go on from a position that belongs to something else, to begin what is mirrored already, and to begin again where
/// the position was lost.
pub(crate) fn admit_run(found: &Found, subject: &Subject) -> Result<()> {
    let kept = check_kept(found, subject)?;
    if kept.is_some_and(|kept| kept.seed_from.is_some()) {
        let anew = begin_anew(subject);
        return Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "a seed of {:?} is not done: the target has a part of the store's tuples",
                subject.name
            ),
        )
        .advise(format!(
            "fga-sync seed goes on where it ended; to begin anew, {anew}"
        )));
    }
    check_overlap(&found.others, subject)?;
    let has_lost_rows = found.has_rows && kept.is_none_or(|kept| kept.seeded_at.is_none());
    if has_lost_rows && let Some(store) = &subject.target_store {
        return Err(Error::new(
            ErrorKind::WrongPosition,
            format!("the store {:?} holds tuples, and nobody knows from which position", store.id),
        )
        .advise("check --target and --state; fill an empty store, or bring back the state that belongs to this one"));
    }
    if has_lost_rows {
        return Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the target holds rows of the store {:?}, and no position: the whole log would be added to them again",
                subject.store.id
            ),
        )
        .advise("bring back the row of fga_sync_state from a backup that fits the rows; or delete the rows (fga-sync reset --truncate), or fill other tables (target.schema, target.table_prefix)"));
    }
    Ok(())
}

/// Refuses to seed what has a position or rows, but for those of a seed that is not done.
pub(super) fn admit_seed(found: &Found, subject: &Subject) -> Result<()> {
    let kept = check_kept(found, subject)?;
    let refuse = |what: String| {
        let anew = begin_anew(subject);
        Err(Error::new(ErrorKind::WrongPosition, what).advise(format!(
            "fga-sync run goes on with what is there; to begin anew, {anew}"
        )))
    };
    if let Some(kept) = kept.filter(|kept| kept.token.is_some() || kept.seeded_at.is_some()) {
        let what = if kept.token.is_some() {
            "filled"
        } else {
            "seeded"
        };
        return refuse(format!("the mirror {:?} is {what} already", subject.name));
    }
    check_overlap(&found.others, subject)?;
    if found.has_rows && kept.is_none_or(|kept| kept.seed_from.is_none()) {
        return refuse(match &subject.target_store {
            Some(store) => format!(
                "the store {:?} holds tuples, and a seed fills an empty one",
                store.id
            ),
            None => format!(
                "the target holds rows of the store {:?}, and a seed fills an empty one",
                subject.store.id
            ),
        });
    }
    Ok(())
}

/// How a mirror is given up for another. The tuples of a target store are not deleted.
const fn begin_anew(subject: &Subject) -> &'static str {
    if subject.target_store.is_some() {
        "fga-sync reset, and then fill an empty store"
    } else {
        "fga-sync reset --truncate first"
    }
}

/// The run's own checkpoint, of the same subject. One that holds nothing belongs to nothing: it may have been taken with a mistake in the
/// command line.
fn check_kept<'a>(found: &'a Found, subject: &Subject) -> Result<Option<&'a Checkpoint>> {
    let Some(kept) = found.kept.as_ref().filter(|kept| holds_something(kept)) else {
        return Ok(None);
    };
    check(&kept.subject, subject)?;
    Ok(Some(kept))
}

/// Whether a run or a seed has written for it, or may have.
const fn holds_something(kept: &Checkpoint) -> bool {
    kept.token.is_some()
        || !kept.announced.is_empty()
        || kept.seed_from.is_some()
        || kept.seeded_at.is_some()
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
    check_target_store(
        &subject.name,
        kept.target_store.as_ref(),
        subject.target_store.as_ref(),
    )?;
    if kept.store.name != subject.store.name {
        tracing::warn!(was = ?kept.store.name, is = ?subject.store.name, "the store was renamed");
    }
    Ok(())
}

/// Refuses to go on in another store than the one that was filled.
fn check_target_store(
    name: &str,
    kept: Option<&StoreIdentity>,
    given: Option<&StoreIdentity>,
) -> Result<()> {
    let identity = |store: Option<&StoreIdentity>| {
        store.map(|store| (store.id.clone(), store.created_at.clone()))
    };
    let told = |store: Option<&StoreIdentity>| match store {
        None => "these tables".to_owned(),
        Some(store) => {
            let created_at = store.created_at.as_deref().unwrap_or("an unknown time");
            format!("the store {:?} created at {created_at:?}", store.id)
        }
    };
    if identity(kept) == identity(given) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::WrongPosition,
        format!(
            "the position {name:?} is of what was written to {}, and the target is {}",
            told(kept),
            told(given)
        ),
    )
    .advise("check --target; where the target was replaced or made anew, reset this mirror (fga-sync reset), and fill an empty store"))
}

/// The mirror that has rows in common with this one, if there is any.
pub(super) fn sharing<'a>(checkpoints: &'a [Checkpoint], subject: &Subject) -> Option<&'a Subject> {
    let overlaps = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
    let into = |subject: &Subject| subject.target_store.as_ref().map(|store| store.id.clone());
    checkpoints.iter().map(|kept| &kept.subject).find(|kept| {
        kept.store.id == subject.store.id
            && into(kept) == into(subject)
            && overlaps(&kept.type_filter, &subject.type_filter)
    })
}

/// Refuses to fill one store's rows twice.
fn check_overlap(checkpoints: &[Checkpoint], subject: &Subject) -> Result<()> {
    match sharing(checkpoints, subject) {
        None => Ok(()),
        Some(kept) => Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the store {:?} is mirrored in these tables already, as {:?}; {:?} would add its changes again",
                subject.store.id, kept.name, subject.name
            ),
        )
        .advise("give one of them other tables (target.schema, target.table_prefix), or types that do not overlap; or give the other one up (fga-sync reset)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Mode;
    use crate::page::ContinuationToken;

    fn into_store(id: &str, created_at: &str, name: Option<&str>) -> Subject {
        Subject {
            name: "job".to_owned(),
            source: "https://fga.example/".to_owned(),
            store: StoreIdentity::default(),
            type_filter: String::new(),
            mode: Mode::Stateful,
            target_store: Some(StoreIdentity {
                id: id.to_owned(),
                name: name.map(str::to_owned),
                created_at: Some(created_at.to_owned()),
            }),
        }
    }

    fn refusal(kept: &Checkpoint, subject: &Subject) -> Option<String> {
        let found = Found {
            kept: Some(kept.clone()),
            ..Found::default()
        };
        let error = admit_run(&found, subject).err()?;
        assert_eq!(error.kind(), ErrorKind::WrongPosition);
        assert!(
            error
                .advice()
                .unwrap_or_default()
                .contains("fga-sync reset")
        );
        Some(error.to_string())
    }

    #[test]
    fn another_target_store_is_refused_as_soon_as_something_may_be_in_the_first() {
        let empty = Checkpoint::new(into_store("A", "then", None), None);
        let filled = Checkpoint {
            token: ContinuationToken::new("t"),
            ..empty.clone()
        };
        let begun = Checkpoint {
            announced: vec![[0; 8]],
            ..empty.clone()
        };
        let tables = Subject {
            target_store: None,
            ..into_store("A", "then", None)
        };
        for (other, told) in [
            (&into_store("B", "then", None), "\"B\""),
            (&into_store("A", "later", None), "\"later\""),
            (&tables, "these tables"),
        ] {
            assert_eq!(refusal(&empty, other), None);
            for kept in [&filled, &begun] {
                assert!(refusal(kept, other).unwrap().contains(told), "{told}");
            }
        }
        // Its name is not kept.
        let renamed = into_store("A", "then", Some("renamed"));
        assert_eq!(refusal(&filled, &renamed), None);
    }
}
