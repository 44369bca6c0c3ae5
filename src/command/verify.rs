//! `fga-sync verify`: compares a mirror with its store.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::log_failure_of;
use super::run::{span_of, subject_of};
use super::{conclude, runner};
use crate::cli::VerifyArgs;
use crate::config::{Config, OutputSettings, RunSettings, SourceSettings};
use crate::engine::{self, Access, TargetSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Runner;
use crate::report::{Compared, ComparedSummary, Comparing, Watchers, log_compared};
use crate::source::OpenFga;
use crate::span;
use crate::store::Store;
use crate::sync::{
    Difference, GivenUp, Outcome, Stop, Verified, VerifyOptions, open_persistently,
    verify as compare,
};
use crate::target::Target;

pub(super) fn verify(
    config: &Config,
    arguments: &VerifyArgs,
    output: &OutputSettings,
    watchers: &mut Watchers,
) -> Result<u8> {
    let stop = Stop::on_signals().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "can't listen for signals").because(error)
    })?;
    let job = arguments.job.as_deref();
    let settings = config.verify(job)?;
    if arguments.repair && !settings.options.mode.keeps_tuples() {
        return Err(Error::usage(
            "in mode changelog there is nothing that can be repaired: what a changelog lacks can't be told from a store",
        )
        .advise("without --repair; if it differs, fill empty tables (target.schema, target.table_prefix) by fga-sync run"));
    }
    let mut file = arguments.output.as_deref().map(Lines::create).transpose()?;
    let started = Instant::now();
    let runner = runner();
    let mut subject = subject_of("verify", job, &settings, false);
    let span = span_of(&subject, &runner).entered();
    subject.run_id = arguments.repair.then(|| runner.run_id.clone());
    let compared = open_and_compare(settings, arguments.repair, &runner, output, &stop)
        .and_then(|verified| take_down(&verified, arguments.show, file.as_mut()));
    if let Err(error) = &compared {
        log_failure_of(job, error, output);
    }
    let summary = ComparedSummary::new(
        subject,
        compared.as_ref(),
        arguments.repair,
        started.elapsed(),
    );
    log_compared(&summary);
    let ended = compared.as_ref().map(|compared| compared.outcome.ending());
    span::end(&span, ended);
    Ok(conclude(&summary, output, watchers))
}

fn open_and_compare(
    settings: RunSettings,
    repair: bool,
    runner: &Runner,
    output: &OutputSettings,
    stop: &Stop,
) -> Result<Verified> {
    let SourceSettings::OpenFga(source) = settings.source else {
        return Err(Error::usage(
            "a recording has no tuples to compare a mirror with",
        ));
    };
    let source = Box::new(OpenFga::new(*source)?);
    let access = if repair {
        Access::ReadWrite
    } else {
        Access::ReadOnly
    };
    let TargetSettings {
        database,
        store: target_store,
        ..
    } = settings.target;
    let opening = stop.clone();
    let opened = stop.or(None, move || {
        open_persistently(&opening, || engine::open(&database, access))
    });
    let ended = |outcome| Verified {
        outcome,
        store: None,
        findings: None,
    };
    let mut target: Box<dyn Target> = match opened {
        Ok(Ok(target)) => target,
        Ok(Err(error)) => return Outcome::or_stopped(Err(error), stop).map(ended),
        Err(GivenUp::Signal(signal)) => return Ok(ended(Outcome::Stopped(signal))),
        Err(GivenUp::Deadline) => return Ok(ended(Outcome::LimitReached)),
    };
    if let Some(settings) = target_store {
        target = Box::new(Store::open(target, &settings, stop)?);
    }
    let options = VerifyOptions {
        run: settings.options,
        repair,
    };
    let mut watch = Comparing::every(output.progress_every);
    compare(
        source,
        target.as_mut(),
        runner,
        &options,
        stop,
        &mut |what, count| watch.note(what, count),
    )
}

/// What is shown of the findings, with all differences in the file.
fn take_down(verified: &Verified, show: usize, mut file: Option<&mut Lines>) -> Result<Compared> {
    let mut compared = Compared {
        outcome: verified.outcome,
        store: verified.store.clone(),
        counts: None,
        shown: Vec::new(),
    };
    let Some(findings) = &verified.findings else {
        return Ok(compared);
    };
    compared.counts = Some(findings.counts);
    findings.each(|difference| {
        if compared.shown.len() < show {
            compared.shown.push(difference.clone());
        }
        if let Some(file) = &mut file {
            file.add(difference)?;
        }
        Ok(file.is_some() || compared.shown.len() < show)
    })?;
    if let Some(file) = file {
        file.finish()?;
    }
    Ok(compared)
}

/// A file of lines of JSON. It is made before anything is read, so that one that can't be is told at once.
struct Lines {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl Lines {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| {
            Error::usage(format!("can't make the file {}", path.display()))
                .because(error)
                .advise("another --output, in a directory that is there and may be written")
        })?;
        Ok(Self {
            path: path.to_owned(),
            writer: BufWriter::new(file),
        })
    }

    fn add(&mut self, difference: &Difference) -> Result<()> {
        let written = serde_json::to_writer(&mut self.writer, difference)
            .map_err(std::io::Error::from)
            .and_then(|()| self.writer.write_all(b"\n"));
        written.map_err(|error| self.failed(error))
    }

    fn finish(&mut self) -> Result<()> {
        let written = self.writer.flush();
        written.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let path = self.path.display();
        Error::new(
            ErrorKind::Unexpected,
            format!("can't write the differences to {path}"),
        )
        .because(error)
        .advise("make room there; what is there is not complete")
    }
}
