//! A page about a run, made of its trace: one HTML file that needs nothing else.

mod model;

use super::page::page;
use serde_json::Value;
use std::io::{self, Read};

/// Why a file gives no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not JSON.
    #[error("is not a trace: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON, but not what `--trace` writes.
    #[error("is not a trace as `updraft run --trace` writes it: {0}")]
    Format(&'static str),
}

/// Makes a page of a trace, as [`crate::TraceRecorder::write_chrome`] writes it.
///
/// # Errors
/// If it cannot be read, or is something else.
pub fn report(trace: impl Read) -> Result<String, ReportError> {
    let trace = serde_json::from_reader(io::BufReader::new(trace));
    let trace: Value = trace.map_err(|error: serde_json::Error| match error.is_io() {
        true => ReportError::Io(error.into()),
        false => ReportError::Json(error),
    })?;
    let model = model::Model::new(&trace)?;
    let title = format!("{} - Updraft", model.program);
    Ok(page(&title, include_str!("page.html"), &model, include_str!("script.js"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let evil = "</script><script>alert(1)</script><!--";
        let trace = serde_json::json!({
            "otherData": {"producer": "updraft 0", "program": evil, "strategy": "tiered", "exit_code": 0},
            "traceEvents": [
                {"ph": "i", "s": "t", "pid": 1, "tid": 1, "ts": 5.0, "name": "publish",
                 "args": {"func": 1, "name": evil, "tier": "full", "bytes": 10}}
            ]
        });
        let page = report(trace.to_string().as_bytes()).expect("it is a trace");
        assert_eq!(page.matches("</script>").count(), 2, "the page's own");
        assert!(!page.contains("<!--"));
        assert!(page.contains("\\u003c/script>"));
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        for text in ["", "{", "[]", "{}", r#"{"traceEvents": 1}"#, r#"{"traceEvents": []}"#] {
            assert!(report(text.as_bytes()).is_err(), "{text:?}");
        }
        for event in ["1", "null", r#"{"ph": 1}"#, r#"{"ph": "X", "tid": -1, "ts": "a"}"#] {
            let text = format!(
                r#"{{"otherData": {{"producer": "updraft 0"}}, "traceEvents": [{event}]}}"#
            );
            assert!(report(text.as_bytes()).is_ok(), "strange events are passed over: {text}");
        }
    }
}
