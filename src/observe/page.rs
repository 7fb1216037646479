//! Pages (HTML) that need nothing else: a body, data, and a script that draws them.

use serde::Serialize;

/// A page. `data` comes as JSON in the element with the id `data`; `body` and `script` are ours, and taken as they are.
///
/// # Errors
/// If the data cannot be written as JSON.
pub fn page(
    title: &str,
    body: &str,
    data: &impl Serialize,
    script: &str,
) -> Result<String, serde_json::Error> {
    // Within a script element, nothing may look like its end.
    let data = serde_json::to_string(data)?.replace('<', "\\u003c");
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let parts = [
        ("@TITLE@", title.as_str()),
        ("@STYLE@", include_str!("style.css")),
        ("@BODY@", body),
        ("@DATA@", &data),
        ("@SCRIPT@", script),
    ];
    let mut page = String::with_capacity(data.len() + (64 << 10));
    let mut rest = include_str!("page.html");
    for (place, part) in parts {
        let (before, after) = rest.split_once(place).expect("the page has a place for each part");
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}
