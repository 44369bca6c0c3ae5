//! Where the log ends: what is an end, what only looks like one, and a log that has none because it grows.

use jiff::Timestamp;

use crate::fake_openfga::{FakeOpenFga, Reply, Request, at_time, change, changes};
use crate::sandbox::Sandbox;

#[test]
fn the_end_of_the_log_is_believed_when_it_is_said_twice() {
    let sandbox = Sandbox::new();
    // The first answer behind the first page is empty by mistake, as openfga issue 3034 has it.
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
    sandbox.sync(&fake, "").code(0);
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
            Reply::new(200, "{}")
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
        match pages.iter().find(|page| page.start == at) {
            Some(page) => Reply::page(&all[page.clone()], &page.end.to_string()),
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
    fake.script(|request, reply| one_after_another(request, reply, written_now));
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
    fake.script(|request, reply| one_after_another(request, reply, change));
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(LENGTH);
}

/// A full page says that more may follow.
#[test]
fn full_pages_are_read_to_the_end_however_new_they_are() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([]);
    fake.script(|request, reply| one_after_another(request, reply, written_now));
    sandbox.sync(&fake, "--page-size 1").code(0);
    sandbox.assert_holds(LENGTH);
}

/// How long a log that always grows is, so that a test ends.
const LENGTH: usize = 300;

/// Pages of one change, whatever was asked for.
fn one_after_another(request: &Request, reply: Reply, change: fn(usize) -> String) -> Reply {
    let at: usize = request.token().map_or(0, |token| token.parse().unwrap());
    if !request.is_page() {
        reply
    } else if at < LENGTH {
        Reply::page(&[change(at)], &(at + 1).to_string())
    } else {
        Reply::page(&[], request.token().unwrap())
    }
}

fn written_now(n: usize) -> String {
    at_time(&change(n), Timestamp::now())
}
