//! Those who watch over a command from outside, and are told how far it is and how it ended. What goes wrong with that is logged: it never
//! changes the exit code.

use std::path::PathBuf;

use super::ended::Ended;
use super::listen::{ListenAddress, Listening};
use super::otel::Otel;
use super::ping::Ping;
use super::under_way::UnderWay;
use super::web::ServiceUrl;
use super::{metrics_file, pushgateway, termination};

/// Who watches over commands.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// For the textfile collector of Prometheus' node exporter.
    pub metrics_file: Option<PathBuf>,
    /// For Prometheus, which scrapes it.
    pub pushgateway: Option<ServiceUrl>,
    /// For a service such as healthchecks.io.
    pub ping_url: Option<ServiceUrl>,
    /// For Kubernetes. It is written only where it exists.
    pub termination_log: Option<PathBuf>,
    /// Where whoever asks is told how far it is.
    pub listen: Option<ListenAddress>,
}

impl TelemetrySettings {
    /// Nobody watches: what was only tried is no news.
    pub const fn nobody() -> Self {
        Self {
            metrics_file: None,
            pushgateway: None,
            ping_url: None,
            termination_log: None,
            listen: None,
        }
    }
}

/// Who watches over a command that has begun.
pub struct Watchers<'a> {
    settings: TelemetrySettings,
    ping: Option<Ping>,
    otel: Option<&'a Otel>,
    meanwhile: Option<UnderWay>,
    _listening: Option<Listening>,
}

impl<'a> Watchers<'a> {
    /// Tells them that it begins, and listens until it is dropped.
    pub fn begin(settings: TelemetrySettings, otel: Option<&'a Otel>) -> Self {
        let ping = settings.ping_url.as_ref().map(Ping::begin).transpose();
        let ping = ping.unwrap_or_else(|error| {
            tracing::warn!("can't tell the ping URL that the command begins: {error}");
            None
        });
        let durations = otel.and_then(Otel::durations);
        let is_asked = settings.listen.is_some() || durations.is_some();
        let meanwhile = is_asked.then(|| UnderWay::new(durations));
        if let (Some(otel), Some(meanwhile)) = (otel, &meanwhile) {
            otel.watch(meanwhile);
        }
        let address = settings.listen.as_ref().zip(meanwhile.clone());
        let listening = address.and_then(|(address, meanwhile)| {
            let listening = Listening::begin(address, meanwhile);
            let warn = |error: &std::io::Error| {
                tracing::warn!("can't serve /metrics, /healthz and /readyz at {address}: {error}: name another --listen");
            };
            listening.inspect_err(warn).ok()
        });
        Self {
            settings,
            ping,
            otel,
            meanwhile,
            _listening: listening,
        }
    }

    /// Who wants to know meanwhile how far it is, if somebody may ask.
    pub const fn meanwhile(&self) -> Option<&UnderWay> {
        self.meanwhile.as_ref()
    }

    /// Tells them how it ended.
    pub fn tell(&mut self, ended: &dyn Ended) {
        if let Some(otel) = self.otel {
            otel.measured(ended.of_itself());
        }
        if let Some(path) = &self.settings.metrics_file
            && let Err(error) = metrics_file::write(path, ended)
        {
            let path = path.display();
            tracing::warn!("can't write the metrics into {path}: {error}");
        }
        if let Some(url) = &self.settings.pushgateway
            && let Err(error) = pushgateway::push(url, ended)
        {
            tracing::warn!("can't push the metrics to the Pushgateway: {error:#}");
        }
        let text = ended.short();
        if let Some(path) = &self.settings.termination_log
            && let Err(error) = termination::write(path, &text)
        {
            // By default, nobody has asked for it.
            let path = path.display();
            tracing::debug!("can't write how the command ended into {path}: {error}");
        }
        if let Some(ping) = self.ping.take() {
            ping.end(ended.exit_code(), &text);
        }
    }
}
