//! Set-ups that are broken in one place each, and what is told of them.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use super::Told;
use super::set_up::SetUp;
use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::Sandbox;
use crate::token_endpoint::SECRET;

/// A set-up with one fault.
pub struct Broken {
    what: &'static str,
    set_up: fn(&Sandbox) -> SetUp,
    /// The one check that fails; or that warns, where the exit code is 0.
    check: &'static str,
    code: i32,
    /// The cause in words, and what to do.
    says: &'static [&'static str],
}

pub const fn case(
    what: &'static str,
    check: &'static str,
    code: i32,
    says: &'static [&'static str],
    set_up: fn(&Sandbox) -> SetUp,
) -> Broken {
    Broken {
        what,
        set_up,
        check,
        code,
        says,
    }
}

pub fn fake() -> FakeOpenFga {
    FakeOpenFga::start(changes(0..3))
}

/// Says this to whoever connects, whatever he says.
pub fn speaker(says: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Until the test's process ends.
    thread::spawn(move || {
        let mut heard = Vec::new();
        for mut client in listener.incoming().map_while(Result::ok) {
            let _ = client.write_all(says);
            heard.push(client);
        }
    });
    port
}

/// What is wrong with what is told of a set-up.
fn misnamed(broken: &Broken) -> Option<String> {
    let sandbox = Sandbox::new();
    let set_up = (broken.set_up)(&sandbox);
    let ended = set_up.run(&sandbox, "--format json");
    let ended = ended.hides("hidden").hides(SECRET);
    let told = Told::of(&ended);
    let failures: &[&str] = match broken.code {
        0 => &[],
        _ => &[broken.check],
    };
    let said = told.says(broken.check);
    let is_named = ended.code == Some(broken.code)
        && told.names("failure") == failures
        && (broken.code > 0 || told.names("warning").contains(&broken.check))
        && broken.says.iter().all(|text| said.contains(text));
    (!is_named).then(|| format!("{}: {said}\n{ended}\n", broken.what))
}

pub fn each_is_named(cases: &[Broken]) {
    let wrong: Vec<_> = cases.iter().filter_map(misnamed).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
