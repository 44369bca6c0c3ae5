//! Limits of the server: how many requests it takes, and when it says to come again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::fake_openfga::{FakeOpenFga, Reply, at_time, change, changes, time_of};
use crate::sandbox::{Sandbox, wait_until};

#[test]
fn max_rps_spaces_requests() {
    let sandbox = Sandbox::new();
    // Twice the same tuple: its state is asked for.
    let again = at_time(&change(0), time_of(3));
    let fake = FakeOpenFga::start(changes(0..3).into_iter().chain([again]));
    sandbox.sync(&fake, "--page-size 1 --max-rps 20").code(0);
    assert_eq!(sandbox.changelog().len(), 4);
    let requests = fake.requests();
    // The store, four changes, a tuple, the end, its proof, and the store again.
    assert_eq!(requests.len(), 9);
    // Between the first and the last lie eight turns of 50 ms; each may be seen a little late.
    let span = requests[8].at - requests[0].at;
    assert!(span >= Duration::from_millis(360), "{span:?}");
}

#[test]
fn waiting_for_its_turn_does_not_make_a_source_slow() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "--page-size 10 --max-rps 0.8").code(0);
    // One with changes, the end, and its proof from a place inside.
    assert_eq!(fake.page_requests().len(), 4);
}

/// As the hosted service does it. That it sends clients away says nothing against its answers.
#[test]
fn a_source_that_limits_its_rate_is_drained() {
    let sandbox = Sandbox::new();
    let window = Duration::from_millis(200);
    let mut began: Option<Instant> = None;
    let mut count = 0;
    let fake = FakeOpenFga::scripted(changes(0..500), move |_, reply| {
        if began.is_none_or(|at| at.elapsed() > window) {
            began = Some(Instant::now());
            count = 0;
        }
        count += 1;
        if count > 3 {
            Reply::error(429, "rate_limit_exceeded", "slow down").with_header("Retry-After", "0.2")
        } else {
            reply
        }
    });
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(500);
    assert!(fake.page_requests().len() < 30);
}

#[test]
fn what_is_said_of_a_wait_that_is_too_long_is_true() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| {
        if request.is_page() {
            Reply::error(429, "rate_limited", "slow down").with_header("Retry-After", "1")
        } else {
            reply
        }
    });
    sandbox
        .sync(&fake, "--retry-for 3s")
        .code(4)
        .says(&["a wait of 1 s, and the time of --retry-for is over by then"]);
}

/// Answers the first request for a page by `reply`, and the others as they should be.
fn once(reply: Reply) -> FakeOpenFga {
    FakeOpenFga::scripted(changes(0..3), move |request, good| {
        if request.is_page() && request.number == 0 {
            reply.clone()
        } else {
            good
        }
    })
}

#[test]
fn a_server_that_names_a_time_to_come_again_is_obeyed() {
    let in_two_seconds = |milliseconds: bool| {
        let time = (SystemTime::now() + Duration::from_secs(2)).duration_since(UNIX_EPOCH);
        let time = time.unwrap();
        if milliseconds {
            time.as_millis().to_string()
        } else {
            (time.as_secs() + 1).to_string()
        }
    };
    let headers = [
        ("Retry-After", "2".to_owned()),
        ("X-RateLimit-Reset", in_two_seconds(false)),
        ("X-Rate-Limit-Reset", in_two_seconds(true)),
    ];
    std::thread::scope(|scope| {
        for (name, value) in headers {
            scope.spawn(move || {
                let sandbox = Sandbox::new();
                let fake =
                    once(Reply::error(429, "rate_limited", "slow down").with_header(name, &value));
                sandbox
                    .sync(&fake, "--page-size 10")
                    .code(0)
                    .says(&["retry_in_ms", "slow down"]);
                let requests = fake.page_requests();
                let waited = requests[1].at - requests[0].at;
                let expected = Duration::from_millis(1_200)..Duration::from_secs(10);
                assert!(expected.contains(&waited), "{name}: {waited:?}");
                sandbox.assert_holds(3);
            });
        }
    });
}

#[test]
fn a_time_to_come_again_is_one_of_the_clock_that_named_it() {
    let ahead = SystemTime::now() + Duration::from_secs(3_600);
    let then = ahead + Duration::from_secs(1);
    let reset = then.duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (name, value) in [
        ("Retry-After", httpdate::fmt_http_date(then)),
        ("X-RateLimit-Reset", reset.to_string()),
    ] {
        let sandbox = Sandbox::new();
        let reply = Reply::error(429, "rate_limited", "slow down")
            .with_header("date", &httpdate::fmt_http_date(ahead));
        let fake = once(reply.with_header(name, &value));
        sandbox.sync(&fake, "--page-size 10").code(0);
        sandbox.assert_holds(3);
    }
}

#[test]
fn a_limit_that_is_not_used_up_asks_for_no_wait() {
    for (left, code) in [("900", 0), ("0", 4)] {
        let sandbox = Sandbox::new();
        // As gateways do it that tell of their limits on every answer.
        let fake = FakeOpenFga::scripted(changes(0..3), move |request, good| {
            let reply = if request.is_page() && request.number == 0 {
                Reply::error(503, "unavailable", "upstream reset")
            } else {
                good
            };
            reply
                .with_header("X-RateLimit-Remaining", left)
                .with_header("X-RateLimit-Reset", "3000")
        });
        sandbox.sync(&fake, "--page-size 10").code(code);
    }
}

#[test]
fn a_server_that_is_overloaded_for_long_is_waited_for_as_long_as_it_says_when_to_come() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, good| {
        if request.is_page() && request.number < 7 {
            Reply::error(429, "rate_limited", "slow down").with_header("Retry-After", "0.1")
        } else {
            good
        }
    });
    sandbox.sync(&fake, "--page-size 10").code(0);
    sandbox.assert_holds(3);
}

#[test]
fn a_wait_beyond_the_patience_ends_the_run_at_once_and_says_when_to_come_again() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(7_200));
    for value in ["7200", date.as_str()] {
        let sandbox = Sandbox::new();
        let fake = once(Reply::new(503, "<html>").with_header("Retry-After", value));
        let started = Instant::now();
        sandbox.sync(&fake, "--page-size 10").code(4).says(&[
            "503",
            "run again after 20",
            "--retry-for",
        ]);
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(fake.page_requests().len(), 1);
    }
}

#[test]
fn retry_for_bounds_how_long_a_request_is_tried() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, good| {
        if request.is_page() {
            Reply::error(429, "rate_limited", "slow down").with_header("Retry-After", "1")
        } else {
            good
        }
    });
    let started = Instant::now();
    sandbox
        .sync(&fake, "--page-size 10 --retry-for 3s")
        .code(4)
        .says(&["slow down"]);
    assert!(
        (2..10).contains(&started.elapsed().as_secs()),
        "{:?}",
        started.elapsed()
    );
    assert!((3..=4).contains(&fake.page_requests().len()));
    // Nor may one answer take longer.
    fake.script(|_, reply| reply.after(Duration::from_secs(30)));
    let started = Instant::now();
    sandbox
        .sync(&fake, "--retry-for 1s")
        .code(4)
        .says(&["timed out"]);
    assert!(started.elapsed() < Duration::from_secs(10));
    sandbox
        .sync(&fake, "--retry-for 0s")
        .code(2)
        .says(&["run.retry_for"]);
}

#[test]
fn a_signal_and_max_duration_are_heard_during_a_long_wait() {
    for at_pages in [false, true] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted(changes(0..3), move |request, good| {
            if request.is_page() == at_pages {
                Reply::error(429, "rate_limited", "slow down").with_header("Retry-After", "250")
            } else {
                good
            }
        });
        let run = sandbox.start(&fake, "--page-size 10");
        wait_until("the run waits", || {
            fake.requests()
                .iter()
                .any(|request| request.is_page() == at_pages)
        });
        std::thread::sleep(Duration::from_millis(300));
        let asked = Instant::now();
        run.signal("TERM");
        run.end().code(143);
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );

        let started = Instant::now();
        sandbox
            .sync(&fake, "--page-size 10 --max-duration 500ms")
            .code(3);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn what_no_time_mends_is_not_tried_again() {
    for status in [400, 402, 404, 405, 409, 410, 422, 501] {
        let sandbox = Sandbox::new();
        let fake = once(Reply::new(status, "no").with_header("Retry-After", "1"));
        sandbox.sync(&fake, "--page-size 10").code(2);
        assert_eq!(fake.page_requests().len(), 1, "{status}");
    }
}
