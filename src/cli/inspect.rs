//! `updraft inspect`.

use super::fail;
use clap::ValueEnum;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use updraft::{Config, Emit, Engine};

#[derive(clap::Args)]
pub struct Args {
    /// The module: a .wasm or .wat file
    file: PathBuf,

    /// Only this function: an index or a name
    #[arg(long, value_name = "N|NAME")]
    func: Option<String>,

    /// What to show
    #[arg(long, value_name = "WHAT", default_value = "bytecode")]
    emit: Form,

    /// exact or relaxed, as for `updraft run`
    #[arg(long, value_name = "MODE", default_value = "exact", value_parser = ["exact", "relaxed"])]
    traps: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// The interpreter's instructions
    Bytecode,
    /// LLVM IR, as translated for the full tier
    Llvm,
    /// LLVM IR after the passes of the full tier
    LlvmOpt,
    /// Machine code of the full tier
    Asm,
}

pub fn main(args: &Args) -> i32 {
    let config = Config { exact_traps: args.traps == "exact", ..Config::default() };
    let module = match super::load(&Engine::new(config), &args.file) {
        Ok(module) => module,
        Err(error) => return fail(&error),
    };
    let emit = match args.emit {
        Form::Bytecode => Emit::Bytecode,
        Form::Llvm => Emit::Llvm,
        Form::LlvmOpt => Emit::LlvmOpt,
        Form::Asm => Emit::Asm,
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let shown = updraft::inspect(&module, args.func.as_deref(), emit, &mut |text| {
        out.write_all(text.as_bytes())
    });
    match shown.map(|written| written.and_then(|()| out.flush())) {
        Ok(Ok(())) => 0,
        // Whoever read it has seen enough.
        Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => 0,
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}
