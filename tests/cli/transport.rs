//! How requests travel: never in the clear unasked, compressed, through proxies, over one connection.

use std::io::Write;
use std::net::SocketAddr;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::certificates::{Authority, Validity};
use crate::fake_openfga::{FakeOpenFga, Reply, STORE, changes};
use crate::forward_proxy::ForwardProxy;
use crate::sandbox::{Ended, Sandbox};
use crate::tls_proxy::TlsProxy;

fn address(fake: &FakeOpenFga) -> SocketAddr {
    fake.url().trim_start_matches("http://").parse().unwrap()
}

/// `run` from a source, with an environment.
fn run(sandbox: &Sandbox, source: &str, env: &[(&str, &str)], more: &[&str]) -> Ended {
    let mut command = sandbox.command();
    command
        .args(["run", "--source", source, "--store-id", STORE])
        .args(more)
        .envs(env.iter().copied());
    Ended::of(&mut command)
}

#[test]
fn nothing_is_sent_in_the_clear_unless_asked_for() {
    let sandbox = Sandbox::new();
    for source in ["http://openfga.test:8080", "http://192.0.2.1"] {
        run(&sandbox, source, &[("FGA_API_TOKEN", "s3cret")], &[])
            .code(2)
            .says(&["in the clear", "--allow-http", "FGA_SYNC_ALLOW_HTTP"])
            .hides("s3cret");
    }
    let fake = FakeOpenFga::start(changes(0..3));
    let proxy = ForwardProxy::start(address(&fake));
    let through = format!("http://127.0.0.1:{}", proxy.port());
    let source = "http://openfga.test:8080";
    run(
        &sandbox,
        source,
        &[("HTTP_PROXY", &through)],
        &["--allow-http"],
    )
    .code(0);
    let env = [
        ("http_proxy", through.as_str()),
        ("FGA_SYNC_ALLOW_HTTP", "true"),
    ];
    run(&sandbox, source, &env, &[]).code(0);
    sandbox.write("allow.toml", "[source]\nallow_http = true\n");
    let env = [("HTTP_PROXY", through.as_str())];
    run(&sandbox, source, &env, &["--config", "allow.toml"]).code(0);
    sandbox.assert_holds(3);
}

#[test]
fn a_source_without_a_scheme_is_https_unless_it_is_this_machine() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let local = address(&fake);
    run(&sandbox, &local.to_string(), &[], &[]).code(0);
    run(
        &sandbox,
        &format!("localhost:{}", local.port()),
        &[],
        &["--target", "sqlite:b.db"],
    )
    .code(0);
    sandbox.assert_holds(3);
    let authority = Authority::new(sandbox.path(), "ca").unwrap();
    let certified = authority.server(&["api.example.test"], Validity::Now);
    let gateway = TlsProxy::start(local, &certified.unwrap(), None).unwrap();
    let proxy = ForwardProxy::start(SocketAddr::from(([127, 0, 0, 1], gateway.port())));
    let through = format!("http://127.0.0.1:{}", proxy.port());
    let ca = authority.file.to_str().unwrap();
    let more = ["--tls-ca", ca, "--target", "sqlite:c.db"];
    run(
        &sandbox,
        "api.example.test",
        &[("HTTPS_PROXY", &through)],
        &more,
    )
    .code(0);
    assert!(proxy.heads()[0].starts_with("CONNECT api.example.test:443 "));
}

#[test]
fn the_name_of_a_file_is_not_taken_for_a_host() {
    let sandbox = Sandbox::new();
    sandbox.write("pages.jsonl", "");
    run(&sandbox, "pages.jsonl", &[], &[])
        .code(2)
        .says(&["\"pages.jsonl\" is the name of a file", "file:pages.jsonl"]);
}

#[test]
fn proxies_are_those_of_the_environment() {
    let sandbox = Sandbox::new();
    let authority = Authority::new(sandbox.path(), "ca").unwrap();
    let certified = authority.server(&["api.example.test", "localhost"], Validity::Now);
    let fake = FakeOpenFga::start(changes(0..3));
    let gateway = TlsProxy::start(address(&fake), &certified.unwrap(), None).unwrap();
    let proxy = ForwardProxy::start(SocketAddr::from(([127, 0, 0, 1], gateway.port())));
    let through = format!("http://clerk:proxy-s3cret@127.0.0.1:{}", proxy.port());
    let ca = authority.file.to_str().unwrap();
    let trusting = ["--tls-ca", ca, "--log-level", "trace"];

    run(
        &sandbox,
        "https://api.example.test",
        &[("HTTPS_PROXY", &through)],
        &trusting,
    )
    .code(0)
    .hides("proxy-s3cret");
    sandbox.assert_holds(3);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with("CONNECT api.example.test:443 "));
    assert!(
        heads[0]
            .to_lowercase()
            .contains("proxy-authorization: basic ")
    );

    // Those left out are reached directly, and this one is nowhere.
    let env = [
        ("HTTPS_PROXY", through.as_str()),
        ("NO_PROXY", "example.test"),
    ];
    run(&sandbox, "https://api.example.test", &env, &trusting).code(4);
    assert_eq!(proxy.heads().len(), 1);

    // A proxy that is not there.
    let dead = "http://clerk:proxy-s3cret@127.0.0.1:1";
    run(
        &sandbox,
        "https://api.example.test",
        &[("ALL_PROXY", dead)],
        &trusting,
    )
    .code(4)
    .says(&["api.example.test", "refused"])
    .hides("proxy-s3cret");
}

/// In the clear it would tell another machine the token.
#[test]
fn what_stays_on_this_machine_goes_by_no_proxy() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let proxy = ForwardProxy::start(address(&fake));
    let through = format!("http://127.0.0.1:{}", proxy.port());
    let env = [
        ("HTTP_PROXY", through.as_str()),
        ("ALL_PROXY", &through),
        ("FGA_API_TOKEN", "s3cret"),
    ];
    run(&sandbox, &fake.url(), &env, &[]).code(0);
    sandbox.assert_holds(3);
    assert_eq!(proxy.heads(), Vec::<String>::new());
}

#[test]
fn a_proxy_that_wants_a_password_is_told_from_a_server_that_does() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], |_, _| Reply::new(407, "<html>who are you?</html>"));
    let proxy = ForwardProxy::start(address(&fake));
    let through = format!("http://127.0.0.1:{}", proxy.port());
    let source = "http://openfga.test:8080";
    let env = [("HTTP_PROXY", through.as_str())];
    run(&sandbox, source, &env, &["--allow-http"])
        .code(6)
        .says(&["407", "the proxy's user and password"]);
}

/// Whoever passes a request on can answer it, too.
#[test]
fn what_a_proxy_was_told_is_not_said_where_it_is_repeated() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], |request, _| {
        let told = &request.headers["proxy-authorization"];
        Reply::error(
            407,
            "refused",
            &format!("{told}, clerk:@s3cret or %40s3cret"),
        )
    });
    let proxy = ForwardProxy::start(address(&fake));
    let through = format!("clerk:%40s3cret@127.0.0.1:{}", proxy.port());
    for name in ["HTTP_PROXY", "all_proxy"] {
        for scheme in ["", "http://"] {
            let env = [(name, &*format!("{scheme}{through}"))];
            run(
                &sandbox,
                "http://openfga.test:8080",
                &env,
                &["--allow-http"],
            )
            .code(6)
            .says(&["refused: Basic ***, *** or ***"])
            .hides("s3cret");
        }
    }
}

#[test]
fn one_connection_is_kept_for_all_pages() {
    let sandbox = Sandbox::new();
    let authority = Authority::new(sandbox.path(), "ca").unwrap();
    let certified = authority.server(&["localhost"], Validity::Now).unwrap();
    let fake = FakeOpenFga::start(changes(0..60));
    let gateway = TlsProxy::start(address(&fake), &certified, None).unwrap();
    let source = format!("https://localhost:{}", gateway.port());
    let ca = authority.file.to_str().unwrap();
    run(
        &sandbox,
        &source,
        &[],
        &["--tls-ca", ca, "--page-size", "2"],
    )
    .code(0);
    sandbox.assert_holds(60);
    assert!(fake.requests().len() > 30);
    assert_eq!(gateway.accepted(), 1);
}

#[test]
fn compressed_answers_are_read() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| {
        assert!(request.headers["accept-encoding"].contains("gzip"));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(reply.body.as_bytes()).unwrap();
        reply
            .with_bytes(encoder.finish().unwrap())
            .with_header("content-encoding", "gzip")
    });
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(3);
}

#[test]
fn authorities_are_looked_up_only_where_they_are_needed() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    // As in an image that holds nothing but the program.
    let scratch = [
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    run(&sandbox, &fake.url(), &scratch, &[]).code(0);
    sandbox.assert_holds(3);
    let authority = Authority::new(sandbox.path(), "ca").unwrap();
    let certified = authority.server(&["localhost"], Validity::Now).unwrap();
    let gateway = TlsProxy::start(address(&fake), &certified, None).unwrap();
    let source = format!("https://localhost:{}", gateway.port());
    run(&sandbox, &source, &scratch, &[]).code(4).says(&[
        "no certificate authorities are installed",
        "--tls-ca",
        "SSL_CERT_FILE",
    ]);
    let ca = authority.file.to_str().unwrap();
    let more = ["--tls-ca", ca, "--target", "sqlite:b.db"];
    run(&sandbox, &source, &scratch, &more).code(0);
}
