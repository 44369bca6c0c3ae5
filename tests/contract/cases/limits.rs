//! What `limits` lets through is stored without loss, and what it does not is named.

use anyhow::{Context, bail, ensure};
use fga_sync::change::Change;
use fga_sync::limits::{Limits, Widths};
use fga_sync::lookback::OverlapPage;
use fga_sync::mirror::Applied;
use fga_sync::target::TargetError;
use fga_sync::tuple::TupleKey;

use super::cases;
use super::look_back::overlap_page;
use crate::changes::{With, delete, tuple, viewer, write, writes};
use crate::engine::{Database, Engine};
use crate::run::{
    Draft, Run, STORE, changelog, expected_changelog, expected_tuples, same_rows, token, tuples,
};

cases![
    columns_hold_their_widths,
    one_more_than_a_width_is_named,
    the_index_holds_the_longest_key,
    one_byte_more_than_a_key_is_named,
    the_largest_event_is_stored,
    the_largest_event_is_stored_whatever_its_letters,
    a_position_that_is_too_large_leaves_nothing,
    a_larger_event_is_named,
    nul_is_stored_or_named,
];

/// As far as an engine without limits is tried.
const LONG_KEY: usize = 100_000;
const LARGE_EVENT: usize = 32 << 20;

/// For an engine without widths, so that what a refusal says is tried where there are no servers too.
const MADE_UP: Widths = Widths {
    object_type: 11,
    object_id: 12,
    relation: 13,
    user_type: 14,
    user_id: 15,
    user_relation: 16,
    condition_name: 17,
};

/// How the columns are called in a refusal, in the order of [`tuple`], and the condition's name.
const PARTS: [&str; 7] = [
    "object type",
    "object id",
    "relation",
    "user type",
    "user id",
    "user relation",
    "condition name",
];

fn limits(database: &dyn Database) -> anyhow::Result<Limits> {
    Ok(database.open()?.limits())
}

fn in_order(widths: Widths) -> [usize; 7] {
    [
        widths.object_type,
        widths.object_id,
        widths.relation,
        widths.user_type,
        widths.user_id,
        widths.user_relation,
        widths.condition_name,
    ]
}

/// A change whose parts, the condition's name among them, are these.
fn of_parts(parts: &[String; 7]) -> Change {
    let [key @ .., condition] = parts;
    write(tuple(key.each_ref().map(String::as_str))).guarded(condition, None)
}

/// Letters in no order that could be compressed.
fn noise(bytes: usize) -> String {
    let mut state = 1_u32;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'0' + u8::try_from(state >> 26).unwrap_or_default())
        })
        .collect()
}

fn is_stored(database: &dyn Database, change: &Change) -> anyhow::Result<()> {
    let mut run = Run::begin(database)?;
    if let Some(reason) = run.target.limits().reject(change) {
        bail!("refused: {reason}");
    }
    let change = std::slice::from_ref(change);
    run.page(change)?;
    // Updated as well as inserted, and found again to be deleted.
    run.page(change)?;
    let log = [change, change].concat();
    same_rows(
        &changelog(database)?,
        &expected_changelog(database, STORE, &log)?,
    )?;
    same_rows(
        &tuples(database)?,
        &expected_tuples(database, STORE, change)?,
    )?;
    run.page(&[delete(change[0].tuple.clone())])?;
    ensure!(database.count("fga_tuples")? == 0);
    Ok(())
}

fn columns_hold_their_widths(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let limits = limits(database.as_ref())?;
    let Some(widths) = limits.widths else {
        return Ok(());
    };
    for letter in ["x", "é", "表", "𝄞"] {
        let database = engine.fresh()?;
        let change = of_parts(&in_order(widths).map(|width| letter.repeat(width)));
        is_stored(database.as_ref(), &change).context(letter)?;
    }
    Ok(())
}

fn one_more_than_a_width_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut limits = limits(database.as_ref())?;
    let widths = *limits.widths.get_or_insert(MADE_UP);
    for (place, part) in PARTS.iter().enumerate() {
        let mut parts = in_order(widths).map(|width| "𝄞".repeat(width));
        parts[place].push('x');
        let reason = limits.reject(&of_parts(&parts)).unwrap_or_default();
        ensure!(reason.contains(part), "{part}: {reason:?}");
        let width = in_order(widths)[place].to_string();
        ensure!(reason.contains(&width), "{part}: {reason:?}");
    }
    Ok(())
}

/// The longest key, with most of it in one part.
fn longest_key(limits: &Limits, place: usize) -> TupleKey {
    let mut parts = ["t", "i", "r", "u", "n", "m"].map(str::to_owned);
    parts[place] = noise(limits.key_bytes.min(LONG_KEY) - 5);
    tuple(parts.each_ref().map(String::as_str))
}

fn the_index_holds_the_longest_key(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let limits = limits(database.as_ref())?;
    if limits.widths.is_some() {
        // Then the parts can't be this long, and they were tried at their widths.
        return Ok(());
    }
    for (place, part) in PARTS[..6].iter().enumerate() {
        let database = engine.fresh()?;
        is_stored(database.as_ref(), &write(longest_key(&limits, place)))
            .with_context(|| format!("most of it in the {part}"))?;
    }
    Ok(())
}

fn one_byte_more_than_a_key_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut limits = limits(database.as_ref())?;
    limits.key_bytes = limits.key_bytes.min(LONG_KEY);
    limits.widths = None;
    for place in 0..6 {
        let mut key = longest_key(&limits, place);
        key.user.relation.push('x');
        let reason = limits.reject(&write(key)).unwrap_or_default();
        let bytes = limits.key_bytes.to_string();
        ensure!(reason.contains(&bytes), "{reason:?}");
    }
    Ok(())
}

/// An event of that size, most of which is its condition's context, and most of that one piece of JSON.
fn large_of(piece: &str, bytes: usize) -> Change {
    let (before, after) = (r#"{"context":"#, "}");
    let fill = bytes - before.len() - after.len() - 2;
    let rest = "x".repeat(fill % piece.len());
    let context = format!("\"{}{rest}\"", piece.repeat(fill / piece.len()));
    let event = format!("{before}{context}{after}");
    write(viewer("1", "anne"))
        .guarded("large", Some(&context))
        .raw(event)
}

fn large(bytes: usize) -> Change {
    large_of("x", bytes)
}

fn the_largest_event_is_stored(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let limits = limits(database.as_ref())?;
    let change = large(limits.text_bytes.min(LARGE_EVENT));
    is_stored(database.as_ref(), &change)
}

/// Where letters must be escaped, they may take twice as much on the way.
fn the_largest_event_is_stored_whatever_its_letters(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let bytes = limits(database.as_ref())?.text_bytes.min(LARGE_EVENT);
    let change = large_of(r"\\'\u00e9", bytes);
    let beside = |id: &str| write(viewer(id, "anne"));
    let mut run = Run::begin(database.as_ref())?;
    let before = [beside("1"), beside("2")];
    run.page(&before)?;
    let page = [
        delete(viewer("2", "anne")),
        beside("2"),
        delete(change.tuple.clone()),
        change.clone(),
        beside("3"),
    ];
    let draft = Draft {
        expects: true,
        ..run.usual()?
    };
    ensure!(run.draft(&page, &draft)? == Applied::Committed);
    let expected = [&page[1], &change, &page[4]];
    same_rows(
        &tuples(database.as_ref())?,
        &expected_tuples(database.as_ref(), STORE, expected)?,
    )?;
    same_rows(
        &changelog(database.as_ref())?,
        &expected_changelog(database.as_ref(), STORE, before.iter().chain(&page))?,
    )
}

/// What is refused after a part of the page was written must not be written with the next page.
fn a_position_that_is_too_large_leaves_nothing(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    // Only some engines have such a limit for what is no change.
    let too_large = 2 * limits(database.as_ref())?.text_bytes.min(LARGE_EVENT) + (64 << 10);
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    let before = database.dump()?;
    let mut draft = run.usual()?;
    draft.overlap.keep = vec![OverlapPage {
        token: token(&"x".repeat(too_large))?,
        ..overlap_page(&run, &[])?
    }];
    match run.attempt(run.commits + 1, &writes(3), &draft) {
        Err(TargetError::Refused { .. }) => {}
        Ok(_) => return Ok(()),
        result => bail!("{result:?}"),
    }
    ensure!(database.dump()? == before);
    run.page(&writes(1))?;
    ensure!(database.count("fga_changelog")? == 3);
    ensure!(database.count("fga_sync_overlap")? == 0);
    Ok(())
}

fn a_larger_event_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut limits = limits(database.as_ref())?;
    limits.text_bytes = limits.text_bytes.min(LARGE_EVENT);
    let reason = limits
        .reject(&large(limits.text_bytes + 1))
        .unwrap_or_default();
    let bytes = limits.text_bytes.to_string();
    ensure!(reason.contains(&bytes), "{reason:?}");
    Ok(())
}

fn nul_is_stored_or_named(engine: &dyn Engine) -> anyhow::Result<()> {
    for (place, part) in PARTS.iter().enumerate() {
        let database = engine.fresh()?;
        let limits = limits(database.as_ref())?;
        let mut parts = ["t", "i", "r", "u", "n", "m", "c"].map(str::to_owned);
        parts[place] = "a\0b".to_owned();
        let change = of_parts(&parts);
        if limits.nul {
            is_stored(database.as_ref(), &change).context(*part)?;
            let mut run = Run::begin(database.as_ref())?;
            // What ends at the NUL is another tuple.
            parts[place] = "a".to_owned();
            if place < 6 {
                run.page(&[change, of_parts(&parts)])?;
                ensure!(database.count("fga_tuples")? == 2, "{part}");
            }
        } else {
            let reason = limits.reject(&change).unwrap_or_default();
            ensure!(reason.contains(part), "{part}: {reason:?}");
            ensure!(reason.contains("U+0000"), "{part}: {reason:?}");
        }
    }
    Ok(())
}
