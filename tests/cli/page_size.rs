//! The size of the pages: as large as the server gives, and smaller where an answer would be too large.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fake_openfga::{FakeOpenFga, Reply, Request, changes};
use crate::sandbox::Sandbox;

#[test]
fn a_server_that_ignores_the_page_size_is_told_of() {
    let whole = |log: Vec<String>| {
        FakeOpenFga::scripted([], move |request, reply| match request.token() {
            _ if !request.is_page() => reply,
            None => Reply::page(&log, "20"),
            Some(token) => Reply::page(&[], token),
        })
    };
    let mut unknown = changes(0..20);
    unknown[7] = unknown[7].replace("TUPLE_OPERATION_WRITE", "TUPLE_OPERATION_MERGE");
    for (log, arguments) in [
        (unknown, "--page-size 5"),
        (changes(0..20), "--max-changes 5"),
    ] {
        let sandbox = Sandbox::new();
        let fake = whole(log);
        sandbox
            .sync(&fake, arguments)
            .code(4)
            .says(&["sends more changes than it is asked for"]);
        assert!(fake.page_requests().len() < 5);
    }
}

fn asked_sizes(fake: &FakeOpenFga) -> Vec<usize> {
    let size = |request: &Request| request.query["page_size"].parse().unwrap();
    fake.page_requests().iter().map(size).collect()
}

/// The same without the last request but one: it finds a place inside the last page, from where the end is proven.
fn sizes_but_the_cut(fake: &FakeOpenFga) -> Vec<usize> {
    let mut sizes = asked_sizes(fake);
    let cut = sizes.remove(sizes.len() - 2);
    assert!((1..sizes[sizes.len() - 1]).contains(&cut), "{cut}");
    sizes
}

#[test]
fn pages_are_the_largest_that_the_server_accepts() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..250));
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(250);
    assert_eq!(sizes_but_the_cut(&fake), [1_000, 100, 100, 100, 100, 100]);
    // Where nothing larger is wanted, nothing larger is asked for.
    let fake = FakeOpenFga::start(changes(0..250));
    let sandbox = Sandbox::new();
    sandbox.sync(&fake, "--max-changes 60").code(3);
    assert_eq!(asked_sizes(&fake)[..2], [60, 1]);

    // A server that takes more, or says it in other words.
    for (most, said, sizes) in [
        (1_000, "", vec![1_000, 1_000, 1_000]),
        (
            70,
            "value must be inside range [1, 70]",
            vec![1_000, 70, 70, 70, 70, 70, 70],
        ),
        (50, "too many", vec![1_000, 100, 50, 50, 50, 50, 50, 50, 50]),
    ] {
        let all = changes(0..250);
        let fake = FakeOpenFga::scripted([], move |request, reply| {
            let Some(size) = request.query.get("page_size") else {
                return reply;
            };
            let size: usize = size.parse().unwrap();
            if size > most {
                return Reply::error(400, "page_size_invalid", said);
            }
            let start: usize = request.token().map_or(0, |token| token.parse().unwrap());
            let end = (start + size).min(all.len());
            Reply::page(&all[start..end], &end.to_string())
        });
        let sandbox = Sandbox::new();
        sandbox.sync(&fake, "").code(0);
        sandbox.assert_holds(250);
        assert_eq!(sizes_but_the_cut(&fake), sizes);
    }
}

/// A server that takes so many changes in a page, and says so.
fn limited(most: &Arc<AtomicUsize>) -> FakeOpenFga {
    let (all, most) = (changes(0..150), Arc::clone(most));
    FakeOpenFga::scripted([], move |request, reply| {
        let Some(size) = request.query.get("page_size") else {
            return reply;
        };
        let (size, most): (usize, usize) = (size.parse().unwrap(), most.load(Ordering::Relaxed));
        if size > most {
            let said = format!("value must be inside range [1, {most}]");
            return Reply::error(400, "page_size_invalid", &said);
        }
        let start: usize = request.token().map_or(0, |token| token.parse().unwrap());
        let end = (start + size).min(all.len());
        Reply::page(&all[start..end], &end.to_string())
    })
}

#[test]
fn a_size_that_was_refused_is_not_asked_for_in_each_run() {
    let most = Arc::new(AtomicUsize::new(70));
    let fake = limited(&most);
    let sandbox = Sandbox::new();
    let run = |arguments: &str, code| {
        let before = fake.page_requests().len();
        sandbox.sync(&fake, arguments).code(code);
        let sizes = asked_sizes(&fake).split_off(before);
        let kept = "select coalesce(page_size, 0) from fga_sync_state";
        (sizes[0], sandbox.column::<u32>(kept)[0])
    };
    let refused = |from: usize| {
        asked_sizes(&fake)[from..]
            .iter()
            .filter(|size| **size > 70)
            .count()
    };
    assert_eq!(run("", 0), (1_000, 70));
    let from = fake.page_requests().len();
    assert_eq!(run("", 0), (70, 70));
    assert_eq!(refused(from), 0);
    // What the user wants is asked for.
    assert_eq!(run("--page-size 20", 0), (20, 70));
    assert_eq!(run("--page-size 90", 2), (90, 70));

    // A server that takes less is believed, and one that takes more is found out, if late.
    most.store(50, Ordering::Relaxed);
    assert_eq!(run("", 0), (70, 50));
    most.store(1_000, Ordering::Relaxed);
    assert_eq!(run("", 0), (50, 50));
    let to_the_hundredth_run = "update fga_sync_state set fence = 99";
    sandbox
        .database()
        .execute(to_the_hundredth_run, [])
        .unwrap();
    assert_eq!(run("", 0), (1_000, 0));
    assert_eq!(run("", 0), (1_000, 0));
}

#[test]
fn a_page_that_is_too_large_is_asked_for_in_parts() {
    type Refusal = (&'static str, fn() -> Reply);
    let refusals: [Refusal; 4] = [
        ("100 MB", || Reply::new(200, "x".repeat(100 << 20))),
        ("413", || Reply::new(413, "<html>")),
        ("429", || {
            Reply::error(
                429,
                "resource_exhausted",
                "grpc: received message larger than max (5 vs. 4)",
            )
        }),
        ("500", || {
            Reply::error(
                500,
                "internal_error",
                "grpc: received message larger than max (5 vs. 4)",
            )
        }),
    ];
    for (name, refusal) in refusals {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted(changes(0..10), move |request, reply| {
            let size = request
                .query
                .get("page_size")
                .map(|size| size.parse::<usize>());
            match size {
                Some(Ok(size)) if size > 3 => refusal(),
                _ => reply,
            }
        });
        sandbox.sync(&fake, "--page-size 10").code(0);
        sandbox.assert_holds(10);
        assert_eq!(asked_sizes(&fake)[..3], [10, 5, 2], "{name}");

        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted(changes(0..10), move |request, reply| {
            if request.is_page() && request.token().is_some() {
                refusal()
            } else {
                reply
            }
        });
        sandbox
            .sync(&fake, "--page-size 4")
            .code(4)
            .says(&["a page of one change is too large"]);
        sandbox.assert_holds(4);
        assert_eq!(asked_sizes(&fake), [4, 4, 2, 1], "{name}");
    }
}
