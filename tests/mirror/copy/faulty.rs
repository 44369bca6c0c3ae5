//! A target that fails: each answer to a write may be lost, wrong or late, before the server has done it or after.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::Pair;
use super::dense::Dense;
use super::proxy::{Proxy, error};
use crate::mirror::dice::Dice;
use crate::mirror::engine::Engine;
use crate::mirror::store::Store;
use crate::mirror::world::{Source, World};
use crate::support::fake_openfga::http::{HttpAnswer, Line};
use crate::support::length::by_length;

/// Longer than the runs wait for an answer.
const SLOW: Duration = Duration::from_millis(1_500);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let name = "a_target_store_that_fails_is_equal_in_the_end";
    vec![world.trial(Engine::Sqlite, name, fails)]
}

/// What happens to a write. Whether the server does it is another matter.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Drop,
    Cut,
    Conflict,
    TooOften,
    Internal,
    Slow,
}

const FAULTS: [Fault; 6] = [
    Fault::Drop,
    Fault::Cut,
    Fault::Conflict,
    Fault::TooOften,
    Fault::Internal,
    Fault::Slow,
];

fn fails(world: &World, engine: Engine) -> Result<()> {
    let (source, target) = (world.store(Source::Sqlite)?, world.store(Source::Postgres)?);
    let pair = Pair::of_few_tuples(world, engine, &source, &target)?;
    let faults = Arc::new(AtomicU32::new(0));
    let proxy = proxy(&pair.target, Arc::clone(&faults))?;
    let url = super::target_url(&proxy.store);
    let mut history = Dense::new(23);
    for _ in 0..by_length(2, 20) {
        history.grow(&pair.source, 80)?;
        let ended = pair
            .run()
            .env("FGA_SYNC_TARGET", &url)
            .args(["--page-size", "10"])
            .end()?;
        ensure!(matches!(ended.code, Some(0 | 5)), "{ended:?}");
    }
    pair.run().end_with(0)?;
    pair.assert_equal()?;
    let faults = faults.load(Ordering::Relaxed);
    ensure!(faults >= 3, "only {faults} faults");
    Ok(())
}

/// Passes requests on to the store's server, and some writes badly.
fn proxy(store: &Store, faults: Arc<AtomicU32>) -> Result<Proxy> {
    let dice = Mutex::new(Dice::new(77));
    Proxy::start(store, move |request, pass| {
        let fault = {
            let mut dice = dice.lock().unwrap();
            let is_write = request.target.ends_with("/write");
            (is_write && dice.below(5) == 0)
                .then(|| (FAULTS[dice.below(FAULTS.len())], dice.below(2) == 0))
        };
        let Some((fault, is_done)) = fault else {
            return pass();
        };
        faults.fetch_add(1, Ordering::Relaxed);
        // A server that sends away has done nothing.
        let is_done = is_done && !matches!(fault, Fault::Conflict | Fault::TooOften);
        let answer = if is_done {
            pass()
        } else {
            error(500, "internal_error")
        };
        match fault {
            Fault::Drop => HttpAnswer {
                line: Line::DropBeforeHeaders,
                ..answer
            },
            Fault::Cut => HttpAnswer {
                line: Line::DropInHeaders,
                ..answer
            },
            Fault::Conflict => error(409, "Aborted"),
            Fault::TooOften => {
                let mut answer = error(429, "rate_limit_exceeded");
                let wait = ("retry-after".to_owned(), "1".to_owned());
                answer.headers.push(wait);
                answer
            }
            Fault::Internal => error(500, "internal_error"),
            Fault::Slow => HttpAnswer {
                delay: SLOW,
                ..answer
            },
        }
    })
}
