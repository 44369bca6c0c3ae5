//! The versions of the tables, one above the other, and how to get from each to the next.

use crate::schema::VERSION;

/// What brings the tables from the version below to this one.
///
/// Where a database commits each statement by itself (MySQL), a step can end after any of them, and is climbed again from
/// its start. So each statement must do nothing, and not fail, where it was done before: `create table if not exists`. A
/// version that was released never changes.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The version that it leads to.
    pub version: u32,
    /// Its statements, in order. The engine's placeholder stands for the prefix or the schema of the tables.
    pub statements: &'a [&'a str],
}

/// The steps of an engine from nothing to [`VERSION`]. One that is missing or out of order does not compile.
pub(super) const fn ladder<'a>(steps: &'a [Step<'a>]) -> &'a [Step<'a>] {
    let mut index = 0;
    while index < steps.len() {
        assert!(steps[index].version as usize == index + 1);
        index += 1;
    }
    assert!(steps.len() == VERSION as usize);
    steps
}

/// The statements of the steps above the version that was found. Each step ends with `record`, which says that all of it
/// is done; `{version}` stands there for its version.
pub(super) fn statements_above(
    steps: &[Step],
    found: Option<u32>,
    record: &str,
) -> impl Iterator<Item = String> {
    steps
        .iter()
        .filter(move |step| found.is_none_or(|found| step.version > found))
        .flat_map(move |step| {
            let record = record.replace("{version}", &step.version.to_string());
            let statements = step.statements.iter().map(ToString::to_string);
            statements.chain([record])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_above_is_climbed_and_each_step_is_recorded_at_its_end() {
        let steps = [
            Step {
                version: 1,
                statements: &["a", "b"],
            },
            Step {
                version: 2,
                statements: &["c"],
            },
        ];
        let climbed = |found| statements_above(&steps, found, "now {version}").collect::<Vec<_>>();
        assert_eq!(climbed(None), ["a", "b", "now 1", "c", "now 2"]);
        assert_eq!(climbed(Some(0)), climbed(None));
        assert_eq!(climbed(Some(1)), ["c", "now 2"]);
        assert_eq!(climbed(Some(2)), [""; 0]);
        assert_eq!(climbed(Some(3)), [""; 0]);
    }
}
