//! How far a long measurement is, for who looks on.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, if that is a terminal.
pub fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}");
    match style {
        Ok(style) => ProgressBar::new(length).with_style(style),
        Err(_) => ProgressBar::hidden(),
    }
}
