//! The settings of what is told to those who watch over runs from outside.

use std::path::PathBuf;

use super::api_url::masked_source;
use super::layers::Layers;
use super::setting::{Declaration, Setting, Takes, WithDefault, stars};
use crate::error::Result;
use crate::report::{ListenAddress, ServiceUrl, TelemetrySettings};

const URL_EXPECTED: &str = "a URL that begins with https:// or http://";

static METRICS_FILE: Setting<String> = Setting::text(
    "telemetry.metrics_file",
    "Write what the command did into this file, for node_exporter's textfile collector; its name ends in .prom there",
)
.flag("metrics-file", Takes::File)
.env(&["FGA_SYNC_METRICS_FILE"]);

// It may hold a password.
static PUSHGATEWAY: Setting<ServiceUrl> = Setting::parsed(
    "telemetry.pushgateway",
    "Push what the command did to the Pushgateway at this URL",
    URL_EXPECTED,
    ServiceUrl::parse,
)
.flag("pushgateway", Takes::Value("URL"))
.env(&["FGA_SYNC_PUSHGATEWAY"])
.secret(masked_source);

// Whoever knows the URL can say that all is well.
static PING_URL: Setting<ServiceUrl> = Setting::parsed(
    "telemetry.ping_url",
    "Tell this URL when the command begins and how it ends, as healthchecks.io takes it",
    URL_EXPECTED,
    ServiceUrl::parse,
)
.flag("ping-url", Takes::Value("URL"))
.env(&["FGA_SYNC_PING_URL"])
.secret(stars);

static TERMINATION_LOG: WithDefault<String> = Setting::text(
    "telemetry.termination_log",
    "Write how the command ended into this file where it exists, as Kubernetes makes it",
)
.env(&["FGA_SYNC_TERMINATION_LOG"])
.or("/dev/termination-log");

static LISTEN: Setting<ListenAddress> = Setting::parsed(
    "telemetry.listen",
    "Serve /metrics, /healthz and /readyz here while the command lasts; with :PORT on every interface",
    "an address with a port, such as 127.0.0.1:9464 or :9464",
    ListenAddress::parse,
)
.flag("listen", Takes::Value("ADDRESS"))
.env(&["FGA_SYNC_LISTEN"]);

pub(super) static SETTINGS: &[&Declaration] = &[
    METRICS_FILE.declaration(),
    PUSHGATEWAY.declaration(),
    PING_URL.declaration(),
    TERMINATION_LOG.declaration(),
];

/// Of what tells how far it has come.
pub(super) static OF_RUN: &[&Declaration] = &[LISTEN.declaration()];

/// The settings of telemetry.
pub(super) fn telemetry(layers: &Layers) -> Result<TelemetrySettings> {
    Ok(TelemetrySettings {
        metrics_file: layers.text(&METRICS_FILE)?.map(PathBuf::from),
        pushgateway: layers.get(&PUSHGATEWAY)?,
        ping_url: layers.get(&PING_URL)?,
        termination_log: Some(layers.get_or_default(&TERMINATION_LOG)?.into()),
        listen: layers.get(&LISTEN)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::setting::tests::assert_reads;
    use super::*;

    #[test]
    fn a_ping_goes_to_a_url_of_http() {
        assert_reads(
            &PING_URL,
            &["https://hc.example.com/ping/s3cret", "http://127.0.0.1:1/x"],
            &[
                "",
                "hc.example.com/ping",
                "ftp://hc.example.com/",
                "https://",
            ],
        );
    }
}
