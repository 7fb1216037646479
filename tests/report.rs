//! `updraft report` and `--report`: one page that a browser shows without complaint.

// Two of the tests want compiled code in the picture.
#![cfg(feature = "llvm")]

mod common;
use common::{Updraft, repository, temporary, tier};
use std::path::Path;
use std::process::Command;

/// A page about a real run.
fn page(strategy: &str, folder: &Path) -> std::path::PathBuf {
    let page = folder.join("page.html");
    let program = repository("examples/threads/mergesort.wasm");
    let ended = Updraft::run(&tier(strategy, 0))
        .arg("--report")
        .arg(&page)
        .arg(program)
        .args(["300000", "2"])
        .end();
    assert_eq!(ended.code(), 0, "{ended}");
    page
}

/// Runs Debian's browser without a window, as a user's browser with a profile of its own. Returns what it prints and its log.
fn browser(folder: &Path, args: &[&str], page: &Path) -> (String, String) {
    let profile = tempfile::tempdir_in(folder).unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(args)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium is installed (scripts/setup --tests)");
    assert!(output.status.success(), "{output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn a_browser_draws_the_page_without_errors() {
    let folder = tempfile::tempdir().unwrap();
    let page = page("quick", folder.path());
    let (dom, log) = browser(folder.path(), &["--dump-dom"], &page);
    assert!(!log.contains("CONSOLE"), "{log}");
    assert!(dom.contains("data-drawn=\"yes\""), "the script ran to its end: {log}");
    for text in ["main thread", "thread 1", "compile thread 1", "entries into running loops"] {
        assert!(dom.contains(text), "{text} is missing");
    }
    let charts = dom.matches("<svg").count();
    assert!(charts >= 7, "a time line, shares, warm-up and four counters, but {charts}");
    assert!(dom.contains(">sort</td>"), "the table lists the functions");
    // `_start` was called once, in quick code.
    assert!(dom.contains("title=\"quick 1\">1</span>"), "the table shows calls by tier");
}

/// The colours of all pixels of a screenshot, by how often they occur.
fn colours(file: &Path) -> std::collections::HashMap<[u8; 3], u32> {
    let file = std::io::BufReader::new(std::fs::File::open(file).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let size = info.color_type.samples();
    assert!(size >= 3 && info.bit_depth == png::BitDepth::Eight, "{info:?}");
    let mut colours = std::collections::HashMap::new();
    for pixel in pixels[..info.buffer_size()].chunks_exact(size) {
        *colours.entry([pixel[0], pixel[1], pixel[2]]).or_default() += 1;
    }
    colours
}

#[test]
fn a_screenshot_shows_the_tiers_in_their_colours() {
    let folder = tempfile::tempdir().unwrap();
    let page = page("quick", folder.path());
    for size in ["1200,2000", "400,2400"] {
        let shot = folder.path().join("shot.png");
        let arg = format!("--screenshot={}", shot.display());
        browser(folder.path(), &[&arg, &format!("--window-size={size}")], &page);
        let colours = colours(&shot);
        // Those of the light scheme in style.css: background, quick code, waiting.
        for colour in [[0xff, 0xff, 0xff], [0xd8, 0xb2, 0x1f], [0xb9, 0xc2, 0xcc]] {
            let count = colours.get(&colour).copied().unwrap_or(0);
            assert!(count > 300, "{colour:?} covers {count} pixels at {size}");
        }
    }
}

#[test]
fn a_trace_gives_the_same_page_as_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let [trace, direct] = ["run.trace", "direct.html"].map(|name| folder.path().join(name));
    let program = repository("examples/threads/hello.wasm");
    let ended = Updraft::run("tiered")
        .args(["--trace".as_ref(), trace.as_os_str(), "--report".as_ref(), direct.as_os_str()])
        .arg(program)
        .end();
    assert_eq!(ended.code(), 0, "{ended}");
    // The name is the trace's, if there is no other.
    let ended = Updraft::new(["report".as_ref(), trace.as_os_str()]).end();
    assert_eq!(ended.code(), 0, "{ended}");
    let made = trace.with_extension("html");
    assert_eq!(ended.text().trim(), made.display().to_string());
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(&made), read(&direct));
    let page = read(&made).replace("http://www.w3.org/2000/svg", "");
    assert!(!page.contains("http:") && !page.contains("https:"), "nothing is fetched");
}

#[test]
fn what_is_no_trace_is_refused() {
    let cases =
        [("", "is not a trace"), ("{}", "no list traceEvents"), ("\u{0}asm", "is not a trace")];
    for (text, wanted) in cases {
        let file = temporary(".trace", text);
        let ended = Updraft::new(["report".as_ref(), file.as_os_str()]).end();
        assert_eq!(ended.code(), 1, "{ended}");
        assert!(ended.stderr.contains(wanted), "{ended}");
        assert!(!file.with_extension("html").exists());
    }
    let ended = Updraft::new(["report", "/nonexistent.trace"]).end();
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("cannot read /nonexistent.trace"), "{ended}");
}

#[test]
fn a_trace_is_not_replaced_by_its_report() {
    let file = temporary(".html", "a trace");
    let ended = Updraft::new(["report".as_ref(), file.as_os_str()]).end();
    assert_eq!(ended.code(), 1, "{ended}");
    assert_eq!(std::fs::read_to_string(&*file).expect("it is there"), "a trace");
    let ended = Updraft::new(["report", "/", "-o", "/dev/null"]).end();
    assert!(ended.code() == 1 && ended.stderr.contains("/ cannot be read"), "{ended}");
}

#[test]
fn a_browser_draws_the_page_of_a_benchmark() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("bench.html");
    let kernel = common::wat_file(
        r#"(module (func (export "spin") (param i32) (result i32)
            (loop $next (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get 0)))"#,
    );
    let ended =
        Updraft::new(["bench", "--tiers", "interp,quick", "--runs", "2", "--invoke", "spin"])
            .args(["--iterations", "30", "--format", "html", "--output"])
            .arg(&page)
            .arg(&kernel)
            .arg("5000")
            .end();
    assert_eq!(ended.code(), 0, "{ended}");
    let (dom, log) = browser(folder.path(), &["--dump-dom"], &page);
    assert!(!log.contains("CONSOLE"), "{log}");
    assert!(dom.contains("data-drawn=\"yes\""), "the script ran to its end: {log}");
    assert_eq!(dom.matches("<svg").count(), 2, "wall times and warm-up curves");
    assert!(dom.contains("Steady states") && dom.contains("<td>quick</td>"));
}

#[test]
fn a_browser_draws_the_page_of_a_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let ended = Updraft::new(["compare", "--short", "--runs", "1", "--longest", "0.01"])
        .args(["--parts", "startup,envelope", "--only", "updraft interp,updraft full", "--suite"])
        .arg(repository(""))
        .arg("--output")
        .arg(folder.path())
        .end();
    assert_eq!(ended.code(), 0, "{ended}");
    let page = folder.path().join("compare.html");
    let (dom, log) = browser(folder.path(), &["--dump-dom"], &page);
    assert!(!log.contains("CONSOLE"), "{log}");
    assert!(dom.contains("data-drawn=\"yes\""), "the script ran to its end: {log}");
    assert_eq!(dom.matches("<svg").count(), 3, "start-up twice, and a program by run length");
    assert!(dom.contains(">script 10 ms</td>") && dom.contains(">not measured</td>"));
    for size in ["1200,2600", "400,3000"] {
        let shot = folder.path().join("shot.png");
        let arg = format!("--screenshot={}", shot.display());
        browser(folder.path(), &[&arg, &format!("--window-size={size}")], &page);
        // Those of the light scheme: background, full code, interpreter.
        for colour in [[0xff, 0xff, 0xff], [0x2f, 0x8f, 0x5b], [0xe0, 0x80, 0x3a]] {
            let count = colours(&shot).get(&colour).copied().unwrap_or(0);
            assert!(count > 100, "{colour:?} covers {count} pixels at {size}");
        }
    }
}
