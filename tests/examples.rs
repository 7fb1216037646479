//! The embedding examples run, and their assertions hold.

#[path = "../examples/blocking.rs"]
mod blocking;
#[path = "../examples/embed.rs"]
mod embed;
#[path = "../examples/exit_reasons.rs"]
mod exit_reasons;
#[path = "../examples/groups.rs"]
mod groups;
#[path = "../examples/limits.rs"]
mod limits;
#[path = "../examples/pause.rs"]
mod pause;
#[path = "../examples/spawn_from_host.rs"]
mod spawn_from_host;
#[path = "../examples/stdio.rs"]
mod stdio;
#[path = "../examples/threads_host.rs"]
mod threads_host;

#[test]
fn blocking_runs() {
    blocking::main().unwrap();
}

#[test]
fn embed_runs() {
    embed::main().unwrap();
}

#[test]
fn exit_reasons_runs() {
    exit_reasons::main().unwrap();
}

#[test]
fn groups_runs() {
    groups::main().unwrap();
}

#[test]
fn limits_runs() {
    limits::main().unwrap();
}

#[test]
fn pause_runs() {
    pause::main().unwrap();
}

#[test]
fn spawn_from_host_runs() {
    spawn_from_host::main().unwrap();
}

#[test]
fn stdio_runs() {
    stdio::main().unwrap();
}

#[test]
fn threads_host_runs() {
    threads_host::main().unwrap();
}

#[test]
fn no_example_is_forgotten() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut found: Vec<String> = std::fs::read_dir(here)
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".rs")?.to_owned())
        })
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "blocking",
            "embed",
            "exit_reasons",
            "groups",
            "limits",
            "pause",
            "spawn_from_host",
            "stdio",
            "threads_host"
        ]
    );
}
