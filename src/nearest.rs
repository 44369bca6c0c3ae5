//! What somebody may have meant.

/// The nearest of the known names, where one is near enough to have been meant.
pub(crate) fn nearest<N: AsRef<str>>(
    name: &str,
    known: impl IntoIterator<Item = N>,
) -> Option<String> {
    /// As likely a slip as not.
    const NEAR: f64 = 0.8;
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known.as_ref()), known))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known.as_ref().to_owned())
}
