//! A Pushgateway keeps what a finished job measured for Prometheus to scrape. Each mirror is a group of its own there (`job`, `instance`),
//! which is replaced as a whole.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use reqwest::Method;

use super::earlier::Earlier;
use super::ended::Ended;
use super::metrics::{Sample, encode};
use super::web::{ServiceUrl, send};

/// Pushes what was measured, with what is known there of earlier commands.
///
/// # Errors
/// What the Pushgateway said last.
pub(super) fn push(url: &ServiceUrl, ended: &dyn Ended) -> anyhow::Result<()> {
    let job = ended.job();
    let known = send(&Method::GET, &url.with(["metrics"]), "")?;
    let earlier = Earlier::pushed(known, job);
    for group in ended
        .samples(&earlier)
        .chunk_by(|one, other| one.mirror == other.mirror)
    {
        push_group(url, job, group)?;
    }
    Ok(())
}

fn push_group(url: &ServiceUrl, job: &str, samples: &[Sample]) -> anyhow::Result<()> {
    let Some(first) = samples.first() else {
        return Ok(());
    };
    let mut url = url.with(["metrics", "job", job]);
    // A slash would end the label, so such a name is encoded, as the Pushgateway wants it.
    url = if first.mirror.contains('/') {
        url.with([
            "instance@base64",
            &BASE64_URL_SAFE.encode(first.mirror.as_bytes()),
        ])
    } else {
        url.with(["instance", first.mirror.as_ref()])
    };
    send(&Method::PUT, &url, &encode(samples, None)?).map(drop)
}
