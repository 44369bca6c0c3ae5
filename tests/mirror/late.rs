//! Changes that commit after later ones, on a real server: two OpenFGA processes over one PostgreSQL database.
//!
//! Deletes are held up by row locks in the server's database, so that they commit after younger changes. A replica whose clock
//! lags is played by rows with older ULIDs, put into the server's tables, for the clock of a program can't be faked from
//! outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use ulid::Ulid;

use super::binary::Binary;
use super::dice::Dice;
use super::engine::{Database, Engine};
use super::oracle::assert_holds;
use super::sql::Sql;
use super::store::Store;
use super::world::{Source, World, wants_servers};
use crate::support::history::Workload;
use crate::support::length::by_length;
use crate::support::openfga_api::Api;
use crate::support::servers::{Datastore, OpenFga, Version};

/// Less than the 3 s after which the server gives up.
const LONGEST_HOLD: Duration = Duration::from_millis(2_500);
/// How far the clock of the lagging replica lags.
const LONGEST_LAG: Duration = Duration::from_secs(6);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let trial = |name: &str, body: fn(&World) -> Result<()>| {
        let world = Arc::clone(world);
        let body = move || body(&world).map_err(|error| Failed::from(format!("{error:#}")));
        Trial::test(format!("every_engine::{name}"), body).with_ignored_flag(!wants_servers())
    };
    vec![
        trial("finds_changes_that_commit_late", |world| {
            late(world, Version::Newest, &PAGES)
        }),
        trial("finds_changes_that_commit_late_of_v1_18_1", |world| {
            late(world, Version::V1_18_1, &PAGES)
        }),
        // Its pages can't be made larger.
        trial("finds_changes_that_commit_late_of_v1_8_0", |world| {
            late(world, Version::V1_8_0, &[])
        }),
        trial("reads_again_what_was_young_and_nothing_else", young_and_old),
    ]
}

/// Of what every kind of server says of time, nothing keeps an old log unsettled, and nothing settles a young one.
fn young_and_old(world: &World) -> Result<()> {
    let mut mirrors = Vec::new();
    for source in Source::ALL {
        let store = world.store(source)?;
        let mut workload = Workload::new(31);
        store.grow(&mut workload, 300)?;
        mirrors.push((source, store, workload, world.database(Engine::Sqlite)?));
    }
    sleep(Duration::from_secs(12));
    for (source, store, mut workload, database) in mirrors {
        // The last pages are kept in any case: by them the next run knows the log.
        let pages = || -> Result<(u64, u64)> {
            Binary::run(&store, &database).end_with(0)?;
            let mut sql = database.open()?;
            let of = |settled| {
                format!("select count(*) from fga_sync_overlap where settled = {settled}")
            };
            Ok((sql.number(&of(0))?, sql.number(&of(1))?))
        };
        let name = source.name();
        let (unsettled, settled) = pages()?;
        ensure!(unsettled == 0, "{name}: an old log is unsettled");
        ensure!(settled > 0, "{name}: nothing is left to know the log by");
        store.grow(&mut workload, 350)?;
        let young = pages()?.0;
        ensure!(young == 1, "{name}: a young log is settled: {young}");
    }
    Ok(())
}

/// A page holds what is written in a second and more, so that a run that reads one a second keeps up.
const PAGES: [&str; 2] = ["--readChanges-max-page-size", "1000"];

/// A mirror, and the arguments of its runs.
struct Mirror {
    database: Database,
    mode: &'static str,
    look_back: &'static str,
    max_rps: &'static str,
}

const FAST: &str = "1000";
/// One run takes longer than it looks back, since others write meanwhile.
const SLOW: &str = "1";

fn late(world: &World, version: Version, arguments: &[&str]) -> Result<()> {
    let datastore = Datastore::Postgres(world.server(Engine::Postgres)?.postgres()?);
    let start = || OpenFga::start_version(version, world.dir()?, datastore, arguments);
    let servers = [start()?, start()?];
    let mut missed = 0;
    for round in 0..by_length(1, 10) {
        missed += self::round(world, version, &servers, round)
            .with_context(|| format!("in round {round}"))?;
    }
    ensure!(
        missed > 0,
        "nothing committed late: without looking back, nothing was missed"
    );
    eprintln!("late: without looking back, {missed} changes were missed");
    Ok(())
}

/// What each of these keeps does not depend on the server's release, nor does what is slow.
fn mirrors(world: &World, version: Version) -> Result<Vec<Mirror>> {
    let mut mirrors = Vec::new();
    if version == Version::Newest {
        for engine in Engine::ALL {
            mirrors.push(Mirror {
                database: world.database(engine)?,
                mode: "both",
                look_back: "10s",
                max_rps: FAST,
            });
        }
        mirrors.push(Mirror {
            database: world.database(Engine::Sqlite)?,
            // Asking for tuples would take turns with reading.
            mode: "changelog",
            look_back: "10s",
            max_rps: SLOW,
        });
    }
    for (mode, look_back) in [("stateful", "10s"), ("changelog", "10s"), ("both", "0s")] {
        mirrors.push(Mirror {
            database: world.database(Engine::Sqlite)?,
            mode,
            look_back,
            max_rps: FAST,
        });
    }
    Ok(mirrors)
}

/// Gives how many changes a mirror that does not look back has missed.
fn round(world: &World, version: Version, servers: &[OpenFga; 2], round: u64) -> Result<usize> {
    let [one, other] = servers;
    let store = Store::create(&Api::new(&one.url(), None)?, &one.url())?;
    let by_other = Store {
        api: Api::new(&other.url(), None)?,
        url: other.url(),
        ..store.clone()
    };
    let mirrors = mirrors(world, version)?;
    let address = world
        .server(Engine::Postgres)?
        .postgres()?
        .admin_url(version.database());
    let held = AtomicU32::new(0);
    let lagging = AtomicU32::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let mut workers = Vec::new();
        for (worker, store) in (0..).zip([&store, &by_other]) {
            let stop = &stop;
            workers.push(scope.spawn(move || write(store, worker, stop)));
        }
        for worker in 0..3 {
            let (store, by_other, address, held, stop) =
                (&store, &by_other, &address, &held, &stop);
            workers.push(scope.spawn(move || {
                hold_up(
                    store,
                    by_other,
                    address,
                    Dice::new(round * 10 + worker),
                    held,
                    stop,
                )
            }));
        }
        let (by_lag, address, lagging, stopped) = (&store, &address, &lagging, &stop);
        workers.push(
            scope.spawn(move || lag(by_lag, address, Dice::new(round * 10 + 9), lagging, stopped)),
        );
        let length = Duration::from_secs(by_length(15, 60));
        let result = run_each_second(&store, &mirrors, Instant::now() + length);
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().unwrap()?;
        }
        result
    })?;
    let (held, lagging) = (held.into_inner(), lagging.into_inner());
    ensure!(held > 0 && lagging > 0);
    let truth = store.truth()?;
    let mut missed = 0;
    for mirror in &mirrors {
        run(&store, mirror)?;
        let mut sql = mirror.database.open()?;
        let mut count =
            |column: &str| sql.number(&format!("select sum({column}) from fga_sync_runs"));
        let (late, anomalies) = (count("late_arrivals")?, count("order_anomalies")?);
        let found = count("changes")?;
        let name = format!(
            "{} in mode {} with --lookback {} and --max-rps {}",
            mirror.database.engine.name(),
            mirror.mode,
            mirror.look_back,
            mirror.max_rps
        );
        eprintln!(
            "late: round {round}: {name}: {found} of {} changes, {late} late, {anomalies} contradicting tuples; \
             {held} deletes held up, {lagging} changes by the lagging replica",
            truth.changes.len()
        );
        if mirror.look_back == "0s" {
            missed += truth.changes.len() - usize::try_from(found)?;
            continue;
        }
        assert_holds(&mirror.database, &truth, mirror.mode).context(name)?;
        // Without tuples, a contradiction is seen only where both changes are unsettled.
        ensure!(late > 0 && (anomalies > 0 || mirror.mode == "changelog"));
    }
    Ok(missed)
}

fn run_each_second(store: &Store, mirrors: &[Mirror], until: Instant) -> Result<()> {
    let keep_up = |mirror| -> Result<()> {
        while Instant::now() < until {
            let next = Instant::now() + Duration::from_secs(1);
            run(store, mirror)?;
            sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let mirrors: Vec<_> = mirrors
            .iter()
            .map(|mirror| scope.spawn(move || keep_up(mirror)))
            .collect();
        mirrors
            .into_iter()
            .try_for_each(|mirror| mirror.join().unwrap())
    })
}

fn run(store: &Store, mirror: &Mirror) -> Result<()> {
    Binary::run(store, &mirror.database)
        .args(["--mode", mirror.mode, "--lookback", mirror.look_back])
        .args(["--max-rps", mirror.max_rps])
        .end_with(0)
        .with_context(|| format!("into {}", mirror.database.url))?;
    Ok(())
}

/// Writes without delay.
fn write(store: &Store, worker: u32, stop: &AtomicBool) -> Result<()> {
    let mut workload = Workload::disjoint(11, worker);
    while !stop.load(Ordering::Relaxed) {
        store.write_some(&mut workload)?;
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The tuple number `n` of a worker; [`Workload`] has none of these users.
fn tuple(worker: &str, n: u32) -> Value {
    json!({ "user": format!("user:{worker}-{n}"), "relation": "owner", "object": "document:late" })
}

/// Deletes tuples whose rows are locked for a while.
fn hold_up(
    store: &Store,
    by_other: &Store,
    address: &str,
    mut dice: Dice,
    held: &AtomicU32,
    stop: &AtomicBool,
) -> Result<()> {
    let mut sql = Sql::open(Engine::Postgres, address)?;
    while !stop.load(Ordering::Relaxed) {
        let n = held.fetch_add(1, Ordering::Relaxed);
        let key = tuple("held", n);
        store
            .api
            .write(&store.id, std::slice::from_ref(&key), &[])?;
        sql.run(&format!(
            "begin; select from tuple where store = '{}' and _user = 'user:held-{n}' for update",
            store.id
        ))?;
        thread::scope(|scope| -> Result<()> {
            let delete = scope.spawn(|| by_other.api.write(&by_other.id, &[], &[key]));
            sleep(dice.up_to(LONGEST_HOLD));
            sql.run("commit")?;
            delete.join().unwrap()
        })?;
    }
    Ok(())
}

/// Makes changes as a replica does whose clock lags: each stands in the log before changes that were committed earlier.
fn lag(
    store: &Store,
    address: &str,
    mut dice: Dice,
    lagging: &AtomicU32,
    stop: &AtomicBool,
) -> Result<()> {
    let mut sql = Sql::open(Engine::Postgres, address)?;
    while !stop.load(Ordering::Relaxed) {
        let n = lagging.fetch_add(1, Ordering::Relaxed);
        let lag = dice.up_to(LONGEST_LAG);
        let ulid = Ulid::from_datetime(SystemTime::now() - lag);
        let columns = format!(
            "'{}', 'document', 'late', 'owner', 'user:lag-{n}'",
            store.id
        );
        if n.is_multiple_of(2) {
            // Of the tuple, the log will say that it was deleted, and then that it was written.
            store.api.write(&store.id, &[tuple("lag", n)], &[])?;
            sql.run(&format!(
                "begin;
                 delete from tuple where store = '{}' and _user = 'user:lag-{n}';
                 insert into changelog (store, object_type, object_id, relation, _user, operation, ulid, inserted_at)
                 values ({columns}, 1, '{ulid}', now());
                 commit",
                store.id
            ))?;
        } else {
            sql.run(&format!(
                "begin;
                 insert into tuple (store, object_type, object_id, relation, _user, user_type, ulid, inserted_at)
                 values ({columns}, 'user', '{ulid}', now());
                 insert into changelog (store, object_type, object_id, relation, _user, operation, ulid, inserted_at)
                 values ({columns}, 0, '{ulid}', now());
                 commit"
            ))?;
        }
        sleep(dice.up_to(Duration::from_millis(300)));
    }
    Ok(())
}
