//! A log that no longer holds what was read from it: its server's database was restored from a backup, or its log was emptied.
//! A run says so, and leaves the mirror as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::{Binary, Ended};
use super::engine::{Database, Engine};
use super::oracle::{assert_mirrors, dump};
use super::sql::Sql;
use super::store::Store;
use super::world::World;
use crate::support::history::Workload;
use crate::support::openfga_api::Api;
use crate::support::servers::{Datastore, OpenFga, Postgres, TestDir};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        trials.push(world.trial(
            engine,
            "a_source_restored_from_a_backup_is_an_error",
            |world, engine| restored(world, engine, Keeper::Sqlite),
        ));
    }
    let engine = Engine::Sqlite;
    for keeper in [Keeper::Sqlite, Keeper::Postgres] {
        let over = keeper.name();
        let mut push = |case: String, body: fn(&World, Engine, Keeper) -> Result<()>| {
            let body = move |world: &World, engine| body(world, engine, keeper);
            trials.push(world.trial(engine, &case, body));
        };
        push(
            format!("a_source_restored_from_a_backup_over_{over}_and_written_on_is_an_error"),
            restored_and_written_on,
        );
        push(format!("an_emptied_log_over_{over}_is_an_error"), emptied);
        push(
            format!("an_emptied_log_over_{over}_that_is_written_on_is_an_error"),
            emptied_and_written_on,
        );
    }
    trials.push(world.trial(
        engine,
        "a_source_restored_from_a_backup_over_postgres_is_an_error",
        |world, engine| restored(world, engine, Keeper::Postgres),
    ));
    trials.push(world.trial(
        engine,
        "a_source_that_lost_what_it_sent_a_short_while_ago_may_be_a_replica_that_lags",
        unsettled,
    ));
    trials
}

fn restored(world: &World, engine: Engine, keeper: Keeper) -> Result<()> {
    let past = Past::restored(world, engine, keeper)?;
    past.is_refused()
}

fn restored_and_written_on(world: &World, engine: Engine, keeper: Keeper) -> Result<()> {
    let past = Past::restored(world, engine, keeper)?;
    past.write_on()?;
    past.is_refused()
}

fn emptied(world: &World, engine: Engine, keeper: Keeper) -> Result<()> {
    let past = Past::emptied(world, engine, keeper)?;
    past.is_refused()
}

fn emptied_and_written_on(world: &World, engine: Engine, keeper: Keeper) -> Result<()> {
    let past = Past::emptied(world, engine, keeper)?;
    past.write_on()?;
    past.is_refused()
}

/// Nobody knows yet whether more than a replica's lag is to blame, until an operator says so.
fn unsettled(world: &World, engine: Engine) -> Result<()> {
    let source = Source::start(Keeper::Sqlite)?;
    let mut workload = Workload::new(45);
    let store = source.store()?;
    store.grow(&mut workload, 250)?;
    source.back_up()?;
    store.grow(&mut workload, 300)?;
    let database = world.database(engine)?;
    let run = || Binary::run(&store, &database);
    run().end_with(0)?;
    let (truth, before) = (store.truth()?, dump(&database)?);
    source.restore()?;
    leaves(&database, || {
        run().end_with(4)?.saying("a replica that lags")
    })?;
    run().args(["--lookback", "0s"]).end_with(0)?;
    ensure!(dump(&database)? == before, "rows changed");
    run().end_with(0)?;
    assert_mirrors(&database, &truth)
}

/// The mirror of a log whose changes are all settled.
fn settled(world: &World, engine: Engine, store: &Store) -> Result<Database> {
    let database = world.database(engine)?;
    // A second is what is looked back, and two are what a timestamp and the server's clock may lack.
    sleep(Duration::from_millis(3_500));
    Binary::run(store, &database)
        .args(["--lookback", "1s"])
        .end_with(0)?;
    let unsettled = "select count(*) from fga_sync_overlap where not settled";
    ensure!(database.open()?.number(unsettled)? == 0);
    assert_mirrors(&database, &store.truth()?)?;
    Ok(database)
}

/// A mirror, and the log that it was filled from, which has lost some of what is settled.
struct Past {
    /// It goes on to run.
    _source: Source,
    store: Store,
    database: Database,
}

impl Past {
    /// The log ends before what was read last.
    fn restored(world: &World, engine: Engine, keeper: Keeper) -> Result<Self> {
        let source = Source::start(keeper)?;
        let mut workload = Workload::new(41);
        let store = source.store()?;
        store.grow(&mut workload, 250)?;
        source.back_up()?;
        store.grow(&mut workload, 400)?;
        let database = settled(world, engine, &store)?;
        source.restore()?;
        Ok(Self {
            _source: source,
            store,
            database,
        })
    }

    /// The store has its tuples, and no log of how they came.
    fn emptied(world: &World, engine: Engine, keeper: Keeper) -> Result<Self> {
        let source = Source::start(keeper)?;
        let store = source.store()?;
        store.grow(&mut Workload::new(43), 250)?;
        let database = settled(world, engine, &store)?;
        source.open()?.run("delete from changelog")?;
        Ok(Self {
            _source: source,
            store,
            database,
        })
    }

    /// More than a page.
    fn write_on(&self) -> Result<()> {
        self.store.grow(&mut Workload::disjoint(42, 1), 250)
    }

    fn is_refused(&self) -> Result<()> {
        leaves(&self.database, || {
            Binary::run(&self.store, &self.database)
                .end_with(7)?
                .saying("has lost")?
                .saying("restored from a backup or emptied")?
                .saying("fill an empty target")
        })
    }
}

/// What a run that fails leaves as it was: the rows, and the position.
fn leaves(database: &Database, run: impl FnOnce() -> Result<Ended>) -> Result<()> {
    let state = || -> Result<_> {
        let position = "select token, watermark, commits from fga_sync_state";
        Ok((dump(database)?, database.open()?.rows(position)?))
    };
    let before = state()?;
    let ended = run()?;
    ensure!(state()? == before, "rows changed: {ended:?}");
    Ok(())
}

/// What keeps the data of a server.
#[derive(Clone, Copy)]
enum Keeper {
    Sqlite,
    Postgres,
}

impl Keeper {
    const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A server whose data can be set back. In this order they end.
struct Source {
    openfga: OpenFga,
    postgres: Option<Postgres>,
    dir: TestDir,
}

impl Source {
    fn start(keeper: Keeper) -> Result<Self> {
        let dir = TestDir::new()?;
        let postgres = match keeper {
            Keeper::Sqlite => None,
            Keeper::Postgres => Some(Postgres::start(dir.path())?),
        };
        let datastore = postgres
            .as_ref()
            .map_or(Datastore::Sqlite, Datastore::Postgres);
        let openfga = OpenFga::start(dir.path(), datastore)?;
        Ok(Self {
            openfga,
            postgres,
            dir,
        })
    }

    fn store(&self) -> Result<Store> {
        let url = self.openfga.url();
        Store::create(&Api::new(&url, None)?, &url)
    }

    fn back_up(&self) -> Result<()> {
        self.openfga.kill()?;
        match &self.postgres {
            None => {
                fs::create_dir(self.backup())?;
                copy_files(&self.files(), &self.backup())?;
            }
            Some(server) => server.run("create database backup template openfga")?,
        }
        self.openfga.start_again()
    }

    fn restore(&self) -> Result<()> {
        self.openfga.kill()?;
        match &self.postgres {
            None => {
                for file in self.files() {
                    fs::remove_file(file)?;
                }
                let kept = fs::read_dir(self.backup())?;
                let kept: Vec<_> = kept
                    .map(|file| Ok(file?.path()))
                    .collect::<std::io::Result<_>>()?;
                copy_files(&kept, self.dir.path())?;
            }
            Some(server) => {
                server.run("drop database openfga with (force)")?;
                server.run("alter database backup rename to openfga")?;
            }
        }
        self.openfga.start_again()
    }

    /// Its database.
    fn open(&self) -> Result<Sql> {
        match &self.postgres {
            None => Sql::open(Engine::Sqlite, &self.data().display().to_string()),
            Some(server) => Sql::open(Engine::Postgres, &server.admin_url("openfga")),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("openfga.sqlite")
    }

    /// The database and what was not written into it yet (`-wal`).
    fn files(&self) -> Vec<PathBuf> {
        let data = self.data().display().to_string();
        let files = ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{data}{end}")));
        files.into_iter().filter(|file| file.is_file()).collect()
    }

    fn backup(&self) -> PathBuf {
        self.dir.path().join("backup")
    }
}

fn copy_files(files: &[PathBuf], to: &Path) -> Result<()> {
    for file in files {
        fs::copy(file, to.join(file.file_name().unwrap()))?;
    }
    Ok(())
}
