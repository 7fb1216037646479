//! The `updraft` command.

mod cli;

fn main() -> ! {
    cli::main()
}
