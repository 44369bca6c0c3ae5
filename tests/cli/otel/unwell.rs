//! Collectors that are down, slow or silent, or refuse.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{Ended, Sandbox};

/// The time of a run with a collector that is not well, beyond that of one without.
#[test]
fn a_collector_that_is_not_well_changes_neither_the_code_nor_much_of_the_time() {
    let fake = FakeOpenFga::start(changes(0..3));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/", silent.local_addr().unwrap());
    let slow = Collector::answering(|_| (200, Duration::from_secs(20)));
    let late = Collector::answering(|_| (200, Duration::from_millis(500)));
    let fails = Collector::answering(|_| (503, Duration::ZERO));
    let refuses = Collector::answering(|_| (401, Duration::ZERO));
    let began = Instant::now();
    sandboxed(&fake, "", "--type nobody").code(2);
    let usual = began.elapsed();
    for (url, said) in [
        (
            "http://127.0.0.1:1/s3cret".to_owned(),
            Some("Connection refused"),
        ),
        ("http://nowhere.invalid/".to_owned(), Some("dns error")),
        (silent, Some("it does not answer in time")),
        (slow.url(), Some("it does not answer in time")),
        (fails.url(), Some("it answers 503 Service Unavailable")),
        (refuses.url(), Some("it answers 401 Unauthorized")),
        (late.url(), None),
    ] {
        for (arguments, code) in [("", 0), ("--type nobody", 2)] {
            let began = Instant::now();
            let ended = sandboxed(&fake, &url, arguments).code(code).hides("s3cret");
            // The bound is two seconds; the machine may be busy.
            let took = began.elapsed();
            assert!(took < usual + Duration::from_secs(4), "{took:?}: {ended}");
            let lines: Vec<_> = ended
                .stderr
                .lines()
                .filter(|line| line.contains("OpenTelemetry"))
                .collect();
            match said {
                None => assert_eq!(lines.len(), 0, "{ended}"),
                Some(said) => {
                    assert_eq!(lines.len(), 1, "{ended}");
                    assert!(
                        lines[0].contains("WARN") && lines[0].contains(said),
                        "{ended}"
                    );
                }
            }
        }
    }
}

fn sandboxed(fake: &FakeOpenFga, endpoint: &str, arguments: &str) -> Ended {
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
    let arguments = format!("--target sqlite:x.db {arguments}");
    Sandbox::new().sync_with_env(fake, &env, &arguments)
}
