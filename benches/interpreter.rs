//! The interpreter alone.
//!
//! Measures: the time of `run(small)` of each kernel, translation left out (a first call comes before). Unit: time per call; less
//! is better. Baseline: wasmi 2 on the same program in the same run, both built with this workspace's release profile.
//!
//! `scripts/compare-kernels` compares the command line programs, on longer runs.

#[path = "support/kernels.rs"]
mod kernels;
#[path = "support/peer.rs"]
mod peer;

use criterion::{Criterion, criterion_group, criterion_main};
use kernels::KERNELS;
use std::hint::black_box;
use std::time::Duration;
use updraft::Strategy;

fn kernels(c: &mut Criterion) {
    let mut group = c.benchmark_group("interpreter");
    group.sample_size(20).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2));
    for kernel in &KERNELS {
        let mut ours = kernel.load(Strategy::Interp);
        let mut theirs = peer::Loaded::new(&kernel.path());
        assert_eq!(ours.run(kernel.small), kernel.expected, "{}", kernel.name);
        assert_eq!(theirs.run(kernel.small), kernel.expected, "{} in wasmi", kernel.name);
        group.bench_function(format!("{}/updraft", kernel.name), |b| {
            b.iter(|| ours.run(black_box(kernel.small)));
        });
        group.bench_function(format!("{}/wasmi", kernel.name), |b| {
            b.iter(|| theirs.run(black_box(kernel.small)));
        });
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
