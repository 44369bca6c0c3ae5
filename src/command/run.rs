//! `fga-sync run`: drains the change feed into the target.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tracing::Span;

use super::{conclude, log_failure_of, runner};
use crate::cli::RunArgs;
use crate::config::{Config, OutputSettings, RunSettings, SourceSettings};
use crate::engine::{self, Access, DryRun, TargetSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Runner;
use crate::report::{
    Counted, Listeners, Meters, Places, Progress, Subject, Summaries, Summary, Tally, UnderWay,
    Watchers, log_end,
};
use crate::source::{ChangeSource, OpenFga, Replay};
use crate::span;
use crate::store::Store;
use crate::sync::{self, GivenUp, Outcome, RejectsTo, Stop, open_persistently};
use crate::target::Target;

pub(super) fn run(
    config: &Config,
    arguments: &RunArgs,
    output: &OutputSettings,
    watchers: &mut Watchers,
) -> Result<u8> {
    let stop = Stop::on_signals().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "can't listen for signals").because(error)
    })?;
    if arguments.all {
        return run_all(config, arguments, output, &stop, watchers);
    }
    let job = arguments.job.as_deref();
    let settings = config.run(job)?;
    let summary = run_job(job, settings, work(arguments), output, &stop, watchers);
    Ok(conclude(&summary, output, watchers))
}

/// Runs every job. One that does not reach the end of its log holds up only those that need it.
fn run_all(
    config: &Config,
    arguments: &RunArgs,
    output: &OutputSettings,
    stop: &Stop,
    watchers: &mut Watchers,
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
    let mut not_begun = Vec::new();
    for (settings, name, after) in jobs {
        stopped = stopped.or_else(|| stop.requested());
        if stopped.is_some() {
            not_begun.push(name);
            continue;
        }
        let summary = if let Some(needed) = after.iter().find(|name| !drained.contains(*name)) {
            tracing::warn!(job = name, needed, "left out");
            let summary = Summary::new(
                subject(Some(&name), &settings, work(arguments)),
                &Tally::default(),
                Ok(Outcome::LeftOut),
                Duration::ZERO,
            );
            if let Some(meanwhile) = watchers.meanwhile() {
                meanwhile.end(summary.clone());
            }
            summary
        } else {
            let work = work(arguments);
            run_job(Some(&name), settings, work, output, stop, watchers)
        };
        // A job whose work was left to another run ends with code 0 too.
        if summary.is_drained() {
            drained.insert(name);
        }
        summaries.push(summary);
    }
    let summaries = Summaries::new(summaries, stopped, not_begun);
    Ok(conclude(&summaries, output, watchers))
}

/// What is done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Its log is drained.
    Run {
        /// Whether nothing is written.
        dry_run: bool,
    },
    /// It gets the tuples as they stand.
    Seed,
}

impl Work {
    const fn command(self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Seed => "seed",
        }
    }

    const fn is_dry(self) -> bool {
        matches!(self, Self::Run { dry_run: true })
    }

    /// What is counted meanwhile.
    const fn counts(self) -> Counted {
        match self {
            Self::Run { .. } => Counted::Changes,
            Self::Seed => Counted::Tuples,
        }
    }
}

const fn work(arguments: &RunArgs) -> Work {
    Work::Run {
        dry_run: arguments.dry_run,
    }
}

fn subject(job: Option<&str>, settings: &RunSettings, work: Work) -> Subject {
    subject_of(work.command(), job, settings, work.is_dry())
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
        mirror: Some(settings.options.name.clone()),
        run_id: None,
        places: Places {
            source: Some(settings.options.source.clone()),
            ..places(&settings.target)
        },
        store_id: given(settings.source.store_id()),
        type_filter: given(&settings.options.type_filter),
        mode: Some(settings.options.mode.name()),
        dry_run,
    }
}

/// The target, and what keeps its position.
pub(super) fn places(target: &TargetSettings) -> Places {
    Places {
        source: None,
        target: Some(target.shown.clone()),
        state: (target.store.as_ref()).map(|store| store.state.clone()),
        schema: target.database.schema().map(str::to_owned),
        table_prefix: target.database.table_prefix().map(str::to_owned),
    }
}

pub(super) fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Works on one job and tells of a failure at once; the summary has it too. All that is logged meanwhile names the job.
pub(super) fn run_job(
    job: Option<&str>,
    settings: RunSettings,
    work: Work,
    output: &OutputSettings,
    stop: &Stop,
    watchers: &Watchers,
) -> Summary {
    let started = Instant::now();
    let runner = runner();
    let mut subject = subject(job, &settings, work);
    subject.run_id = Some(runner.run_id.clone());
    let span = span_of(&subject, &runner).entered();
    let mut tally = Tally::default();
    let meters = Meters {
        source: settings.source.meter(),
        target: (settings.target.store.as_ref()).map(|store| store.api.meter.clone()),
    };
    let meanwhile = watchers.meanwhile();
    if let Some(meanwhile) = meanwhile {
        meanwhile.begin(subject.clone(), started, meters.clone());
    }
    let told = (&mut tally, meanwhile);
    let result = open_and_work(settings, work, &runner, output, stop, told);
    meters.read(&mut tally);
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
    if let Some(meanwhile) = meanwhile {
        meanwhile.end(summary.clone());
    }
    span::note(&span, "changes", tally.changes);
    span::end(&span, result.as_ref().map(|outcome| outcome.ending()));
    summary
}

/// What the log lines of a command stand in.
pub(super) fn span_of(subject: &Subject, runner: &Runner) -> Span {
    span::of_command(
        subject.command,
        subject.job.as_deref(),
        Some(&runner.run_id),
        subject.store_id.as_deref(),
    )
}

fn open_and_work(
    settings: RunSettings,
    work: Work,
    runner: &Runner,
    output: &OutputSettings,
    stop: &Stop,
    (tally, meanwhile): (&mut Tally, Option<&UnderWay>),
) -> Result<Outcome> {
    let RunSettings {
        source,
        target,
        mut options,
        rejects,
    } = settings;
    // Before anything is opened or read, so that one that can't be made is told at once.
    options.rejects = match rejects {
        Some(_) if work.is_dry() => Some(RejectsTo::Nowhere),
        rejects => rejects.map(|path| RejectsTo::file(&path)).transpose()?,
    };
    // A time that no clock reaches is no limit.
    let deadline = options
        .max_duration
        .and_then(|duration| Instant::now().checked_add(duration));
    let source: Box<dyn ChangeSource> = match source {
        SourceSettings::OpenFga(settings) => Box::new(OpenFga::new(*settings)?),
        SourceSettings::Recording { input, store_id } => Box::new(Replay::new(input, store_id)),
    };
    let access = if work.is_dry() {
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
    if work.is_dry() {
        target = Box::new(DryRun {
            target,
            migrate: options.migrate,
        });
    }
    let progress = Progress::new(output, stop, work.counts());
    let mut listeners = Listeners {
        tally,
        progress: &progress,
        meanwhile,
    };
    let work = match work {
        Work::Run { .. } => sync::run,
        Work::Seed => sync::seed,
    };
    let result = work(
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
