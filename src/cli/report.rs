//! `updraft report`.

use super::record::leads_to;
use super::{fail, print_out};
use std::fs::File;
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
    if std::fs::metadata(&output).is_ok_and(|about| leads_to(&args.file, &about)) {
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

/// Writes a page.
pub fn write(path: &Path, page: &str) -> Result<(), String> {
    std::fs::write(path, page)
        .map_err(|error| format!("cannot write the report {}: {error}", path.display()))
}
