//! Change pages recorded from the API, replayed from a file or from standard input.
//!
//! The input is a sequence of JSON page objects, one a line or spread over many: both what was recorded page
//! by page and the single object that `fga tuple changes` prints. It is streamed, so that one object with the
//! whole history needs no more memory than many small ones.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Chain, Cursor, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{fmt, thread};

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Answer, ChangeSource, Observed, TupleReader, wire};
use crate::checkpoint::StoreIdentity;
use crate::error::{Error, ErrorKind, Result};
use crate::page::ContinuationToken;
use crate::span::inherited;
use crate::worker::no_thread;

/// What is wrong with an input that ends before a page has come.
const EMPTY: &str = "there is no page in it; did the program that writes it fail?";
/// Events that the parser may be ahead of the reader.
const READ_AHEAD: usize = 1_000;
const UTF_8_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Where the recorded pages are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// `file:PATH`
    File(PathBuf),
    /// `file:-`
    Stdin,
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::Stdin => formatter.write_str("file:-"),
        }
    }
}

/// Recorded pages as a change source.
///
/// The tokens are its own: the number of changes before the position, and a digest of the last of them, by
/// which a file that was replaced is told from one that grew.
pub struct Replay {
    input: Input,
    store_id: String,
    events: Option<Receiver<Result<Box<RawValue>, serde_json::Error>>>,
    /// The position that changes were last asked for after.
    position: Position,
    /// What was read after it: standard input can't be read twice.
    ahead: VecDeque<Box<RawValue>>,
    /// Damage after `ahead`.
    damage: Option<Error>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Position {
    changes: u64,
    digest: String,
}

impl Position {
    fn parse(token: &ContinuationToken) -> Option<Self> {
        let (changes, digest) = token.as_str().split_once(':')?;
        Some(Self {
            changes: changes.parse().ok()?,
            digest: digest.to_owned(),
        })
    }

    fn token(&self) -> Option<ContinuationToken> {
        ContinuationToken::new(format!("{}:{}", self.changes, self.digest))
    }

    /// The position after the change number `changes`, whose event is `last`.
    fn after(changes: u64, last: &RawValue) -> Self {
        let digest = Sha256::digest(last.get());
        let digest = hex::encode(&digest[..8]);
        Self { changes, digest }
    }
}

impl Replay {
    /// Replays `input` as the log of the store `store_id`, which recorded pages do not name; may be empty.
    pub fn new(input: Input, store_id: impl Into<String>) -> Self {
        Self {
            input,
            store_id: store_id.into(),
            events: None,
            position: Position::default(),
            ahead: VecDeque::new(),
            damage: None,
        }
    }

    /// Replays a text in memory, which is parsed to its end first.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        // An event takes a byte at least, and an error one place more: the parser never waits for a reader.
        let (sender, receiver) = sync_channel(text.len() + 1);
        let mut replay = Self::new(Input::Stdin, "");
        match replay.without_mark(text) {
            Ok(text) => parse(text, &sender),
            Err(error) => replay.damage = Some(error),
        }
        replay.events = Some(receiver);
        replay
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        match &self.input {
            Input::Stdin => Ok(Box::new(std::io::stdin())),
            Input::File(path) => {
                let file = File::open(path).map_err(|error| {
                    let kind = match error.kind() {
                        std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                        _ => ErrorKind::SourceUnavailable,
                    };
                    Error::new(
                        kind,
                        format!("can't open the recorded pages in {}", path.display()),
                    )
                    .because(error)
                    .advise("check the path and its permissions")
                })?;
                Ok(Box::new(file))
            }
        }
    }

    /// The input without the mark that some editors put before UTF-8.
    ///
    /// # Errors
    /// Where it can't be read, or is in UTF-16, as Windows PowerShell writes what goes into a file: each character of JSON
    /// that stands first has a byte that is zero there, with or without a mark before it.
    fn without_mark<R: Read>(&self, mut input: R) -> Result<Chain<Cursor<Vec<u8>>, R>> {
        let mut begin = Vec::new();
        let read = input
            .by_ref()
            .take(UTF_8_MARK.len() as u64)
            .read_to_end(&mut begin);
        read.map_err(|error| self.broken(&serde_json::Error::io(error)))?;
        if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] = begin[..] {
            return Err(
                Error::usage(format!("the recording {} is in UTF-16, not UTF-8", self.input)).advise(
                    "convert it: iconv -f UTF-16 -t UTF-8 (with UTF-16LE where it has no byte order mark); \
                     in PowerShell write it by Out-File -Encoding utf8, not by >",
                ),
            );
        }
        if begin == UTF_8_MARK {
            begin.clear();
        }
        Ok(Cursor::new(begin).chain(input))
    }

    /// The next event, or `None` at the end of the input.
    fn next_event(&mut self) -> Result<Option<Box<RawValue>>> {
        let events = if let Some(events) = &self.events {
            events
        } else {
            let input = self.without_mark(self.open()?)?;
            let (sender, receiver) = sync_channel(READ_AHEAD);
            let parser = inherited(move || parse(input, &sender));
            thread::Builder::new().spawn(parser).map_err(no_thread)?;
            self.events.insert(receiver)
        };
        events
            .recv()
            .ok()
            .transpose()
            .map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &serde_json::Error) -> Error {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "ends in the middle of a page",
            serde_json::error::Category::Io => "can't be read",
            _ => "does not hold change pages",
        };
        Error::new(ErrorKind::SourceUnavailable, format!("the recording {} {what}: {error}", self.input)).advise(
            "record it again; expected are the answers of GET /stores/ID/changes, one JSON object after \
             another, or the output of `fga tuple changes`. What was read before this point is kept",
        )
    }

    fn wrong_file(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::WrongPosition,
            format!(
                "{} is not the recording that this target was filled from: {why}",
                self.input
            ),
        )
        .advise("give the same recording, grown or not, or an empty target")
    }

    /// Begins anew. What was read ahead is gone, so that is for files alone.
    fn rewind(&mut self) -> Result<()> {
        if self.input == Input::Stdin {
            let message =
                "standard input can't be read again, from where the target refuses a change";
            return Err(Error::new(ErrorKind::Unstorable, message)
                .advise("put what it brings into a file, and replay that: then the change is named, and what stands before it is applied"));
        }
        *self = Self::new(self.input.clone(), self.store_id.clone());
        Ok(())
    }

    /// Moves forward to the position that changes are wanted after.
    fn skip_to(&mut self, wanted: &Position) -> Result<()> {
        let mut count = self.position.changes;
        while count < wanted.changes {
            let event = match self.ahead.pop_front() {
                Some(event) => event,
                None => self.next_event()?.ok_or_else(|| {
                    self.wrong_file(&format!(
                        "{} changes were read from it before, and it holds {count}",
                        wanted.changes
                    ))
                })?,
            };
            count += 1;
            if count == wanted.changes {
                self.position = Position::after(count, &event);
            }
        }
        if self.position == *wanted {
            Ok(())
        } else {
            Err(self.wrong_file(&format!("its change number {} differs", wanted.changes)))
        }
    }

    /// Reads on until `count` changes lie ahead, or the input ends or is damaged.
    fn fill(&mut self, count: usize) {
        while self.ahead.len() < count && self.damage.is_none() {
            match self.next_event() {
                Ok(Some(event)) => self.ahead.push_back(event),
                Ok(None) => return,
                Err(error) => self.damage = Some(error),
            }
        }
    }
}

impl ChangeSource for Replay {
    fn store(&mut self) -> Result<StoreIdentity> {
        Ok(StoreIdentity {
            id: self.store_id.clone(),
            ..StoreIdentity::default()
        })
    }

    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Answer> {
        let wanted = match token {
            None => Position::default(),
            Some(token) => Position::parse(token)
                .ok_or_else(|| self.wrong_file("the stored position is not one in a recording"))?,
        };
        if wanted.changes < self.position.changes {
            self.rewind()?;
        }
        if token.is_some() {
            self.skip_to(&wanted)?;
        }
        let limit = limit as usize;
        self.fill(limit);
        if self.ahead.is_empty()
            && let Some(damage) = self.damage.take()
        {
            return Err(damage);
        }
        let count = self.ahead.len().min(limit);
        let token = match count.checked_sub(1) {
            Some(last) => {
                let changes = self.position.changes + count as u64;
                Position::after(changes, &self.ahead[last]).token()
            }
            None => token.cloned(),
        };
        let events = self.ahead.iter().take(count).map(|event| event.get());
        Ok(Answer {
            page: wire::collect(events, token),
            is_full: count == limit,
            observed: Observed::default(),
        })
    }

    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        Ok(None)
    }
}

type Events = SyncSender<Result<Box<RawValue>, serde_json::Error>>;

/// Sends each event of each page. Ends when the receiver is gone. An input without a page is no log, not an empty one: what was to write it
/// may have failed, as in `fga … | fga-sync …`.
fn parse(input: impl Read, events: &Events) {
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(input));
    let mut has_page = false;
    loop {
        match deserializer.end() {
            Ok(()) if has_page => return,
            Ok(()) => return drop(events.send(Err(serde_json::Error::custom(EMPTY)))),
            // Not at the end: another page follows.
            Err(error) if error.is_syntax() => {}
            Err(error) => return drop(events.send(Err(error))),
        }
        if let Err(error) = PageEvents(events).deserialize(&mut deserializer) {
            return drop(events.send(Err(error)));
        }
        has_page = true;
    }
}

const CHANGES: &str = "changes";

/// A page object's fields.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Changes,
    ContinuationToken,
    #[serde(other)]
    Other,
}

/// Streams a page object's `changes` into the channel.
#[derive(Clone, Copy)]
struct PageEvents<'a>(&'a Events);

impl<'de> DeserializeSeed<'de> for PageEvents<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PageEvents<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a change page: an object with \"changes\" and \"continuation_token\"")
    }

    /// What is a page over HTTP is one here, by the same words (`wire.rs`); but a list that is damaged later, such as by a
    /// second one, has been sent by then.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut has_changes, mut has_token) = (false, false);
        let once = |seen: &mut bool, name| {
            if std::mem::replace(seen, true) {
                return Err(serde::de::Error::duplicate_field(name));
            }
            Ok(())
        };
        while let Some(field) = map.next_key()? {
            match field {
                Field::Changes => {
                    once(&mut has_changes, CHANGES)?;
                    map.next_value_seed(ChangeEvents(self.0))?;
                }
                Field::ContinuationToken => {
                    once(&mut has_token, "continuation_token")?;
                    map.next_value::<Option<String>>()?;
                }
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if has_changes {
            Ok(())
        } else {
            Err(serde::de::Error::missing_field(CHANGES))
        }
    }
}

/// Streams the list itself.
struct ChangeEvents<'a>(&'a Events);

impl<'de> DeserializeSeed<'de> for ChangeEvents<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ChangeEvents<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of changes")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(event) = list.next_element::<Box<RawValue>>()? {
            if self.0.send(Ok(event)).is_err() {
                return Err(serde::de::Error::custom("the reader is gone"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn event(number: usize) -> String {
        format!(
            r#"{{"tuple_key":{{"user":"user:{number}","relation":"r","object":"doc:1"}},"operation":"TUPLE_OPERATION_WRITE","timestamp":"2026-11-21T09:00:00Z"}}"#
        )
    }

    fn page(numbers: std::ops::Range<usize>) -> String {
        let events: Vec<_> = numbers.map(event).collect();
        format!(
            r#"{{"changes":[{}],"continuation_token":"t"}}"#,
            events.join(",")
        )
    }

    fn replay(content: &str) -> (tempfile::NamedTempFile, Replay) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let source = Replay::new(Input::File(file.path().to_owned()), "");
        (file, source)
    }

    fn users(page: &crate::page::Page) -> Vec<String> {
        page.changes
            .iter()
            .map(|change| change.tuple.user.id.clone())
            .collect()
    }

    #[test]
    fn one_large_object_and_many_small_ones_are_the_same_log() {
        let many =
            format!("{}\n{}\n\n{{}}", page(0..2), page(2..5)).replace("{}", r#"{"changes":[]}"#);
        for content in [page(0..5), many] {
            let (_file, mut source) = replay(&content);
            let first = source.read_changes(None, 3).unwrap().page;
            assert_eq!(users(&first), ["0", "1", "2"], "{content}");
            let second = source.read_changes(first.token.as_ref(), 3).unwrap().page;
            assert_eq!(users(&second), ["3", "4"]);
            let end = source.read_changes(second.token.as_ref(), 3).unwrap().page;
            assert!(end.is_empty());
            assert_eq!(end.token, second.token);
        }
    }

    #[test]
    fn a_position_holds_across_processes_and_pages_can_be_read_again_in_part() {
        let (file, mut source) = replay(&page(0..5));
        let token = source.read_changes(None, 2).unwrap().page.token;
        assert_eq!(
            users(&source.read_changes(token.as_ref(), 3).unwrap().page),
            ["2", "3", "4"]
        );
        assert_eq!(
            users(&source.read_changes(token.as_ref(), 1).unwrap().page),
            ["2"]
        );
        let mut source = Replay::new(Input::File(file.path().to_owned()), "");
        assert_eq!(
            users(&source.read_changes(token.as_ref(), 9).unwrap().page),
            ["2", "3", "4"]
        );
    }

    /// As a run does that looks for the change that its target refuses.
    #[test]
    fn an_earlier_position_is_read_again_where_that_can_be() {
        let (_file, mut source) = replay(&page(0..5));
        let first = source.read_changes(None, 2).unwrap().page.token;
        let second = source.read_changes(first.as_ref(), 2).unwrap().page.token;
        source.read_changes(second.as_ref(), 2).unwrap();
        let again = source.read_changes(first.as_ref(), 1).unwrap().page;
        assert_eq!(users(&again), ["2"]);
        let again = source.read_changes(None, 1).unwrap().page;
        assert_eq!(users(&again), ["0"]);

        let mut stdin = Replay::of_text(page(0..5).as_bytes());
        let token = stdin.read_changes(None, 2).unwrap().page.token;
        stdin.read_changes(token.as_ref(), 2).unwrap();
        let error = stdin.read_changes(None, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unstorable, "{error}");
    }

    #[test]
    fn another_recording_is_told_from_one_that_grew() {
        let (_file, mut source) = replay(&page(0..3));
        let token = source.read_changes(None, 3).unwrap().page.token;
        let (_grown, mut source) = replay(&format!("{}{}", page(0..3), page(3..4)));
        assert_eq!(
            users(&source.read_changes(token.as_ref(), 9).unwrap().page),
            ["3"]
        );
        for other in [page(1..9), page(0..2), page(0..0)] {
            let (_file, mut source) = replay(&other);
            let error = source.read_changes(token.as_ref(), 9).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongPosition, "{error}");
        }
    }

    #[test]
    fn what_stands_before_the_damage_is_read_first() {
        let whole = format!("{}{}", page(0..2), page(2..4));
        for damaged in [&whole[..whole.len() - 40], &format!("{}<html>", page(0..2))] {
            let (_file, mut source) = replay(damaged);
            let first = source.read_changes(None, 9).unwrap().page;
            assert!(first.changes.len() >= 2);
            let error = source.read_changes(first.token.as_ref(), 9).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourceUnavailable, "{error}");
        }
        for damaged in ["7", "<html>", r#"{"code":"x","message":"y"}"#, "["] {
            let (_file, mut source) = replay(damaged);
            assert!(source.read_changes(None, 9).is_err(), "{damaged}");
        }
    }
}
