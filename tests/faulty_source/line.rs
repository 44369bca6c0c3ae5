//! Faults of the line between: connections that are refused, dropped or slow.

use std::thread::sleep;
use std::time::Duration;

use super::case::{Case, PLACES, Times};
use crate::fake_openfga::{FakeOpenFga, Line};
use crate::sandbox::wait_until;

const AWAY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(700);
const FOREVER: Duration = Duration::from_secs(3_600);

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("connections refused, from the start on")
            .meanwhile(FakeOpenFga::refuse)
            .everywhere(|_, reply| reply.after(PAUSE))
            .fails(4, &["refused", "--source names its host and port"]),
        Case::new("connections refused for a second")
            .meanwhile(|fake| {
                fake.refuse();
                sleep(AWAY);
                fake.listen();
            })
            .everywhere(|_, reply| reply.after(PAUSE)),
        Case::new("connections refused for a second between pages")
            .meanwhile(|fake| {
                wait_until("a page is read", || fake.page_requests().len() > 1);
                fake.refuse();
                sleep(AWAY);
                fake.listen();
            })
            .everywhere(|_, reply| reply.after(PAUSE)),
    ];
    for place in PLACES {
        for line in [
            Line::DropBeforeHeaders,
            Line::DropInHeaders,
            Line::DropInBody,
        ] {
            let name = format!("{line:?}");
            let drop = move |_: &_, reply: crate::fake_openfga::Reply| reply.over(line);
            cases.push(Case::new(&name).strikes(place, Times::Once, drop));
            cases.push(
                Case::new(&name)
                    .strikes(place, Times::Always, drop)
                    .fails(4, &["can't read http://", "check that the server runs"]),
            );
        }
        for (name, slow) in [
            ("slow headers", Line::PauseInHeaders as fn(Duration) -> Line),
            ("slow body", Line::PauseInBody),
        ] {
            let pause = move |pause| {
                move |_: &_, reply: crate::fake_openfga::Reply| reply.over(slow(pause))
            };
            cases.push(Case::new(name).strikes(place, Times::Always, pause(PAUSE)));
            let forever = Case::new(format!("{name} without end"))
                .strikes(place, Times::Always, pause(FOREVER))
                .with_arguments("--max-duration 2s");
            cases.push(forever.fails(3, &[]).within(Duration::from_secs(10)));
        }
    }
    cases
}
