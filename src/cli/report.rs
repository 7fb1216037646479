//! `updraft report`.

use super::{fail, print_out};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A trace that `updraft run --trace` has written
    file: PathBuf,

    /// Where to write the page [default: the trace's name with .html]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn main(args: &Args) -> i32 {
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("html"));
    if same_file(&args.file, &output) {
        return fail(&format!("the report would replace its trace {}", output.display()));
    }
    let file = match File::open(&args.file) {
        Ok(file) => file,
        Err(error) => return fail(&format!("cannot read {}: {error}", args.file.display())),
    };
    let page = match updraft::report(file) {
        Ok(page) => page,
        Err(error) => return fail(&format!("{} {error}", args.file.display())),
    };
    match write(&output, &page) {
        Ok(()) => {
            print_out(&format!("{}\n", output.display()));
            0
        }
        Err(error) => fail(&error),
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    let numbers = |path| std::fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
    numbers(one).is_some_and(|known| numbers(other) == Some(known))
}

/// Writes a page.
pub fn write(path: &Path, page: &str) -> Result<(), String> {
    std::fs::write(path, page)
        .map_err(|error| format!("cannot write the report {}: {error}", path.display()))
}
