//! Where the log ends: what is an end, what only looks like one, and a log that has none because it grows.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use ulid::Ulid;

use crate::fake_openfga::{FakeOpenFga, Reply, Request, at_time, change, changes};
use crate::look_back::by_place;
use crate::sandbox::Sandbox;

#[test]
fn an_empty_page_by_mistake_is_not_the_end() {
    let sandbox = Sandbox::new();
    // The first answer after the first page is empty by mistake, as openfga issue 3034 has it.
    let fake = FakeOpenFga::scripted(changes(0..4), |request, reply| {
        if request.is_page() && request.number == 1 {
            Reply::page(&[], request.token().unwrap())
        } else {
            reply
        }
    });
    sandbox.sync(&fake, "--page-size 2").code(0);
    sandbox.assert_holds(4);
}

#[test]
fn an_empty_token_never_takes_the_place_of_a_position() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..4));
    // However slow the machine is, nothing of it is settled.
    sandbox.sync(&fake, "--lookback 1h").code(0);
    let token = sandbox.token();
    fake.script(|request, reply| {
        if request.is_page() {
            Reply::page(&[], "")
        } else {
            reply
        }
    });
    sandbox.sync(&fake, "--lookback 0s").code(0);
    assert_eq!(sandbox.token(), token);
    assert!(token.is_some());
    // What gateways leave out.
    fake.script(|request, reply| {
        if request.is_page() {
            Reply::new(200, r#"{"changes":[]}"#)
        } else {
            reply
        }
    });
    sandbox.sync(&fake, "--lookback 0s").code(0);
    assert_eq!(sandbox.token(), token);
    fake.append(changes(4..5));
    fake.script(|_, reply| reply);
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(5);
}

#[test]
fn short_pages_are_not_the_end() {
    let sandbox = Sandbox::new();
    let all = changes(0..9);
    // As with a type filter or a database error: pages of one to three where a hundred were asked for.
    let pages = [0..1, 1..4, 4..6, 6..9];
    let fake = FakeOpenFga::scripted(all.clone(), move |request, reply| {
        if !request.is_page() {
            return reply;
        }
        let at: usize = request.token().map_or(0, |token| token.parse().unwrap());
        let size: usize = request.query["page_size"].parse().unwrap();
        match pages.iter().find(|page| page.contains(&at)) {
            Some(page) => {
                let end = page.end.min(at + size);
                Reply::page(&all[at..end], &end.to_string())
            }
            None => Reply::page(&[], request.token().unwrap()),
        }
    });
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(9);
}

#[test]
fn empty_pages_with_ever_new_tokens_come_to_an_end() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..2), |request, reply| {
        if request.is_page() {
            Reply::page(&[], &format!("t{}", request.number))
        } else {
            reply
        }
    });
    sandbox
        .sync(&fake, "")
        .code(4)
        .says(&["one empty page after another"]);
    assert_eq!(sandbox.token(), None);
}

/// Others write as fast as the run reads: each page has one change more.
#[test]
fn a_log_that_always_grows_is_read_up_to_the_time_of_the_run() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([]);
    fake.script(in_small_pages(1, written_now));
    let summary = sandbox.sync(&fake, "--format json").code(0).json();
    assert_eq!(summary["outcome"], "drained");
    assert!(fake.page_requests().len() < 100);
    // The next run goes on from there.
    let before = sandbox.changelog().len();
    sandbox.sync(&fake, "--lookback 0s").code(0);
    assert!(sandbox.changelog().len() > before);
}

/// As a server that is in trouble cuts off its pages, and as one whose answers are too large is asked for less.
#[test]
fn pages_cut_short_are_read_to_the_end_however_many_they_are() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([]);
    fake.script(in_small_pages(2, change));
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(LENGTH);
}

/// Of what was written since the run began, so many such pages would say that the log only grows.
#[test]
fn pages_cut_short_are_read_to_the_end_though_a_clock_is_ahead() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([]);
    fake.script(in_small_pages(2, |n| {
        at_time(&change(n), Timestamp::now() + SignedDuration::from_hours(1))
    }));
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(LENGTH);
}

/// A server whose database is away has been seen to send nothing but empty pages, and quickly.
#[test]
fn empty_pages_alone_never_dispel_a_doubt() {
    let doubts: [fn(Reply) -> Reply; 3] = [
        |_| Reply::error(500, "deadline_exceeded", "no"),
        |reply| reply.after(Duration::from_millis(1_500)),
        |_| Reply::page(&[], &hex::encode("|200")).after(Duration::from_millis(1_500)),
    ];
    for doubt in doubts {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted(changes(0..300), move |request, reply| {
            match request.number {
                _ if !request.is_page() => reply,
                0..=3 => reply,
                4 => doubt(reply),
                _ => Reply::page(&[], request.token().unwrap_or_default()),
            }
        });
        sandbox
            .sync(&fake, "--page-size 50")
            .code(4)
            .says(&["fails too often to tell whether its log ends"]);
    }
}

/// The last page can't be had whole any more in one of the size that the user wants.
#[test]
fn a_late_arrival_in_a_full_last_page_is_no_contradiction() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([]);
    fake.script(|request, reply| {
        if !request.is_page() {
            return reply;
        }
        if request.number == 2 {
            return Reply::error(503, "unavailable", "no");
        }
        // Between the last two, when the end is asked for.
        let late = (request.number > 3).then_some(95);
        let mut places: Vec<_> = (1..=10).map(|n| n * 10).chain(late).collect();
        places.sort_unstable();
        by_place(&places)(request, reply)
    });
    sandbox.sync(&fake, "--page-size 5").code(0);
    assert!(fake.page_requests().len() < 30);
    sandbox.sync(&fake, "--page-size 5 --lookback 1h").code(0);
    assert_eq!(sandbox.changelog().len(), 11);
}

/// The feed of a store that does not exist is empty, as if nothing had ever been written.
#[test]
fn a_store_that_is_deleted_while_it_is_read_is_not_at_its_end() {
    let sandbox = Sandbox::new();
    let mut is_deleted = false;
    let fake = FakeOpenFga::scripted(changes(0..30), move |request, reply| {
        is_deleted |= request.is_page() && request.number == 2;
        match (is_deleted, request.is_page()) {
            (false, _) => reply,
            (true, true) => Reply::page(&[], request.token().unwrap_or_default()),
            (true, false) => Reply::error(404, "store_id_not_found", "Store ID not found"),
        }
    });
    sandbox
        .sync(&fake, "--page-size 10")
        .code(7)
        .says(&["store_id_not_found"]);
}

/// A full page says that more may follow.
#[test]
fn full_pages_are_read_to_the_end_however_new_they_are() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([]);
    fake.script(in_small_pages(LENGTH, written_now));
    sandbox.sync(&fake, "--page-size 1").code(0);
    sandbox.assert_holds(LENGTH);
}

/// Its clock says nothing of where a recording ends.
#[test]
fn a_recording_from_a_clock_that_is_ahead_is_read_to_its_end() {
    let sandbox = Sandbox::new();
    let ahead = Timestamp::now() + SignedDuration::from_mins(5);
    let events: Vec<_> = (0..LENGTH).map(|n| at_time(&change(n), ahead)).collect();
    let page = format!(
        r#"{{"changes":[{}],"continuation_token":"t"}}"#,
        events.join(",")
    );
    sandbox.write("pages.jsonl", page);
    sandbox
        .run("run --source file:pages.jsonl --page-size 10")
        .code(0);
    sandbox.assert_holds(LENGTH);
}

/// The database's clock is ahead, so that all its changes seem to be new; the server's, which is in the tokens, is right.
#[test]
fn a_servers_own_small_pages_are_read_to_the_end_whatever_its_database_says_of_time() {
    let sandbox = Sandbox::new();
    let hour = SignedDuration::from_hours(1);
    let began_at = Timestamp::now();
    let token = move |at: usize| {
        let long_ago = (began_at - hour).as_millisecond();
        let place = Ulid::from_parts(long_ago.try_into().unwrap(), at as u128);
        URL_SAFE.encode(format!("{place}|"))
    };
    let place = |token: &str| -> usize {
        let text = String::from_utf8(URL_SAFE.decode(token).unwrap()).unwrap();
        let ulid: Ulid = text.trim_end_matches('|').parse().unwrap();
        ulid.random().try_into().unwrap()
    };
    let fake = FakeOpenFga::scripted([], move |request, reply| {
        if !request.is_page() {
            return reply;
        }
        let at = request.token().map_or(0, place);
        let size: usize = request.query["page_size"].parse().unwrap();
        let end = (at + size.min(10)).min(LENGTH);
        let page: Vec<_> = (at..end)
            .map(|n| at_time(&change(n), began_at + hour))
            .collect();
        match request.token() {
            Some(token) if page.is_empty() => Reply::page(&[], token),
            _ => Reply::page(&page, &token(end)),
        }
    });
    sandbox.sync(&fake, "--lookback 0s").code(0);
    sandbox.assert_holds(LENGTH);
}

/// As encrypted ones are, by a nonce. One failure makes the source doubtful, and it has to send the last page again.
#[test]
fn tokens_that_are_made_anew_each_time_prove_the_end_as_well() {
    let sandbox = Sandbox::new();
    let mut nonce = 0;
    let fake = FakeOpenFga::scripted(changes(0..30), move |request, reply| {
        if request.is_page() && request.number == 2 {
            return Reply::error(503, "unavailable", "no");
        }
        let page: Option<Value> = serde_json::from_str(&reply.body).ok();
        match page {
            Some(mut page) if request.is_page() && page["changes"] != json!([]) => {
                nonce += 1;
                let token = hex::decode(page["continuation_token"].as_str().unwrap()).unwrap();
                let token = String::from_utf8(token).unwrap();
                let other = token.replace('|', &format!("|{}", "0".repeat(nonce)));
                page["continuation_token"] = hex::encode(other).into();
                Reply::new(200, page.to_string())
            }
            _ => reply,
        }
    });
    sandbox.sync(&fake, "--page-size 10").code(0);
    sandbox.assert_holds(30);
    assert!(fake.page_requests().len() < 30);
}

/// A scheduler's line may hold one that moves with the clock. It is not used once there is a position.
#[test]
fn a_start_time_after_the_log_contradicts_nothing() {
    let sandbox = Sandbox::new();
    let long_ago = Timestamp::now() - SignedDuration::from_hours(10);
    let fake = FakeOpenFga::start(changes(0..6).iter().map(|event| at_time(event, long_ago)));
    sandbox.sync(&fake, "").code(0);
    let before = fake.page_requests().len();
    fake.script(move |request, reply| {
        if request.is_page() && request.number == before {
            Reply::error(503, "unavailable", "no")
        } else {
            reply
        }
    });
    let start_time = Timestamp::now() - SignedDuration::from_hours(1);
    sandbox
        .sync(&fake, &format!("--start-time {start_time}"))
        .code(0);
    assert!(fake.page_requests().len() - before < 50);
}

/// How long a log that always grows is, so that a test ends.
const LENGTH: usize = 300;

/// Pages of so many changes at most, whatever was asked for. A change is made when it is first asked for.
fn in_small_pages(
    most: usize,
    make: fn(usize) -> String,
) -> impl FnMut(&Request, Reply) -> Reply + Send + 'static {
    let mut log = Vec::new();
    move |request, reply| {
        if !request.is_page() {
            return reply;
        }
        let at: usize = request.token().map_or(0, |token| token.parse().unwrap());
        let size: usize = request.query["page_size"].parse().unwrap();
        let end = (at + size.min(most)).min(LENGTH);
        log.extend((log.len()..end).map(make));
        match request.token() {
            Some(token) if at == end => Reply::page(&[], token),
            _ => Reply::page(&log[at..end], &end.to_string()),
        }
    }
}

fn written_now(n: usize) -> String {
    at_time(&change(n), Timestamp::now())
}
