//! From what a page comes to, to requests, whatever is there already.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::change::{Change, Condition};
use crate::error::{Error, ErrorKind};
use crate::mirror::{Applied, Before, NetEffect};
use crate::openfga::Writes;
use crate::target::{TargetError, TargetResult};
use crate::tuple::TupleKey;

/// How often a page's tuples are looked at again, where others change them meanwhile.
const MOST_MISMATCHES: u32 = 5;

/// So many tuples are remembered from page to page.
const MOST_REMEMBERED: usize = 10_000;

/// A tuple in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It is not there.
    Missing,
    /// It is there with this condition, or without one.
    Guarded(Option<Condition>),
    /// It is there, with whatever condition.
    There,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was done.
    Done,
    /// A tuple that was to be deleted is missing, or one that was to be written exists. Nothing was done, unless an earlier attempt of the
    /// same was that ended in doubt.
    Mismatch { in_doubt: bool },
    /// It has more tuples than are taken at once.
    TooMany(usize),
}

/// A store's tuples.
pub(super) trait Tuples {
    /// Does one request, all of it or nothing.
    fn write(&mut self, writes: &Writes) -> TargetResult<Answer>;
    /// Looks at a tuple.
    fn read(&mut self, tuple: &TupleKey) -> TargetResult<State>;
}

/// Writes pages. It remembers of the last one what was done, so that the page can be written again.
pub(super) struct PageWriter {
    /// The tuples that one request may have.
    most: usize,
    /// The commit that the page is of.
    commit: i64,
    /// The page's tuples, as far as requests have told.
    states: BTreeMap<TupleKey, State>,
    /// Tuples that pages before have left missing in this run. Nobody else writes them.
    missing: BTreeSet<TupleKey>,
    /// Whether a request may have been done that was not answered.
    in_doubt: bool,
    /// Whether one was done, or may have been.
    is_touched: bool,
}

/// A tuple as the page wants it, and as it is or must be now.
struct Wish<'a> {
    tuple: &'a TupleKey,
    /// `None` where it is to be deleted.
    written: Option<&'a Change>,
    state: State,
}

impl Wish<'_> {
    fn is_met(&self) -> bool {
        match (self.written, &self.state) {
            (None, state) => *state == State::Missing,
            (Some(change), State::Guarded(condition)) => {
                is_same(condition.as_ref(), change.condition.as_ref())
            }
            (Some(_), State::Missing | State::There) => false,
        }
    }
}

impl PageWriter {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            commit: 0,
            states: BTreeMap::new(),
            missing: BTreeSet::new(),
            in_doubt: false,
            is_touched: false,
        }
    }

    /// The tuples that one request may have.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// Begins the page of a commit, unless it was begun, which is the result.
    pub(super) fn begin(&mut self, commit: i64) -> bool {
        let is_new = self.commit != commit;
        if is_new {
            self.commit = commit;
            self.remember();
            self.in_doubt = false;
            self.is_touched = false;
        }
        is_new
    }

    /// Another run may have written meanwhile.
    pub(super) fn forget(&mut self) {
        self.missing.clear();
    }

    /// Whether a request of the page was done, or may have been.
    pub(super) const fn is_touched(&self) -> bool {
        self.is_touched
    }

    /// Whether nothing is to be done or to be looked at.
    pub(super) fn is_done(&self, effect: &NetEffect) -> bool {
        self.unseen(effect).next().is_none() && self.wishes(effect).iter().all(Wish::is_met)
    }

    /// Tuples that the page writes and deletes again. No request tells whether they were missing before.
    fn unseen<'a>(&self, effect: &NetEffect<'a>) -> impl Iterator<Item = &'a TupleKey> {
        let deleted = effect.deleted.iter();
        let came_and_went =
            deleted.filter(|deleted| deleted.before.is_some_and(|before| !before.existed));
        came_and_went
            .map(|deleted| deleted.tuple)
            .filter(|tuple| !self.states.contains_key(*tuple) && !self.missing.contains(*tuple))
    }

    /// Keeps of the page before which tuples it has left missing: those that change often are looked at less often.
    fn remember(&mut self) {
        for (tuple, state) in std::mem::take(&mut self.states) {
            if state == State::Missing && self.missing.len() < MOST_REMEMBERED {
                self.missing.insert(tuple);
            } else {
                self.missing.remove(&tuple);
            }
        }
    }

    /// Brings the tuples to what the page comes to: that is [`Applied::Committed`]. With another result the page may be done in part.
    pub(super) fn write(
        &mut self,
        effect: &NetEffect,
        tuples: &mut dyn Tuples,
    ) -> TargetResult<Applied> {
        // What is seen counts when all of it was: half of it would be taken for known the next time, and no more for unexpected.
        let unseen = self.unseen(effect).map(|tuple| {
            let state = tuples.read(tuple)?;
            Ok((tuple.clone(), state))
        });
        let seen: Vec<_> = unseen.collect::<TargetResult<_>>()?;
        let there = seen.iter().filter(|(_, state)| *state != State::Missing);
        let unexpected: Vec<_> = there.map(|(tuple, _)| tuple.clone()).collect();
        self.states.extend(seen);
        if !unexpected.is_empty() {
            return Ok(Applied::Unexpected(unexpected));
        }
        let mut is_probed = false;
        let mut mismatches = 0;
        while mismatches < MOST_MISMATCHES {
            let wishes = self.wishes(effect);
            let unmet = || wishes.iter().filter(|wish| !wish.is_met());
            let replaced: Vec<_> = unmet()
                .filter(|wish| wish.state != State::Missing)
                .filter_map(|wish| wish.written)
                .collect();
            // A condition that the model does not take must be seen before the tuple is deleted. The server looks at the model first, and
            // then finds that the tuples exist.
            let is_probe = !replaced.is_empty() && !std::mem::replace(&mut is_probed, true);
            let request = if is_probe {
                Writes {
                    deleted: Vec::new(),
                    written: replaced,
                }
            } else {
                let missing = unmet().filter(|wish| wish.state == State::Missing);
                Writes {
                    deleted: unmet()
                        .filter(|wish| wish.state != State::Missing)
                        .map(|wish| wish.tuple)
                        .collect(),
                    written: missing.filter_map(|wish| wish.written).collect(),
                }
            };
            let request = first(request, self.most);
            if request.is_empty() {
                return Ok(Applied::Committed);
            }
            let answer = match tuples.write(&request) {
                Ok(answer) => answer,
                Err(error) => {
                    let in_doubt =
                        !matches!(error, TargetError::Refused { .. } | TargetError::Fatal(_));
                    self.note_doubt(in_doubt);
                    return Err(error);
                }
            };
            mismatches += u32::from(!is_probe && matches!(answer, Answer::Mismatch { .. }));
            let expected = self.expected(effect);
            let found = match answer {
                // What a probe writes was missing, and should not have been where that is known.
                Answer::Done if is_probe => {
                    self.note(&request);
                    Applied::Unexpected(among(&expected, &request))
                }
                Answer::Done => {
                    self.note(&request);
                    continue;
                }
                Answer::TooMany(most) => {
                    self.most = most;
                    return Err(TargetError::TooMany(most));
                }
                Answer::Mismatch { in_doubt } => {
                    self.note_doubt(in_doubt);
                    if is_probe && !self.in_doubt {
                        continue;
                    }
                    let (unexpected, is_done) = self.look(&expected, &request, tuples)?;
                    let in_doubt = std::mem::take(&mut self.in_doubt);
                    match (is_probe, in_doubt && is_done) {
                        // An attempt before may have written what was missing.
                        (true, _) => Applied::InDoubt(among(&expected, &request)),
                        // An attempt before may have done all of it.
                        (false, true) => Applied::InDoubt(unexpected),
                        (false, false) => Applied::Unexpected(unexpected),
                    }
                }
            };
            if let Applied::Unexpected(tuples) | Applied::InDoubt(tuples) = &found
                && !tuples.is_empty()
            {
                return Ok(found);
            }
        }
        let message = "the target store's tuples change while they are written";
        Err(TargetError::Interrupted(
            Error::new(ErrorKind::TargetUnavailable, message)
                .advise("see that nothing else writes what fga-sync mirrors"),
        ))
    }

    /// Looks at the tuples of a request that does not fit them: which are not what they must have been before, and whether all are as the
    /// request makes them.
    fn look(
        &mut self,
        expected: &BTreeMap<&TupleKey, Before>,
        request: &Writes,
        tuples: &mut dyn Tuples,
    ) -> TargetResult<(Vec<TupleKey>, bool)> {
        let deleted = request.deleted.iter().map(|tuple| (*tuple, None));
        let written = request.written.iter();
        let written = written.map(|change| (&change.tuple, Some(*change)));
        let mut unexpected = Vec::new();
        let mut seen = Vec::new();
        let mut is_done = true;
        for (tuple, written) in deleted.chain(written) {
            let state = tuples.read(tuple)?;
            let exists = state != State::Missing;
            let before = expected.get(tuple);
            if before.is_some_and(|before| before.existed != exists) {
                unexpected.push(tuple.clone());
            }
            let wish = Wish {
                tuple,
                written,
                state: state.clone(),
            };
            is_done &= wish.is_met();
            seen.push((tuple.clone(), state));
        }
        self.states.extend(seen);
        Ok((unexpected, is_done))
    }

    /// A request may have been done that was not answered.
    fn note_doubt(&mut self, in_doubt: bool) {
        if in_doubt {
            self.in_doubt = true;
            self.is_touched = true;
            self.missing.clear();
        }
    }

    /// What is done by a request.
    fn note(&mut self, request: &Writes) {
        self.is_touched = true;
        for tuple in &request.deleted {
            self.states.insert((*tuple).clone(), State::Missing);
        }
        for change in &request.written {
            let state = State::Guarded(change.condition.clone());
            self.states.insert(change.tuple.clone(), state);
        }
    }

    /// What is known of tuples before the page, as far as none of its requests has told more.
    fn expected<'a>(&self, effect: &NetEffect<'a>) -> BTreeMap<&'a TupleKey, Before> {
        let expected = effect.expected();
        expected
            .filter(|(tuple, _)| !self.states.contains_key(tuple))
            .collect()
    }

    /// What the page wants of each of its tuples. Where nothing is known of one, the plain case is taken for granted: a tuple that is to be
    /// written is missing, one that is to be deleted exists. If not, the server minds.
    fn wishes<'a>(&self, effect: &NetEffect<'a>) -> Vec<Wish<'a>> {
        let state = |tuple: &TupleKey, existed: bool| {
            let guessed = if existed {
                State::There
            } else {
                State::Missing
            };
            self.states.get(tuple).cloned().unwrap_or(guessed)
        };
        let deleted = effect.deleted.iter().map(|deleted| Wish {
            tuple: deleted.tuple,
            written: None,
            state: state(
                deleted.tuple,
                deleted.before.is_none_or(|before| before.existed),
            ),
        });
        let written = effect.written.iter().map(|written| Wish {
            tuple: &written.change.tuple,
            written: Some(written.change),
            state: state(
                &written.change.tuple,
                written.before.is_some_and(|before| before.existed),
            ),
        });
        deleted.chain(written).collect()
    }
}

/// Those of the tuples that a request writes.
fn among(tuples: &BTreeMap<&TupleKey, Before>, request: &Writes) -> Vec<TupleKey> {
    let written = request.written.iter().map(|change| &change.tuple);
    let found = written.filter(|tuple| tuples.contains_key(tuple));
    found.cloned().collect()
}

/// As much of it as a request may have, deletes first.
fn first(mut request: Writes<'_>, most: usize) -> Writes<'_> {
    request.deleted.truncate(most);
    request.written.truncate(most - request.deleted.len());
    request
}

/// Whether two conditions are the same: servers of different versions may write one context in different ways.
fn is_same(one: Option<&Condition>, other: Option<&Condition>) -> bool {
    let context = |condition: &Condition| -> Value {
        let text = condition.context.as_deref().unwrap_or("{}");
        serde_json::from_str(text).unwrap_or_default()
    };
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.name == other.name && context(one) == context(other),
        _ => false,
    }
}
