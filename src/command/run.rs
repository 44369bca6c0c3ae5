//! `fga-sync run`: drains the change feed into the target.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{log_failure_of, print, print_json, told};
use crate::cli::RunArgs;
use crate::config::{Config, Format, OutputSettings, RunSettings, SourceSettings};
use crate::engine::{self, Access, DryRun, TargetSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Runner;
use crate::one_line::shortened;
use crate::report::{Listeners, Progress, Subject, Summaries, Summary, Tally, log_end, log_start};
use crate::source::{ChangeSource, OpenFga, Replay};
use crate::span;
use crate::store::Store;
use crate::sync::{GivenUp, Outcome, Stop, open_persistently, run as run_once};
use crate::target::Target;

/// The characters of a machine's name that are kept. The system allows 64 of them, or 255.
const HOST_WIDTH: usize = 255;

pub(super) fn run(config: &Config, arguments: &RunArgs, output: &OutputSettings) -> Result<u8> {
    let stop = Stop::on_signals().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "can't listen for signals").because(error)
    })?;
    if arguments.all {
        return run_all(config, arguments, output, &stop);
    }
    let job = arguments.job.as_deref();
    let settings = config.run(job)?;
    let summary = run_job(job, settings, arguments.dry_run, output, &stop);
    print_summary(&summary, output);
    Ok(summary.exit_code())
}

/// Runs every job. One that does not reach the end of its log holds up only those that need it.
fn run_all(
    config: &Config,
    arguments: &RunArgs,
    output: &OutputSettings,
    stop: &Stop,
) -> Result<u8> {
    let jobs = config.jobs()?;
    // All settings are checked before anything runs.
    let jobs: Vec<_> = jobs
        .into_iter()
        .map(|(name, after)| Ok((config.run(Some(&name))?, name, after)))
        .collect::<Result<_>>()?;
    let mut drained = BTreeSet::new();
    let mut summaries = Vec::new();
    let mut stopped = None;
    for (settings, name, after) in jobs {
        stopped = stop.requested();
        if stopped.is_some() {
            break;
        }
        let summary = if let Some(needed) = after.iter().find(|name| !drained.contains(*name)) {
            tracing::warn!(job = name, needed, "left out");
            Summary::new(
                subject(Some(&name), &settings, arguments.dry_run),
                &Tally::default(),
                Ok(Outcome::LeftOut),
                Duration::ZERO,
            )
        } else {
            run_job(Some(&name), settings, arguments.dry_run, output, stop)
        };
        // A job whose work was left to another run ends with code 0 too.
        if summary.is_drained() {
            drained.insert(name);
        }
        summaries.push(summary);
    }
    let summaries = Summaries::new(summaries, stopped);
    print_summary(&summaries, output);
    Ok(summaries.exit_code())
}

/// Prints how it went, in the form that is wanted.
pub(super) fn print_summary(summary: &(impl Serialize + Display), output: &OutputSettings) {
    let printed = match output.format {
        Format::Json => print_json(summary),
        Format::Text if output.quiet => Ok(()),
        Format::Text => print(&summary.to_string()),
    };
    told(printed, output);
}

fn subject(job: Option<&str>, settings: &RunSettings, dry_run: bool) -> Subject {
    subject_of("run", job, settings, dry_run)
}

/// What a command is about.
pub(super) fn subject_of(
    command: &'static str,
    job: Option<&str>,
    settings: &RunSettings,
    dry_run: bool,
) -> Subject {
    Subject {
        command,
        job: job.map(str::to_owned),
        run_id: None,
        source: Some(settings.options.source.clone()),
        store_id: given(settings.source.store_id()),
        type_filter: given(&settings.options.type_filter),
        target: Some(settings.target.shown.clone()),
        state: (settings.target.store.as_ref()).map(|store| store.state.clone()),
        schema: settings.target.database.schema().map(str::to_owned),
        table_prefix: settings.target.database.table_prefix().map(str::to_owned),
        mode: Some(settings.options.mode.name()),
        dry_run,
    }
}

pub(super) fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Runs one job and tells of a failure at once; the summary has it too. All that is logged meanwhile names the job.
fn run_job(
    job: Option<&str>,
    settings: RunSettings,
    dry_run: bool,
    output: &OutputSettings,
    stop: &Stop,
) -> Summary {
    let _entered = span::of_job(job).entered();
    let started = Instant::now();
    let runner = runner();
    let mut subject = subject(job, &settings, dry_run);
    subject.run_id = Some(runner.run_id.clone());
    log_start(&subject);
    let mut tally = Tally::default();
    let result = open_and_run(settings, dry_run, &runner, output, stop, &mut tally);
    if let Err(error) = &result {
        log_failure_of(job, error, output);
    }
    let summary = Summary::new(
        subject,
        &tally,
        result.as_ref().map(|outcome| *outcome),
        started.elapsed(),
    );
    log_end(&summary);
    summary
}

/// A new run of this process.
pub(super) fn runner() -> Runner {
    Runner {
        run_id: ulid::Ulid::generate().to_string(),
        host: whoami::hostname()
            .ok()
            .map(|host| shortened(&host, HOST_WIDTH)),
        pid: std::process::id(),
    }
}

fn open_and_run(
    settings: RunSettings,
    dry_run: bool,
    runner: &Runner,
    output: &OutputSettings,
    stop: &Stop,
    tally: &mut Tally,
) -> Result<Outcome> {
    let RunSettings {
        source,
        target,
        mut options,
    } = settings;
    // A time that no clock reaches is no limit.
    let deadline = options
        .max_duration
        .and_then(|duration| Instant::now().checked_add(duration));
    let source: Box<dyn ChangeSource> = match source {
        SourceSettings::OpenFga(settings) => Box::new(OpenFga::new(*settings)?),
        SourceSettings::Recording { input, store_id } => Box::new(Replay::new(input, store_id)),
    };
    let access = if dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let TargetSettings {
        database,
        store: target_store,
        ..
    } = target;
    let opening = stop.clone();
    let opened = stop.or(deadline, move || {
        open_persistently(&opening, || engine::open(&database, access))
    });
    let mut target: Box<dyn Target> = match opened {
        Ok(Ok(target)) => target,
        Ok(Err(error)) => return Outcome::or_stopped(Err(error), stop),
        Err(GivenUp::Signal(signal)) => return Ok(Outcome::Stopped(signal)),
        Err(GivenUp::Deadline) => {
            let message = "the target was not reached before --max-duration was over";
            return Err(Error::new(ErrorKind::TargetUnavailable, message)
                .advise("see that it is up and can be reached from here"));
        }
    };
    if let Some(settings) = target_store {
        target = Box::new(Store::open(target, &settings, stop)?);
    }
    options.max_duration =
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if dry_run {
        target = Box::new(DryRun {
            target,
            migrate: options.migrate,
        });
    }
    let progress = Progress::new(output, stop);
    let mut listeners = Listeners {
        tally,
        progress: &progress,
    };
    let result = run_once(
        source,
        target.as_mut(),
        runner,
        &options,
        stop,
        &mut listeners,
    );
    progress.finish();
    result
}
