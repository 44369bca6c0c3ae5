//! What the target's tuples were one after the other, by its own log: no look at it from outside would see each state.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use super::{Guard, Key, of_key};
use crate::mirror::store::Store;

/// Each tuple went through states that it had in the source, and in their order: it never was without its condition, and never came back.
pub fn assert_never_went_back(source: &Store, target: &Store) -> Result<()> {
    let past = states(source)?;
    for (key, states) in states(target)? {
        let empty = Vec::new();
        let past = past.get(&key).unwrap_or(&empty);
        let mut rest = past.iter();
        for (index, state) in states.iter().enumerate() {
            // The earliest that it can be leaves the most for what follows.
            ensure!(
                rest.any(|known| known == state),
                "{key:?} was {:?} one after the other, and in the source {past:?}",
                &states[..=index]
            );
        }
    }
    Ok(())
}

/// What each tuple was; none where it was not there, as at first.
fn states(store: &Store) -> Result<HashMap<Key, Vec<Option<Guard>>>> {
    let mut states = HashMap::new();
    for change in store.api.all_changes(&store.id)? {
        let (key, guard) = of_key(&change["tuple_key"]);
        let is_write = change["operation"] == "TUPLE_OPERATION_WRITE";
        let states: &mut Vec<_> = states.entry(key).or_insert_with(|| vec![None]);
        states.push(is_write.then_some(guard));
    }
    Ok(states)
}
