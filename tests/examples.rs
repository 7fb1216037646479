//! The embedding examples run, and their assertions hold.

#[path = "../examples/embed.rs"]
mod embed;
#[path = "../examples/threads_host.rs"]
mod threads_host;

#[test]
fn embed_runs() {
    embed::main().unwrap();
}

#[test]
fn threads_host_runs() {
    threads_host::main().unwrap();
}
