//! One reading of store, tables and feed, and what it comes to.

use jiff::{SignedDuration, Timestamp};

use super::spill::Spill;
use super::state::{Mark, SAME_TIME, Table};
use super::{Interruption, Step, Watch};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::lookback::{OverlapPage, Seen};
use crate::mirror::{Place, RowPage, Scope};
use crate::source::{ChangeSource, LargestPage, TupleReader, TupleScanner};
use crate::span::{self, within};
use crate::sync::pages::Pages;
use crate::sync::persist::persistently;
use crate::sync::reader::{Fetched, Reader, Reading};
use crate::sync::run::RunOptions;
use crate::sync::stop::{GivenUp, Stop};
use crate::sync::tokens::Tokens;
use crate::target::{Target, TargetResult};

/// Rows that are read at once.
const ROWS: u32 = 200;
/// Where a log was begun is by the server's clock, the time of a tuple by its database's.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);

/// Somebody at the source who is asked in a thread of his own, so that a request to stop is heard while an answer takes its time.
pub(super) struct Asked<S>(pub(super) Option<S>);

impl<S: Send + 'static> Asked<S> {
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        stop: &Stop,
        question: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Step<T> {
        let Some(mut asked) = self.0.take() else {
            let message = "the source was asked again after it was given up";
            return Err(Error::new(ErrorKind::Unexpected, message).into());
        };
        let answer = stop.or(None, move || (question(&mut asked), asked));
        match answer {
            Ok((answer, asked)) => {
                self.0 = Some(asked);
                Ok(answer)
            }
            Err(GivenUp::Signal(signal)) => Err(Interruption::Stopped(signal)),
            Err(GivenUp::Deadline) => {
                let message = "the time of something without a limit was over";
                Err(Error::new(ErrorKind::Unexpected, message).into())
            }
        }
    }
}

/// A comparison under way.
pub(super) struct Comparison<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    /// The known changes after the watermark.
    overlap: Vec<OverlapPage>,
    options: &'a RunOptions,
    pub(super) stop: &'a Stop,
    pub(super) watch: Watch<'a>,
    source: Option<Box<dyn ChangeSource>>,
    scanner: Asked<Box<dyn TupleScanner>>,
    pub(super) reader: Asked<Box<dyn TupleReader>>,
    pub(super) spill: Spill,
    /// How far the times of one write may be apart, in microseconds.
    apart: i64,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        mut source: Box<dyn ChangeSource>,
        checkpoint: &'a Checkpoint,
        overlap: Vec<OverlapPage>,
        options: &'a RunOptions,
        (stop, keeps_times): (&'a Stop, bool),
        watch: Watch<'a>,
    ) -> Result<Self> {
        let (Some(scanner), Some(reader)) = (source.tuple_scanner()?, source.tuple_reader()?)
        else {
            return Err(Error::usage("a recording has no tuples to compare with")
                .advise("--source with the URL of the server's API"));
        };
        source.know_largest_page(LargestPage::kept(checkpoint.page_size, checkpoint.fence));
        source.begin_at(checkpoint.start_time);
        let apart = if keeps_times { SAME_TIME } else { i64::MAX };
        Ok(Self {
            spill: Spill::new(checkpoint, apart)?,
            apart,
            checkpoint,
            overlap,
            options,
            stop,
            watch,
            source: Some(source),
            scanner: Asked(Some(scanner)),
            reader: Asked(Some(reader)),
        })
    }

    pub(super) fn scope(&self) -> Scope<'a> {
        let subject = &self.checkpoint.subject;
        Scope {
            store_id: &subject.store.id,
            type_filter: &subject.type_filter,
        }
    }

    /// Whether the two are of one write.
    pub(super) fn is_as(&self, one: &Mark, other: &Mark) -> bool {
        one.is_as(other, self.apart)
    }

    /// The tables that are kept.
    pub(super) fn tables(&self) -> impl Iterator<Item = Table> + use<> {
        let mode = self.checkpoint.subject.mode;
        let tuples = mode.keeps_tuples().then_some(Table::Tuples);
        let changelog = mode.keeps_changelog().then_some(Table::Changelog);
        tuples.into_iter().chain(changelog)
    }

    pub(super) fn compare(&mut self, target: &mut dyn Target) -> Step {
        within(&span::scan(), || self.scan())?;
        for table in self.tables() {
            let span = span::read_back(table.name());
            within(&span, || self.read_back(target, table))?;
        }
        within(&span::follow(), || self.follow())?;
        for table in self.tables() {
            let span = span::inspect();
            within(&span, || self.inspect_suspects(target, table))?;
        }
        if self.has_differences()? {
            within(&span::follow(), || self.follow())?;
        }
        if self.has_differences()? {
            self.stop.sleep(self.options.look_back);
            within(&span::inspect(), || self.inspect_again(target))?;
            within(&span::follow(), || self.follow())?;
        }
        Ok(())
    }

    fn has_differences(&self) -> Result<bool> {
        Ok(!self.spill.differences(None, 1)?.is_empty())
    }

    /// Reads all tuples of the store.
    fn scan(&mut self) -> Step {
        let type_filter = self.scope().type_filter;
        let mut after = None;
        let mut count = 0;
        loop {
            let token = after.clone();
            let page = self.scanner.ask(self.stop, move |scanner| {
                scanner.read_tuples(token.as_ref())
            })??;
            for tuple in &page.tuples {
                let object_type = &tuple.tuple.object.object_type;
                if type_filter.is_empty() || object_type == type_filter {
                    let is_old = self.is_old(tuple.timestamp);
                    self.spill.note_source(tuple, is_old)?;
                    count += 1;
                }
            }
            (self.watch)("tuples of the store", count);
            match page.token {
                None => return Ok(()),
                next => after = next,
            }
        }
    }

    /// Whether a tuple may have been written before the log was begun.
    pub(super) fn is_old(&self, written_at: Timestamp) -> bool {
        let start = self.checkpoint.start_time;
        start.is_some_and(|start| written_at <= start + CLOCKS_DIFFER)
    }

    /// Reads all rows of a table.
    fn read_back(&mut self, target: &mut dyn Target, table: Table) -> Step {
        type Reading = fn(&mut dyn Target, Scope, Option<&Place>, u32) -> TargetResult<RowPage>;
        let (read, what): (Reading, _) = match table {
            Table::Tuples => (
                |target, scope, after, limit| target.read_tuples(scope, after, limit),
                "rows of fga_tuples",
            ),
            Table::Changelog => (
                |target, scope, after, limit| target.read_changelog(scope, after, limit),
                "rows of fga_changelog",
            ),
        };
        let mut after = None;
        let mut count = 0;
        loop {
            self.heed_stop()?;
            let page = persistently(target, self.stop, |target| {
                read(target, self.scope(), after.as_ref(), ROWS)
            })?;
            for row in &page.rows {
                match table {
                    Table::Tuples => self.spill.note_tuple(row)?,
                    Table::Changelog => self.spill.note_change(row)?,
                }
                count += 1;
            }
            (self.watch)(what, count);
            match page.next {
                None => return Ok(()),
                next => after = next,
            }
        }
    }

    /// Follows the feed from the watermark to its end. Tuples of which it has changes that the mirror lacked are not compared.
    fn follow(&mut self) -> Step {
        let Some(source) = self.source.take() else {
            let message = "the feed was followed again after it was given up";
            return Err(Error::new(ErrorKind::Unexpected, message).into());
        };
        let reading = Reading {
            source,
            token: self.checkpoint.watermark.clone(),
            overlap: self.overlap.clone(),
            gives_up: self.options.look_back.is_zero(),
            is_recorded: false,
            page_size: self.options.page_size,
            max_changes: None,
            limits: Limits::NONE,
            stop: self.stop.clone(),
        };
        let reader = Reader::new(reading, Tokens::default());
        let mut pages = Pages::read(reader, self.options.pages_ahead)?;
        let mut count = 0;
        loop {
            self.heed_stop()?;
            match pages.next()? {
                None => {}
                Some(Fetched::End(_) | Fetched::More) => break,
                Some(Fetched::Page(page)) => {
                    for (change, (_, seen)) in page.changes.iter().zip(&page.seen) {
                        if !matches!(seen, Seen::Known { .. }) {
                            self.spill.note_changed(&change.tuple)?;
                        }
                        count += 1;
                    }
                    (self.watch)("changes of the feed", count);
                }
            }
        }
        self.source = Some(pages.into_source()?.0);
        self.spill.forget_changed()?;
        Ok(())
    }

    pub(super) fn heed_stop(&self) -> Step {
        self.stop
            .requested()
            .map_or(Ok(()), |signal| Err(Interruption::Stopped(signal)))
    }
}
