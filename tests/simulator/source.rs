//! The server's API: it shows the log, and does whatever a server, its database and its gateways have been seen to do wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fga_sync::checkpoint::StoreIdentity;
use fga_sync::error::{Error, ErrorKind, Result};
use fga_sync::page::{ContinuationToken, Page};
use fga_sync::source::{Answer, ChangeSource, Observed, TupleReader, TupleState};
use fga_sync::tuple::TupleKey;
use jiff::Timestamp;
use ulid::Ulid;

use super::profile::{MS, SECOND, between, chance};
use super::world::{Shared, World, shown};

pub struct Source {
    world: Shared,
    /// The page before.
    sent: Option<Answer>,
    /// The token of the first page.
    first_token: Option<ContinuationToken>,
}

impl Source {
    /// Where a run reads again from a place, whose pages it did not take or wants in other sizes, opaque tokens that it has met after that place
    /// tell it nothing.
    fn read_again_from(&mut self, from: u128) {
        let has_readable_tokens = self.world.lock().profile.has_readable_tokens;
        let tells = |token: &ContinuationToken| has_readable_tokens || place(token) <= from;
        self.first_token = self.first_token.take().filter(tells);
    }

    pub fn of(world: &Shared) -> Self {
        Self {
            world: world.clone(),
            sent: None,
            first_token: None,
        }
    }
}

/// What the source does at one request for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Error,
    /// An empty page with the position that was asked after,
    FalseEnd,
    /// or with none.
    FalseEndWithoutToken,
    /// Fewer changes than there are and were asked for.
    Short,
    /// Changes under the token that they were asked for after,
    OldToken,
    /// under that of the first page,
    EarlierToken,
    /// or under none.
    NoToken,
    /// The page before once more.
    SentAgain,
}

/// No run of such small histories asks more often.
const MOST_REQUESTS: u32 = 2_000;

const FAULTS: [Fault; 12] = [
    Fault::Error,
    Fault::FalseEnd,
    Fault::FalseEnd,
    Fault::FalseEnd,
    Fault::FalseEndWithoutToken,
    Fault::Short,
    Fault::Short,
    Fault::Short,
    Fault::OldToken,
    Fault::EarlierToken,
    Fault::NoToken,
    Fault::SentAgain,
];

pub fn token(world: &World, place: u128) -> ContinuationToken {
    let text = if world.profile.has_readable_tokens {
        let json = format!(r#"{{"ulid":"{}","ObjectType":""}}"#, Ulid(place));
        URL_SAFE.encode(json)
    } else {
        format!("at:{place:x}")
    };
    ContinuationToken::new(text).unwrap()
}

pub fn place(token: &ContinuationToken) -> u128 {
    match token.as_str().strip_prefix("at:") {
        Some(place) => u128::from_str_radix(place, 16).unwrap(),
        None => token.ulid().unwrap().0,
    }
}

fn failed() -> Error {
    Error::new(ErrorKind::SourceUnavailable, "the simulated source failed")
}

impl World {
    /// Up to when the feed shows what was committed.
    fn shows_until(&mut self) -> i64 {
        if self.is_well || self.now >= self.lags_until {
            self.now
        } else {
            self.now - self.profile.lag
        }
    }

    fn source_fault(&mut self) -> Fault {
        if self.is_well || !chance(&mut self.rng, self.profile.source_faults) {
            return Fault::None;
        }
        self.misled.is_unwell = true;
        FAULTS[self.rng.usize(..FAULTS.len())]
    }

    fn read_changes(
        &mut self,
        after: Option<&ContinuationToken>,
        limit: u32,
        source: &Source,
    ) -> Result<Answer> {
        let took = between(&mut self.rng, MS..=20 * MS);
        self.pass(took);
        if !self.is_well && self.profile.writes_meanwhile && chance(&mut self.rng, 15) {
            self.write();
        }
        self.misled.requests += 1;
        if self.misled.requests > MOST_REQUESTS {
            self.fail(|| "a run does not end".to_owned());
            return Err(failed());
        }
        let from = after.map_or(0, place);
        let most = limit.min(self.profile.server_maximum) as usize;
        let fault = self.source_fault();
        let asked_for = |world: &mut Self, answer: &str| {
            world.say(|| {
                let after = after.map_or_else(|| "the start".to_owned(), |_| shown(from));
                format!("read after {after}, {most} at most: {answer}")
            });
        };
        if fault == Fault::Error {
            asked_for(self, "an error");
            return Err(failed());
        }
        if fault == Fault::SentAgain
            && let Some(sent) = &source.sent
            // Of one that leads on nobody can tell that it repeats what was asked for before.
            && sent.page.token.as_ref().map_or(0, place) <= from
        {
            asked_for(self, "the page before again");
            return Ok(sent.clone());
        }
        let rows = self.visible(from, most);
        let whole = rows.len();
        let rows = self.cut_short(rows, from, fault);
        asked_for(self, &format!("{rows:?} of {whole} {fault:?}"));
        for index in &rows {
            let entry = &mut self.store.committed[*index];
            entry.is_sent = true;
            self.misled.read_up_to = self.misled.read_up_to.max(entry.place);
        }
        let last = rows.last().map(|index| self.store.committed[*index].place);
        if self.misled.is_reckless {
            let shows_until = self.shows_until();
            self.store.pass(self.misled.read_up_to, shows_until);
        }
        let page = Page {
            token: self.token_after(last, after, fault, source),
            changes: rows
                .iter()
                .map(|index| self.store.committed[*index].change.clone())
                .collect(),
            rejection: None,
        };
        let answer = Answer {
            page,
            is_full: rows.len() == most,
            observed: Observed {
                sent: 1,
                failed_attempts: u32::from(self.is_retried()),
                served_at: self.served_at(),
            },
        };
        let took = between(&mut self.rng, MS..=20 * MS);
        self.pass(took);
        Ok(answer)
    }

    /// The log after a place, as the feed shows it now.
    fn visible(&mut self, from: u128, most: usize) -> Vec<usize> {
        let shows_until = self.shows_until();
        let store = &self.store;
        let entry = |index: &usize| &store.committed[*index];
        let first = store
            .order
            .partition_point(|index| entry(index).place <= from);
        let visible = store.order[first..].iter();
        let visible = visible.filter(|index| entry(index).committed_at <= shows_until);
        visible.copied().take(most).collect()
    }

    fn cut_short(&mut self, mut rows: Vec<usize>, from: u128, fault: Fault) -> Vec<usize> {
        let whole = rows.len();
        if !self.is_well
            && let Some(breaks_after) = self.profile.breaks_after
            && chance(&mut self.rng, 70)
        {
            rows.truncate(breaks_after);
        }
        match fault {
            Fault::Short => rows.truncate(self.rng.usize(..=whole)),
            Fault::FalseEnd | Fault::FalseEndWithoutToken => rows.clear(),
            _ => {}
        }
        if rows.len() < whole {
            let last = rows.last().map(|index| self.store.committed[*index].place);
            self.misled.is_unwell = true;
            self.misled.was_empty |= last.is_none();
            self.misled.cuts.push((last.unwrap_or(from), rows.len()));
        }
        rows
    }

    fn token_after(
        &self,
        last: Option<u128>,
        after: Option<&ContinuationToken>,
        fault: Fault,
        source: &Source,
    ) -> Option<ContinuationToken> {
        match (fault, last) {
            (Fault::FalseEndWithoutToken | Fault::NoToken, _) => None,
            (Fault::OldToken, _) | (_, None) => after.cloned(),
            // Of an opaque token that was never sent nobody can tell that it leads back.
            (Fault::EarlierToken, Some(_)) => source
                .first_token
                .clone()
                .filter(|first| after.is_some_and(|after| place(first) <= place(after))),
            (_, Some(last)) => Some(token(self, last)),
        }
    }

    fn is_retried(&mut self) -> bool {
        let is_retried =
            !self.is_well && self.profile.source_faults > 0 && chance(&mut self.rng, 10);
        self.misled.is_unwell |= is_retried;
        is_retried
    }

    fn served_at(&mut self) -> Option<Timestamp> {
        self.profile.tells_time.then(|| {
            let process = self.rng.usize(..self.profile.skews.len());
            let second = (self.now + self.profile.skews[process]) / SECOND;
            Timestamp::from_second(second).unwrap()
        })
    }
}

impl ChangeSource for Source {
    fn store(&mut self) -> Result<StoreIdentity> {
        let mut world = self.world.lock();
        if world.source_fault() == Fault::Error {
            return Err(failed());
        }
        Ok(StoreIdentity {
            id: "store".to_owned(),
            ..StoreIdentity::default()
        })
    }

    fn begin_at(&mut self, _start_time: Option<Timestamp>) {
        let begins_at = self.world.lock().database.read_from;
        self.read_again_from(begins_at);
    }

    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Answer> {
        self.read_again_from(token.map_or(0, place));
        let answer = self.world.lock().read_changes(token, limit, self)?;
        let end = answer.page.token.clone();
        self.first_token = self.first_token.take().or(end);
        self.sent = Some(answer.clone());
        Ok(answer)
    }

    fn must_have_changes(&mut self) -> Result<bool> {
        let mut world = self.world.lock();
        if world.source_fault() == Fault::Error {
            return Err(failed());
        }
        Ok(world.store.has_tuples())
    }

    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        let is_recorded = self.world.lock().profile.is_recorded;
        let reader = || Box::new(Tuples(self.world.clone())) as Box<dyn TupleReader>;
        Ok((!is_recorded).then(reader))
    }
}

struct Tuples(Shared);

impl TupleReader for Tuples {
    fn read_tuple(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        let mut world = self.0.lock();
        let took = between(&mut world.rng, MS..=10 * MS);
        world.pass(took);
        if world.source_fault() == Fault::Error {
            return Err(failed());
        }
        let id = world
            .store
            .keys
            .iter()
            .position(|key| key == tuple)
            .unwrap();
        let state = world.store.tell(id);
        world.say(|| {
            format!(
                "asked for tuple {id}: {}",
                state.as_ref().map_or("missing", |change| &change.raw_event)
            )
        });
        Ok(state.map_or(TupleState::Missing, |change| {
            TupleState::Exists(Box::new(change))
        }))
    }
}
