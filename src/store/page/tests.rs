//! Pages against a store in memory, whatever is there already.

use jiff::Timestamp;

use super::*;
use crate::change::Operation;
use crate::mirror::{Deleted, Written};
use crate::tuple::{Object, User};

/// A store in memory. Each answer can be lost, and each look fail.
#[derive(Default)]
struct Fake {
    tuples: BTreeMap<TupleKey, Option<Condition>>,
    /// What its model does not take.
    refused: Option<&'static str>,
    /// Whether the next request is done twice, and so answered as one that does not fit.
    repeats: bool,
    /// How many looks succeed until one fails.
    looks: Option<usize>,
    /// How many there were.
    reads: u32,
    /// The requests, as "-DELETED +WRITTEN".
    requests: Vec<String>,
}

impl Fake {
    fn holding(tuples: &[(&str, Option<&str>)]) -> Self {
        let tuples = tuples.iter();
        Self {
            tuples: tuples
                .map(|(user, name)| (key(user), name.map(condition)))
                .collect(),
            ..Self::default()
        }
    }

    fn fits(&self, writes: &Writes) -> bool {
        let is_there = |tuple: &TupleKey| self.tuples.contains_key(tuple);
        writes.deleted.iter().all(|tuple| is_there(tuple))
            && !writes.written.iter().any(|change| is_there(&change.tuple))
    }
}

impl Tuples for Fake {
    fn write(&mut self, writes: &Writes) -> TargetResult<Answer> {
        let deleted = writes
            .deleted
            .iter()
            .map(|tuple| format!("-{}", tuple.user.id));
        let written = writes.written.iter();
        let written = written.map(|change| format!("+{}", change.tuple.user.id));
        let request: Vec<_> = deleted.chain(written).collect();
        self.requests.push(request.join(" "));
        let is_refused = |change: &&Change| self.refused == change.condition_name();
        if self.refused.is_some() && writes.written.iter().any(is_refused) {
            let error = Error::new(ErrorKind::Unstorable, "the model");
            return Err(TargetError::refused(error));
        }
        let fits = self.fits(writes);
        if fits {
            for tuple in &writes.deleted {
                self.tuples.remove(*tuple);
            }
            for change in &writes.written {
                let condition = change.condition.clone();
                self.tuples.insert(change.tuple.clone(), condition);
            }
        }
        let in_doubt = std::mem::take(&mut self.repeats);
        Ok(if fits && !in_doubt {
            Answer::Done
        } else {
            Answer::Mismatch { in_doubt }
        })
    }

    fn read(&mut self, tuple: &TupleKey) -> TargetResult<State> {
        self.reads += 1;
        match &mut self.looks {
            Some(0) => {
                self.looks = None;
                let error = Error::new(ErrorKind::TargetUnavailable, "a look failed");
                return Err(TargetError::Interrupted(error));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let found = self.tuples.get(tuple);
        Ok(found.map_or(State::Missing, |condition| {
            State::Guarded(condition.clone())
        }))
    }
}

fn key(user: &str) -> TupleKey {
    TupleKey {
        object: Object::parse("doc:1").unwrap(),
        relation: "viewer".to_owned(),
        user: User::parse(&format!("user:{user}")).unwrap(),
    }
}

fn condition(name: &str) -> Condition {
    Condition {
        name: name.to_owned(),
        context: Some("{}".to_owned()),
    }
}

fn change(user: &str, name: Option<&str>) -> Change {
    Change {
        tuple: key(user),
        operation: Operation::Write,
        condition: name.map(condition),
        timestamp: Timestamp::UNIX_EPOCH,
        raw_event: String::new(),
    }
}

const THERE: Option<Before> = Some(Before {
    existed: true,
    no_later_than: Timestamp::UNIX_EPOCH,
});
const MISSING: Option<Before> = Some(Before {
    existed: false,
    no_later_than: Timestamp::UNIX_EPOCH,
});

/// A page that writes and deletes these, each with what is known of it before.
fn write(
    page: &mut PageWriter,
    store: &mut Fake,
    written: &[(&Change, Option<Before>)],
    deleted: &[(&TupleKey, Option<Before>)],
) -> TargetResult<Applied> {
    let effect = NetEffect {
        written: written
            .iter()
            .map(|(change, before)| Written {
                change,
                before: *before,
            })
            .collect(),
        deleted: deleted
            .iter()
            .map(|(tuple, before)| Deleted {
                tuple,
                before: *before,
            })
            .collect(),
    };
    page.begin(1);
    page.write(&effect, store)
}

fn page() -> PageWriter {
    PageWriter::new(100)
}

#[test]
fn what_was_as_expected_takes_one_request() {
    let mut store = Fake::holding(&[("gone", None)]);
    let (new, gone) = (change("new", Some("c")), key("gone"));
    let written = [(&new, MISSING)];
    let deleted = [(&gone, THERE)];
    let applied = write(&mut page(), &mut store, &written, &deleted).unwrap();
    assert_eq!(applied, Applied::Committed);
    assert_eq!(store.requests, ["-gone +new"]);
    assert_eq!(store.tuples[&new.tuple], new.condition);
}

#[test]
fn a_condition_is_shown_to_the_model_before_its_tuple_is_deleted() {
    let new = change("a", Some("new"));
    let written = [(&new, THERE)];
    let mut store = Fake::holding(&[("a", Some("old"))]);
    let applied = write(&mut page(), &mut store, &written, &[]).unwrap();
    assert_eq!(applied, Applied::Committed);
    assert_eq!(store.requests, ["+a", "-a", "+a"]);
    let mut store = Fake::holding(&[("a", Some("old"))]);
    store.refused = Some("new");
    let refused = write(&mut page(), &mut store, &written, &[]);
    assert!(matches!(refused, Err(TargetError::Refused { .. })));
    assert_eq!(store.tuples[&new.tuple], Some(condition("old")));
}

#[test]
fn what_is_not_as_it_must_be_is_named_and_left() {
    let (new, gone) = (change("new", None), key("gone"));
    for (there, written, deleted) in [
        // It is there already,
        ("new", vec![(&new, MISSING)], vec![]),
        // it is missing already,
        ("other", vec![], vec![(&gone, THERE)]),
        // or the page writes and deletes it, and it was there before.
        ("gone", vec![], vec![(&gone, MISSING)]),
    ] {
        let mut store = Fake::holding(&[(there, Some("c"))]);
        let before = store.tuples.clone();
        let applied = write(&mut page(), &mut store, &written, &deleted).unwrap();
        let named = written.first().map_or(&gone, |(change, _)| &change.tuple);
        assert_eq!(applied, Applied::Unexpected(vec![named.clone()]), "{there}");
        assert_eq!(store.tuples, before, "{there}");
    }
}

#[test]
fn where_nothing_is_known_what_is_there_is_brought_to_what_is_wanted() {
    let wanted = change("a", Some("new"));
    let gone = key("gone");
    for there in [
        &[][..],
        &[("a", Some("new"))],
        &[("a", Some("old")), ("gone", None)],
    ] {
        let mut store = Fake::holding(there);
        let applied = write(
            &mut page(),
            &mut store,
            &[(&wanted, None)],
            &[(&gone, None)],
        );
        assert_eq!(applied.unwrap(), Applied::Committed, "{there:?}");
        assert_eq!(store.tuples, Fake::holding(&[("a", Some("new"))]).tuples);
    }
}

/// It was missing before, or the attempt that was not answered has deleted it: nobody can tell.
#[test]
fn a_lost_answer_leaves_in_doubt_what_was_there() {
    let gone = key("gone");
    for there in [&[("gone", None)][..], &[]] {
        let mut store = Fake::holding(there);
        store.repeats = true;
        let mut page = page();
        let applied = write(&mut page, &mut store, &[], &[(&gone, THERE)]);
        assert_eq!(applied.unwrap(), Applied::InDoubt(vec![gone.clone()]));
        assert!(store.tuples.is_empty());
        // So what was announced stays so.
        assert!(page.is_touched());
    }
}

#[test]
fn a_look_that_fails_half_way_is_forgotten() {
    let (one, other) = (key("1"), key("2"));
    let deleted = [(&one, THERE), (&other, THERE)];
    let mut store = Fake::holding(&[("2", None)]);
    store.looks = Some(1);
    let mut page = page();
    assert!(write(&mut page, &mut store, &[], &deleted).is_err());
    let applied = write(&mut page, &mut store, &[], &deleted).unwrap();
    assert_eq!(applied, Applied::Unexpected(vec![one]));
}

#[test]
fn a_request_has_no_more_tuples_than_are_taken() {
    let changes: Vec<_> = ["1", "2", "3"].map(|user| change(user, None)).into();
    let written: Vec<_> = changes.iter().map(|change| (change, MISSING)).collect();
    let mut store = Fake::default();
    let mut page = PageWriter::new(2);
    let applied = write(&mut page, &mut store, &written, &[]).unwrap();
    assert_eq!(applied, Applied::Committed);
    assert_eq!(store.requests, ["+1 +2", "+3"]);
}

/// A tuple that comes and goes within a page is looked at, unless this run has deleted it itself.
#[test]
fn what_this_run_has_deleted_is_not_looked_at() {
    let tuple = key("often");
    let mut store = Fake::holding(&[("often", None)]);
    let mut page = page();
    let mut commit = |page: &mut PageWriter, number: i64, before: Option<Before>| {
        page.begin(number);
        let reads = store.reads;
        let applied = write(page, &mut store, &[], &[(&tuple, before)]).unwrap();
        assert_eq!(applied, Applied::Committed);
        store.reads - reads
    };
    assert_eq!(commit(&mut page, 2, THERE), 0);
    assert_eq!(commit(&mut page, 3, MISSING), 0);
    assert_eq!(commit(&mut page, 4, MISSING), 0);
    page.forget();
    assert_eq!(commit(&mut page, 5, MISSING), 1);
    assert_eq!(commit(&mut page, 6, MISSING), 0);
}

/// A request that may have been done may have written it.
#[test]
fn nothing_is_known_of_other_pages_after_a_doubt() {
    let (often, other) = (key("often"), key("other"));
    let mut store = Fake::holding(&[("often", None), ("other", None)]);
    let mut page = page();
    write(&mut page, &mut store, &[], &[(&often, THERE)]).unwrap();
    page.begin(2);
    store.repeats = true;
    write(&mut page, &mut store, &[], &[(&other, THERE)]).unwrap();
    page.begin(3);
    let reads = store.reads;
    write(&mut page, &mut store, &[], &[(&often, MISSING)]).unwrap();
    assert_eq!(store.reads - reads, 1);
}
