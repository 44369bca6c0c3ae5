//! Whether the tables are there and as needed.

use anyhow::{bail, ensure};
use fga_sync::engine::{Access, Step};
use fga_sync::error::ErrorKind;
use fga_sync::schema::SchemaStatus;
use fga_sync::target::TargetError;

use super::cases;
use crate::changes::{viewer, write, writes};
use crate::engine::{Database, Done, Engine, TABLES};
use crate::run::{Draft, Run, changelog, expected_changelog, kept, same_rows};

cases![
    missing_until_migrated,
    migrating_again_keeps_the_rows,
    a_migration_that_stopped_half_way_goes_on,
    a_later_step_is_climbed_once_and_again_where_it_failed,
    tables_of_a_later_version_are_not_migrated,
    tables_of_a_later_version_are_newer,
    tables_of_an_earlier_version_are_older,
    a_missing_table_is_named,
    a_missing_column_is_named,
    a_renamed_column_is_named,
    a_column_that_may_be_null_is_named,
    another_primary_key_is_named,
    an_engine_without_transactions_is_named,
    columns_of_the_user_are_theirs,
    what_violates_a_constraint_of_the_user_is_about_the_tables,
    a_reader_sees_what_is_there,
    odd_names_are_quoted,
    namespaces_are_apart,
    a_namespace_is_good_for_all_tables_or_wrong_usage,
    a_table_of_somebody_else_is_about_the_tables,
];

/// Every column that users rely on, but those with a check, which not every engine renames.
const COLUMNS: [(&str, &[&str]); 5] = [
    (
        "fga_changelog",
        &[
            "id",
            "store_id",
            "object_type",
            "object_id",
            "relation",
            "user_type",
            "user_id",
            "user_relation",
            "condition_name",
            "condition_context",
            "timestamp",
            "raw_event",
            "recorded_at",
            "run_id",
        ],
    ),
    (
        "fga_tuples",
        &[
            "store_id",
            "object_type",
            "object_id",
            "relation",
            "user_type",
            "user_id",
            "user_relation",
            "condition_name",
            "condition_context",
            "timestamp",
        ],
    ),
    (
        "fga_sync_state",
        &[
            "name",
            "source",
            "store_id",
            "store_name",
            "store_created_at",
            "type_filter",
            "target_store_id",
            "target_store_created_at",
            "start_time",
            "seed_token",
            "seeded_at",
            "token",
            "watermark",
            "position_time",
            "complete_as_of",
            "page_size",
            "fence",
            "commits",
            "announced",
            "run_id",
            "updated_at",
        ],
    ),
    (
        "fga_sync_runs",
        &[
            "run_id",
            "name",
            "command",
            "version",
            "host",
            "pid",
            "started_at",
            "finished_at",
            "outcome",
            "exit_code",
            "error_kind",
            "error_message",
            "pages",
            "changes",
            "writes",
            "deletes",
            "late_arrivals",
            "order_anomalies",
            "rejects",
        ],
    ),
    (
        "fga_sync_overlap",
        &[
            "name",
            "commit_number",
            "token",
            "seen_at",
            "settled",
            "changes",
        ],
    ),
];

fn migrated(engine: &dyn Engine) -> anyhow::Result<Box<dyn Database>> {
    let database = engine.fresh()?;
    database.open()?.migrate().done()?;
    Ok(database)
}

fn status(database: &dyn Database) -> anyhow::Result<SchemaStatus> {
    database.open()?.schema().done()
}

fn expect(database: &dyn Database, expected: &SchemaStatus) -> anyhow::Result<()> {
    let status = status(database)?;
    ensure!(status == *expected, "{status:?} instead of {expected:?}");
    Ok(())
}

fn expect_altered(database: &dyn Database, name: &str) -> anyhow::Result<()> {
    match status(database)? {
        SchemaStatus::Altered(how) if how.contains(name) => Ok(()),
        status => bail!("{status:?} does not name {name}"),
    }
}

fn missing_until_migrated(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut target = database.open()?;
    ensure!(target.schema().done()? == SchemaStatus::Missing);
    target.migrate().done()?;
    // On the connection that made them as well as on another.
    ensure!(target.schema().done()? == SchemaStatus::Current);
    expect(database.as_ref(), &SchemaStatus::Current)?;
    for table in TABLES {
        ensure!(database.count(table)? == 0, "{table} is not empty");
    }
    Ok(())
}

fn migrating_again_keeps_the_rows(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(3))?;
    let before = database.dump()?;
    run.target.migrate().done()?;
    database.open()?.migrate().done()?;
    expect(database.as_ref(), &SchemaStatus::Current)?;
    ensure!(database.dump()? == before);
    ensure!(database.count("fga_sync_schema")? == 1);
    Ok(())
}

/// Where each statement commits by itself, a migration can end after any of them.
fn a_migration_that_stopped_half_way_goes_on(engine: &dyn Engine) -> anyhow::Result<()> {
    for table in TABLES {
        let database = migrated(engine)?;
        database.query(&format!("drop table {{{table}}}"))?;
        database.query("delete from {fga_sync_schema}")?;
        let status = status(database.as_ref())?;
        ensure!(
            status != SchemaStatus::Current,
            "{status:?} without {table}"
        );
        database.open()?.migrate().done()?;
        expect(database.as_ref(), &SchemaStatus::Current)?;
    }
    Ok(())
}

/// What a later version might do: a table, and a row for each tuple that is there.
fn later_step(database: &dyn Database) -> [String; 2] {
    let (owners, tuples) = (database.table("fga_owners"), database.table("fga_tuples"));
    [
        format!("create table if not exists {owners} (object_id varchar(100) primary key)"),
        format!(
            "insert into {owners} select object_id from {tuples} t
             where not exists (select 1 from {owners} o where o.object_id = t.object_id)"
        ),
    ]
}

fn a_later_step_is_climbed_once_and_again_where_it_failed(
    engine: &dyn Engine,
) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&[write(viewer("1", "anne")), write(viewer("2", "anne"))])?;
    let (before, found) = (database.dump()?, version(database.as_ref())?);
    let later = found + 1;
    let statements = later_step(database.as_ref());
    let [create, fill] = &statements;
    let climb = |statements: &[&str]| {
        let steps = [Step {
            version: later,
            statements,
        }];
        database.climb(&steps)
    };
    let owners = format!("select count(*) from {}", database.table("fga_owners"));

    // It fails before its end. What was there can still be used as it was.
    ensure!(climb(&[create, fill, "no statement"]).is_err());
    expect(database.as_ref(), &SchemaStatus::Current)?;
    ensure!(database.dump()? == before);
    run.page(&[write(viewer("3", "anne"))])?;
    let before = database.dump()?;

    // It is done again from its start.
    climb(&[create, fill]).done()?;
    expect(database.as_ref(), &SchemaStatus::Newer(later))?;
    ensure!(database.value(&owners)?.as_deref() == Some("3"));
    ensure!(database.dump()? == before);

    // It is not done once more.
    climb(&["no statement"]).done()?;
    let versions = database.query("select version from {fga_sync_schema} order by version")?;
    let expected: Vec<_> = (1..=later)
        .map(|step| vec![Some(step.to_string())])
        .collect();
    ensure!(versions == expected, "{versions:?}");
    Ok(())
}

fn tables_of_a_later_version_are_not_migrated(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = migrated(engine)?;
    let later = version(database.as_ref())? + 1;
    database
        .climb(&[Step {
            version: later,
            statements: &[],
        }])
        .done()?;
    // A later version may have no use for it.
    database.query("drop table {fga_sync_runs}")?;
    database.open()?.migrate().done()?;
    expect(database.as_ref(), &SchemaStatus::Newer(later))?;
    ensure!(database.count("fga_sync_runs").is_err(), "it came back");
    Ok(())
}

fn version(database: &dyn Database) -> anyhow::Result<u32> {
    let version = database.value("select max(version) from {fga_sync_schema}")?;
    Ok(version.unwrap_or_default().parse()?)
}

fn tables_of_a_later_version_are_newer(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = migrated(engine)?;
    let later = version(database.as_ref())? + 1;
    // A later version may have altered the tables too: what it is called decides.
    database.query("alter table {fga_tuples} rename column condition_name to guard")?;
    database.query(&format!(
        "insert into {{fga_sync_schema}} (version, applied_at)
         select {later}, applied_at from {{fga_sync_schema}}"
    ))?;
    expect(database.as_ref(), &SchemaStatus::Newer(later))
}

fn tables_of_an_earlier_version_are_older(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = migrated(engine)?;
    let earlier = version(database.as_ref())? - 1;
    database.query(&format!(
        "update {{fga_sync_schema}} set version = {earlier}"
    ))?;
    expect(database.as_ref(), &SchemaStatus::Older(earlier))
}

fn a_missing_table_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    for table in TABLES {
        let database = migrated(engine)?;
        database.query(&format!("drop table {{{table}}}"))?;
        expect_altered(database.as_ref(), table)?;
    }
    Ok(())
}

fn a_missing_column_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    for (table, column) in [
        ("fga_changelog", "raw_event"),
        ("fga_tuples", "condition_context"),
        ("fga_sync_state", "position_time"),
        ("fga_sync_runs", "finished_at"),
    ] {
        let database = migrated(engine)?;
        database.query(&format!("alter table {{{table}}} drop column {column}"))?;
        expect_altered(database.as_ref(), &format!("{table}.{column}"))?;
    }
    Ok(())
}

fn a_renamed_column_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = migrated(engine)?;
    for (table, columns) in COLUMNS {
        for column in columns {
            let rename = |from: &str, to: &str| {
                database.query(&format!(
                    "alter table {{{table}}} rename column {from} to {to}"
                ))
            };
            rename(column, "renamed")?;
            expect_altered(database.as_ref(), &format!("{table}.{column}"))?;
            rename("renamed", column)?;
        }
    }
    expect(database.as_ref(), &SchemaStatus::Current)
}

fn a_column_that_may_be_null_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = migrated(engine)?;
    database.make_nullable("fga_changelog", "raw_event")?;
    expect_altered(database.as_ref(), "fga_changelog.raw_event")
}

fn another_primary_key_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = migrated(engine)?;
    database.change_tuple_key()?;
    expect_altered(database.as_ref(), "primary key of fga_tuples")
}

/// MySQL has engines that keep half of a page, and one that keeps nothing of what it takes.
fn an_engine_without_transactions_is_named(engine: &dyn Engine) -> anyhow::Result<()> {
    if !matches!(engine.name(), "mysql" | "mariadb") {
        return Ok(());
    }
    for other in ["MyISAM", "BLACKHOLE"] {
        let database = engine.fresh()?;
        database.open()?.migrate().done()?;
        // MyISAM has no keys as wide as that of the index.
        let alteration =
            format!("alter table {{fga_sync_runs}} drop index by_name, engine = {other}");
        if let Err(error) = database.query(&alteration) {
            // Not every server has it.
            ensure!(other == "BLACKHOLE", "{error}");
            continue;
        }
        expect_altered(database.as_ref(), other)?;
    }
    Ok(())
}

fn columns_of_the_user_are_theirs(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = migrated(engine)?;
    for table in TABLES {
        database.query(&format!("alter table {{{table}}} add column ticket text"))?;
    }
    expect(database.as_ref(), &SchemaStatus::Current)?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    database.query("update {fga_tuples} set ticket = 'T-1'")?;
    // Written again: the user's column stays.
    run.page(&writes(2))?;
    let tickets = database.value("select count(*) from {fga_tuples} where ticket = 'T-1'")?;
    ensure!(tickets.as_deref() == Some("2"), "{tickets:?}");
    Ok(())
}

/// The change is as good as any.
fn what_violates_a_constraint_of_the_user_is_about_the_tables(
    engine: &dyn Engine,
) -> anyhow::Result<()> {
    for (table, column, expects) in [
        ("{fga_changelog}", "store_id", true),
        ("{fga_tuples}", "relation", true),
        ("{fga_tuples}", "relation", false),
    ] {
        let database = engine.fresh()?;
        let mut run = Run::begin(database.as_ref())?;
        run.page(&writes(1))?;
        database.query(&format!(
            "create unique index only_one on {table} ({column})"
        ))?;
        let before = database.dump()?;
        // That a tuple is in the way is no word about what it was before.
        let draft = Draft {
            expects,
            ..run.usual()?
        };
        let page = [write(viewer("new", "anne"))];
        match run.attempt(run.commits + 1, &page, &draft) {
            Err(TargetError::Fatal(error)) => {
                ensure!(error.kind() == ErrorKind::Schema, "{error}");
                let advice = error.advice().unwrap_or_default();
                ensure!(advice.contains("added"), "{error}: {advice}");
            }
            other => bail!("{table}, {expects}: {other:?}"),
        }
        ensure!(database.dump()? == before, "it wrote something");
    }
    Ok(())
}

fn a_reader_sees_what_is_there(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut reader = database.connect(Access::ReadOnly).done()?;
    ensure!(reader.schema().done()? == SchemaStatus::Missing);
    drop(reader);

    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let before = database.dump()?;
    let mut reader = database.connect(Access::ReadOnly).done()?;
    ensure!(reader.schema().done()? == SchemaStatus::Current);
    ensure!(kept(reader.as_mut(), &run.subject)?.token == run.at);
    ensure!(database.dump()? == before);
    Ok(())
}

fn odd_names_are_quoted(engine: &dyn Engine) -> anyhow::Result<()> {
    for namespace in [
        "plain",
        "with space",
        "it's",
        "\"quoted\"",
        "`ticked`",
        "100%s",
        "a_b",
        "a.b",
        "semi;colon--",
        "{prefix}",
        "back\\slash",
        "größe-表",
        "MixedCase",
        "select",
        "$1",
        "?",
    ] {
        odd_name(engine, namespace).map_err(|error| error.context(namespace))?;
    }
    Ok(())
}

fn odd_name(engine: &dyn Engine, namespace: &str) -> anyhow::Result<()> {
    let database = engine.fresh_in(namespace)?;
    expect(database.as_ref(), &SchemaStatus::Missing)?;
    let mut run = Run::begin(database.as_ref())?;
    expect(database.as_ref(), &SchemaStatus::Current)?;
    ensure!(run.target.try_lock("job").done()?);
    let changes = writes(2);
    run.page(&changes)?;
    let expected = expected_changelog(database.as_ref(), crate::run::STORE, &changes)?;
    same_rows(&changelog(database.as_ref())?, &expected)?;
    ensure!(database.count("fga_tuples")? == 2);
    ensure!(run.kept()?.token == run.at);
    database.query("alter table {fga_changelog} rename column run_id to run")?;
    expect_altered(database.as_ref(), "fga_changelog.run_id")
}

fn namespaces_are_apart(engine: &dyn Engine) -> anyhow::Result<()> {
    // In a pattern, each of these would match the other.
    let one = engine.fresh_in("a_")?;
    let other = one.sibling("ab")?;
    let mut run = Run::begin(one.as_ref())?;
    run.page(&[write(viewer("1", "anne"))])?;
    expect(other.as_ref(), &SchemaStatus::Missing)?;

    let before = one.dump()?;
    let mut later = Run::begin(other.as_ref())?;
    ensure!(later.at.is_none() && later.fence == run.fence);
    later.page(&writes(5))?;
    ensure!(one.dump()? == before);
    ensure!(other.count("fga_changelog")? == 5);
    expect(one.as_ref(), &SchemaStatus::Current)?;
    expect(other.as_ref(), &SchemaStatus::Current)?;
    // What is missing in one is not found in the other.
    other.query("drop table {fga_tuples}")?;
    expect(one.as_ref(), &SchemaStatus::Current)?;
    expect_altered(other.as_ref(), "fga_tuples")
}

/// Each is one that some engine has no room or no letters for, or keeps for itself.
fn a_namespace_is_good_for_all_tables_or_wrong_usage(engine: &dyn Engine) -> anyhow::Result<()> {
    let (longest, longer) = ("x".repeat(44), "x".repeat(46));
    for namespace in ["\u{1d11e}", "sqlite_x", "SQLITE_", &longest, &longer] {
        let database = engine.fresh_in(namespace)?;
        match database.connect(Access::ReadWrite) {
            Ok(mut target) => {
                target
                    .migrate()
                    .done()
                    .map_err(|error| error.context(namespace.to_owned()))?;
                ensure!(
                    target.schema().done()? == SchemaStatus::Current,
                    "{namespace}"
                );
            }
            Err(TargetError::Fatal(error)) => {
                ensure!(error.kind() == ErrorKind::Usage, "{namespace}: {error}");
                ensure!(namespace != longest, "{error}");
            }
            Err(error) => bail!("{namespace}: {error:?}"),
        }
    }
    Ok(())
}

fn a_table_of_somebody_else_is_about_the_tables(engine: &dyn Engine) -> anyhow::Result<()> {
    for table in TABLES.iter().chain(&["fga_sync_schema"]) {
        let database = engine.fresh()?;
        let mut target = database.open()?;
        target.migrate().done()?;
        database.query(&format!("drop table {{{table}}}"))?;
        if *table != "fga_sync_schema" {
            database.query("drop table {fga_sync_schema}")?;
        }
        database.query(&format!("create table {{{table}}} (amount integer)"))?;
        let status = target.migrate().and_then(|()| target.schema());
        match status {
            Ok(SchemaStatus::Altered(how)) => ensure!(how.contains(table), "{table}: {how}"),
            Err(TargetError::Fatal(error)) => {
                ensure!(error.kind() == ErrorKind::Schema, "{table}: {error}");
                ensure!(error.to_string().lines().count() == 1, "{table}: {error}");
            }
            status => bail!("{table}: {status:?}"),
        }
    }
    Ok(())
}
