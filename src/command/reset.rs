//! `fga-sync reset`: gives a mirror up.

use std::io::{IsTerminal, Write as _};
use std::time::Instant;

use tracing::Span;

use super::run::{places, span_of};
use super::{log_failure, print_summary, runner};
use crate::cli::ResetArgs;
use crate::config::{Config, MirrorSettings, OutputSettings};
use crate::engine::{self, Access, Database};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Runner;
use crate::mirror::{RowCounts, Scope};
use crate::one_line::shortened;
use crate::outcome::Ending;
use crate::report::{Ended as _, Subject, Summary, Tally, log_end};
use crate::sync::{self, Outcome, ResetOptions, Stop, ToReset, open_persistently, to_reset};
use crate::target::{Target, TargetError};

/// The characters of a store's name that are shown.
const NAME_WIDTH: usize = 80;

pub(super) fn reset(config: &Config, arguments: &ResetArgs, output: &OutputSettings) -> Result<u8> {
    let settings = config.mirror(arguments.job.as_deref())?;
    if arguments.truncate && settings.target.store.is_some() {
        return Err(
            Error::usage("--truncate deletes rows of tables, and the target is a store")
                .advise("without it, the position is forgotten; then fill an empty store"),
        );
    }
    let asks = !arguments.yes && !arguments.dry_run;
    if asks && !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Error::usage("there is no terminal to ask on")
            .advise("--yes, or --dry-run to see what would go"));
    }
    let started = Instant::now();
    let runner = runner();
    let mut subject = Subject {
        command: "reset",
        job: arguments.job.clone(),
        mirror: Some(settings.subject.name.clone()),
        places: places(&settings.target),
        dry_run: arguments.dry_run,
        ..Subject::default()
    };
    let _entered = span_of(&subject, &runner).entered();
    let mut tally = Tally::default();
    let result = look_and_reset(
        &settings,
        arguments,
        asks,
        &runner,
        (&mut subject, &mut tally),
    );
    let summary = match &result {
        Ok(ending) => Summary::done(subject, &tally, *ending, started.elapsed()),
        Err(error) => {
            log_failure(error, output);
            Summary::new(subject, &tally, Err(error), started.elapsed())
        }
    };
    log_end(&summary);
    print_summary(&summary, output);
    Ok(summary.exit_code())
}

/// Looks by a connection that writes nothing, so that a path or a name that was mistyped leaves nothing.
fn look_and_reset(
    settings: &MirrorSettings,
    arguments: &ResetArgs,
    asks: bool,
    runner: &Runner,
    (subject, tally): (&mut Subject, &mut Tally),
) -> Result<Ending> {
    let truncate = arguments.truncate;
    let database = &settings.target.database;
    let mut target = open(database, Access::ReadOnly, &Stop::default())?;
    let found = to_reset(
        target.as_mut(),
        &settings.subject,
        truncate,
        &Stop::default(),
    )?;
    tell(&found, subject, tally);
    Span::current().record("store_id", subject.store_id.as_deref());
    if found.is_nothing(truncate) {
        if found.has_lost_rows {
            tracing::warn!("there are rows without a position: --truncate deletes them");
        }
        return Ok(Ending::NothingToReset);
    }
    if asks || arguments.dry_run {
        let mirrored = &found.subject;
        let rows = target
            .count_rows(Scope {
                store_id: &mirrored.store.id,
                type_filter: &mirrored.type_filter,
            })
            .map_err(TargetError::into_error)?;
        if asks && !is_wanted(&found, settings, truncate, rows)? {
            return Ok(Ending::Declined);
        }
        if arguments.dry_run {
            tally.rows_deleted = truncate.then_some(rows);
            return Ok(Ending::Reset);
        }
    }
    drop(target);
    // From here on. Before, nothing was to be tidied up, and a signal ended a question at once.
    let stop = Stop::on_signals().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "can't listen for signals").because(error)
    })?;
    let mut target = open(database, Access::ReadWrite, &stop)?;
    let options = ResetOptions {
        subject: &found.subject,
        truncate,
        keep_runs: settings.keep_runs,
    };
    subject.run_id = Some(runner.run_id.clone());
    let mut deleted = RowCounts::default();
    let outcome = sync::reset(target.as_mut(), runner, options, &stop, &mut deleted);
    tally.rows_deleted = truncate.then_some(deleted);
    let outcome = Outcome::or_stopped(outcome, &stop)?;
    if outcome == Outcome::Reset && settings.target.store.is_some() {
        tracing::warn!(
            "tuples that are in the target store stay, and no run goes on with them: fill an empty store"
        );
    } else if outcome == Outcome::Reset && !truncate {
        tracing::warn!(
            "rows that are there stay, and no run goes on with them: fga-sync reset --truncate deletes them"
        );
    }
    Ok(outcome.ending())
}

fn open(database: &Database, access: Access, stop: &Stop) -> Result<Box<dyn Target>> {
    open_persistently(stop, || engine::open(database, access))
}

/// Notes what is found for the summary.
fn tell(found: &ToReset, subject: &mut Subject, tally: &mut Tally) {
    let mirrored = &found.subject;
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    subject.places.source = given(&mirrored.source);
    subject.store_id = given(&mirrored.store.id);
    subject.type_filter = given(&mirrored.type_filter);
    subject.mode = Some(mirrored.mode.name());
    tally.store.clone_from(&mirrored.store);
    if let Some(kept) = &found.kept {
        tally.token = kept.token.as_ref().map(|token| token.as_str().to_owned());
        tally.position_time = kept.position_time;
        tally.complete_as_of = kept.complete_as_of;
    }
}

/// Shows what would go, and asks. Only a plain yes is one.
fn is_wanted(
    found: &ToReset,
    settings: &MirrorSettings,
    truncate: bool,
    rows: RowCounts,
) -> Result<bool> {
    let failed =
        |error| Error::new(ErrorKind::Unexpected, "can't ask on the terminal").because(error);
    let question = question(found, settings, truncate, rows);
    let mut terminal = std::io::stderr();
    terminal
        .write_all(question.as_bytes())
        .and_then(|()| terminal.flush())
        .map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn question(
    found: &ToReset,
    settings: &MirrorSettings,
    truncate: bool,
    RowCounts { changelog, tuples }: RowCounts,
) -> String {
    let mirrored = &found.subject;
    let position = match &found.kept {
        None => "there is no position".to_owned(),
        Some(kept) => kept.position_time.map_or_else(
            || "nothing was applied yet".to_owned(),
            |time| format!("applied up to {time:.0}"),
        ),
    };
    let of_type = if mirrored.type_filter.is_empty() {
        String::new()
    } else {
        format!(", type {}", shortened(&mirrored.type_filter, NAME_WIDTH))
    };
    let rows = format!("{changelog} rows of fga_changelog and {tuples} of fga_tuples");
    let what = if settings.target.store.is_some() {
        "The position goes. The tuples in the store stay, and no run goes on with them: fill an empty store.".to_owned()
    } else if truncate {
        format!("The position goes, and {rows} are deleted.")
    } else {
        format!(
            "The position goes. {rows} stay, and no run goes on with them: --truncate deletes them."
        )
    };
    format!(
        "{}, store {}{of_type}, in {}: {position}\n{what} Go on? [y/N] ",
        shortened(&mirrored.name, NAME_WIDTH),
        shortened(&mirrored.store.id, NAME_WIDTH),
        settings.target.shown
    )
}
