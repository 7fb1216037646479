//! The log as it mostly is: warnings and errors alone, without colours. The registry of `tracing_subscriber`, which knows spans and filters,
//! takes as long to make as a small module takes to load.

use std::fmt::Write;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

/// Writes warnings and errors to standard error, in the form of `tracing_subscriber::fmt`.
pub struct Warnings;

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        super::print_err(&line(event));
    }

    // Spans are never enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn line(event: &Event<'_>) -> String {
    let mut line = String::new();
    // Writing to a string fails only if a value says so; what came before is shown.
    let _ = write!(line, "{:>5} ", event.metadata().level().as_str());
    let _ = DefaultFields::new().format_fields(Writer::new(&mut line), event);
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    /// What the layer of `tracing_subscriber` writes.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Keeps what [`line`] makes.
    struct Lines(Written);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let _ = std::io::Write::write_all(&mut self.0.clone(), line(event).as_bytes());
        }
    }

    #[test]
    fn the_form_is_that_of_the_whole_log() {
        let (whole, ours) = (Written::default(), Written::default());
        let writer = whole.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time();
        let subscriber = tracing_subscriber::registry().with(layer).with(Lines(ours.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(error = "no \"x\"", functions = ?[1, 2], "not compiled");
            tracing::error!(code = 3, kind = %"text", "failed");
            tracing::info!("told");
        });
        let text = |written: &Written| {
            String::from_utf8(written.0.lock().expect("no panic").clone()).expect("UTF-8")
        };
        assert_eq!(text(&ours), text(&whole));
        assert_eq!(text(&ours).lines().count(), 3);
    }
}
