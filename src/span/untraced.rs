//! A program that makes no traces.

use reqwest::header::HeaderMap;
use tracing::Span;

pub(crate) fn handed_on() -> HeaderMap {
    HeaderMap::new()
}

pub(super) const fn adopt(_span: &Span) {}

pub(super) const fn number(_span: &Span, _name: &'static str, _number: i64) {}

pub(super) const fn text(_span: &Span, _name: &'static str, _text: &'static str) {}

pub(super) fn fail(_span: &Span, _kind: &'static str, _text: String) {}

pub(super) const fn end(_span: &Span) {}
