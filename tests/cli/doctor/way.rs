//! Where the way to the source ends.

use std::net::SocketAddr;

use super::Told;
use super::broken::{Broken, case, each_is_named, fake, speaker};
use super::set_up::SetUp;
use crate::certificates::{Authority, Validity};
use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::forward_proxy::ForwardProxy;
use crate::sandbox::Sandbox;
use crate::tls_proxy::TlsProxy;

fn address(fake: &FakeOpenFga) -> SocketAddr {
    fake.url().trim_start_matches("http://").parse().unwrap()
}

/// A gateway before a fake, whose certificate is for these hosts and so long.
fn gateway_of(
    sandbox: &Sandbox,
    fake: &FakeOpenFga,
    hosts: &[&str],
    validity: Validity,
) -> TlsProxy {
    let authority = Authority::new(sandbox.path(), "ca").unwrap();
    let certified = authority.server(hosts, validity).unwrap();
    TlsProxy::start(address(fake), &certified, None).unwrap()
}

/// A source by way of such a gateway.
fn gateway(sandbox: &Sandbox, hosts: &[&str], validity: Validity) -> SetUp {
    let fake = fake();
    let gateway = gateway_of(sandbox, &fake, hosts, validity);
    SetUp::from(&format!("https://localhost:{}", gateway.port()))
        .keeping(fake)
        .keeping(gateway)
}

fn trusting(set_up: SetUp) -> SetUp {
    set_up.given("--tls-ca ca.pem")
}

const WAY: &[Broken] = &[
    case(
        "a host without a name",
        "dns",
        4,
        &["no-such-host.invalid", "--source"],
        |_| SetUp::from("https://no-such-host.invalid"),
    ),
    case(
        "a proxy without a name",
        "dns",
        4,
        &["no-such-proxy.invalid", "HTTPS_PROXY"],
        |_| {
            SetUp::from("https://fga.example.com")
                .env("HTTPS_PROXY", "http://u:hidden@no-such-proxy.invalid:3128")
        },
    ),
    case(
        "a port that is closed",
        "connect",
        4,
        &["127.0.0.1:1", "refused"],
        |_| SetUp::from("http://127.0.0.1:1"),
    ),
    case(
        "an authority that is unknown",
        "tls",
        4,
        &["unknown certificate authority", "--tls-ca"],
        |sandbox| gateway(sandbox, &["localhost"], Validity::Now),
    ),
    case(
        "a certificate that expired",
        "tls",
        4,
        &["expired at 2021-01-01", "renew"],
        |sandbox| trusting(gateway(sandbox, &["localhost"], Validity::Expired)),
    ),
    case(
        "a certificate of tomorrow",
        "tls",
        4,
        &["not yet valid", "clock"],
        |sandbox| trusting(gateway(sandbox, &["localhost"], Validity::NotYet)),
    ),
    case(
        "another host's certificate",
        "tls",
        4,
        &["wrong host name", "other.test"],
        |sandbox| trusting(gateway(sandbox, &["other.test"], Validity::Now)),
    ),
    case(
        "no TLS where it is wanted",
        "tls",
        4,
        &["does not speak TLS"],
        |_| {
            let port = speaker(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            SetUp::from(&format!("https://127.0.0.1:{port}"))
        },
    ),
    case(
        "a server that is silent",
        "tls",
        4,
        &["no answer within 5s"],
        |_| SetUp::from(&format!("https://127.0.0.1:{}", speaker(b""))),
    ),
    case(
        "an authority's file without one",
        "tls",
        2,
        &["ca.txt", "no certificate"],
        |sandbox| {
            sandbox.write("ca.txt", "none");
            gateway(sandbox, &["localhost"], Validity::Now).given("--tls-ca ca.txt")
        },
    ),
    case(
        "a certificate that is about to expire",
        "tls",
        0,
        &["valid until 20", "issued by CN=ca", "renew"],
        |sandbox| trusting(gateway(sandbox, &["localhost"], Validity::For(86_400))),
    ),
    case(
        "tuples in the clear",
        "tls",
        0,
        &["in the clear", "https://"],
        |_| {
            let fake = fake();
            // To all interfaces, and so to this one too.
            let everywhere = fake.url().replace("127.0.0.1", "0.0.0.0");
            SetUp::from(&everywhere).given("--allow-http").keeping(fake)
        },
    ),
];

#[test]
fn where_the_way_to_the_source_ends_is_named() {
    each_is_named(WAY);
}

#[test]
fn a_certificate_that_is_trusted_is_told_with_its_issuer() {
    let sandbox = Sandbox::new();
    let set_up = trusting(gateway(&sandbox, &["localhost"], Validity::Now));
    set_up.run(&sandbox, "").code(0).says_on_stdout(&[
        "pass      tls              issued by CN=ca, valid until 4096-01-01T00:00:00Z\n",
    ]);
}

#[test]
fn a_proxy_is_told_and_the_way_ends_there() {
    let sandbox = Sandbox::new();
    let fake = fake();
    let proxy = ForwardProxy::start(address(&fake));
    let through = format!("http://u:hidden@127.0.0.1:{}", proxy.port());
    let set_up = SetUp::from("http://openfga.test:8080")
        .given("--allow-http")
        .env("HTTP_PROXY", &through);
    let ended = set_up.run(&sandbox, "").code(0).hides("hidden");
    let place = format!("the proxy 127.0.0.1:{}: 127.0.0.1", proxy.port());
    let ended = ended.says_on_stdout(&[
        &format!("pass      dns              {place}\n"),
        &format!("pass      connect          {place}"),
        "warning   tls ",
    ]);
    assert!(!proxy.heads().is_empty(), "{ended}");
    // Who is not to be reached by it is reached without.
    SetUp::with(&fake)
        .env("HTTP_PROXY", &through)
        .run(&sandbox, "")
        .code(0)
        .says_on_stdout(&["pass      dns              127.0.0.1\n"]);
}

/// At its other end, too.
#[test]
fn the_certificate_of_a_store_that_is_copied_to_is_told() {
    for (validity, verdict) in [(Validity::Now, "pass"), (Validity::For(86_400), "warning")] {
        let sandbox = Sandbox::new();
        let source = fake();
        let target = FakeOpenFga::start(changes(0..0));
        // By its time it is another.
        target.replace_store(Some("2026-02-02T00:00:00Z"));
        let gateway = gateway_of(&sandbox, &target, &["localhost"], validity);
        let to = format!("openfga+https://localhost:{}?store={STORE}", gateway.port());
        let set_up = SetUp::with(&source)
            .given("--mode stateful --state sqlite:state.db --target-tls-ca ca.pem --target")
            .given(&to);
        let told = Told::of(&set_up.run(&sandbox, "--format json").code(0));
        assert!(told.names(verdict).contains(&"target-store"));
        let said = told.says("target-store");
        assert!(
            said.contains("its certificate is issued by CN=ca, valid until "),
            "{said}"
        );
    }
}
