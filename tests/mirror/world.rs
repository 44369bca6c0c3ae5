//! What the trials share: the servers, started when the first trial needs them, and histories that nobody changes.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Result, anyhow};
use libtest_mimic::{Failed, Trial};

use super::engine::{Database, Engine, Server};
use super::store::{Store, Truth};
use crate::support::history::Workload;
use crate::support::length::by_length;
use crate::support::openfga_api::Api;
use crate::support::servers::{Datastore, OpenFga, TestDir, Version};

/// Whether `tests/run` has prepared what servers need.
pub fn wants_servers() -> bool {
    std::env::var_os("TEST_FGA_SYNC_SERVERS").is_some()
}

/// Where the OpenFGA server keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Memory,
    Sqlite,
    Postgres,
    MySql,
}

impl Source {
    pub const ALL: [Self; 4] = [Self::Memory, Self::Sqlite, Self::Postgres, Self::MySql];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }
}

/// A store that trials read and none writes to, with what it holds.
pub struct History {
    pub store: Store,
    pub truth: Truth,
}

/// In this order they end.
pub struct World {
    /// By release, and by where they keep their data.
    sources: [[Lazy<OpenFga>; 4]; 3],
    servers: [Lazy<Server>; 5],
    histories: [Lazy<History>; 4],
    middling: Lazy<History>,
    short: Lazy<History>,
    dir: Lazy<TestDir>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            sources: std::array::from_fn(|_| std::array::from_fn(|_| Lazy::default())),
            servers: std::array::from_fn(|_| Lazy::default()),
            histories: std::array::from_fn(|_| Lazy::default()),
            middling: Lazy::default(),
            short: Lazy::default(),
            dir: Lazy::default(),
        }
    }
}

impl World {
    /// A trial of one engine.
    pub fn trial(
        self: &Arc<Self>,
        engine: Engine,
        case: &str,
        body: impl FnOnce(&Self, Engine) -> Result<()> + Send + 'static,
    ) -> Trial {
        let world = Arc::clone(self);
        Trial::test(format!("{}::{case}", engine.name()), move || {
            body(&world, engine).map_err(|error| Failed::from(format!("{error:#}")))
        })
        .with_ignored_flag(!wants_servers())
    }

    pub fn dir(&self) -> Result<&Path> {
        self.dir.get(TestDir::new).map(TestDir::path)
    }

    /// The engine's shared server.
    pub fn server(&self, engine: Engine) -> Result<&Server> {
        self.servers[engine as usize].get(|| Server::start(engine, self.dir()?))
    }

    /// A new database on the engine's shared server.
    pub fn database(&self, engine: Engine) -> Result<Database> {
        self.server(engine)?.create_database()
    }

    /// A new, empty store.
    pub fn store(&self, source: Source) -> Result<Store> {
        self.store_of(Version::Newest, source)
    }

    /// The same on a server of a certain release.
    pub fn store_of(&self, version: Version, source: Source) -> Result<Store> {
        let start =
            |datastore: Datastore| OpenFga::start_version(version, self.dir()?, datastore, &[]);
        let on = |server: &OpenFga| Store::create(&Api::new(&server.url(), None)?, &server.url());
        let shared = |datastore: Datastore| {
            self.sources[version as usize][source as usize].get(|| start(datastore))
        };
        match source {
            Source::Memory => {
                // The memory engine's feed (v1.18.1) loses changes and doubles others where a store or a model is made in the
                // middle of a write: both take from one monotonic sequence of ULIDs, which then starts anew.
                let server = start(Datastore::Memory)?;
                let mut store = on(&server)?;
                store.server = Some(Arc::new(server));
                Ok(store)
            }
            Source::Sqlite => on(shared(Datastore::Sqlite)?),
            Source::Postgres => {
                let database = self.server(Engine::Postgres)?.postgres()?;
                on(shared(Datastore::Postgres(database))?)
            }
            Source::MySql => {
                let database = self.server(Engine::MySql)?.mysql()?;
                let mut store = on(shared(Datastore::MySql(database))?)?;
                // `tuple._user` is a varchar(256) there; the server takes 512 bytes and answers 500.
                store.widest_user = 256;
                if version == Version::V1_8_0 {
                    store.widest_object_id = 128;
                    store.folds_letters = true;
                }
                Ok(store)
            }
        }
    }

    /// The shared history on this kind of server.
    pub fn history(&self, source: Source) -> Result<&History> {
        // One kind has a long one even when there is little time. The memory engine scans its log for each page.
        let changes = match source {
            Source::Sqlite => by_length(20_000, 60_000),
            _ => by_length(3_000, 20_000),
        };
        self.histories[source as usize].get(|| self.new_history(source, changes))
    }

    /// A shared history that is long enough for something to happen while it is read, and no longer.
    pub fn middling_history(&self) -> Result<&History> {
        self.middling
            .get(|| self.new_history(Source::Memory, 3_000))
    }

    /// A shared history that is read quickly.
    pub fn short_history(&self) -> Result<&History> {
        self.short.get(|| self.new_history(Source::Memory, 400))
    }

    fn new_history(&self, source: Source, changes: usize) -> Result<History> {
        let store = self.store(source)?;
        store.grow(&mut Workload::new(source as u64 + 1), changes)?;
        let truth = store.truth()?;
        Ok(History { store, truth })
    }
}

/// A value that the first who needs it makes.
struct Lazy<T>(OnceLock<Result<T, String>>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Lazy<T> {
    fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        self.0
            .get_or_init(|| make().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }
}
