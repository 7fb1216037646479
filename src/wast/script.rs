//! The directives.

use super::value::{argument, fits};
use super::{Remark, Report, spectest};
use crate::engine::Engine;
use crate::error::{Error, LinkError};
use crate::features::Features;
use crate::instance::Instance;
use crate::linker::{Extern, Linker};
use crate::memory::Memory;
use crate::module::{Module, ModuleError};
use crate::store::Store;
use crate::val::Val;
use std::collections::{HashMap, HashSet};
use std::thread::{Scope, ScopedJoinHandle};
use wast::token::{Id, Span};
use wast::{QuoteWat, WastDirective, WastExecute, WastInvoke, WastRet, WastThread, Wat};

/// Why a directive did not pass.
enum Verdict {
    Failed(String),
    Skipped(String),
}

impl From<&str> for Verdict {
    fn from(why: &str) -> Verdict {
        Verdict::Failed(why.into())
    }
}

impl From<String> for Verdict {
    fn from(why: String) -> Verdict {
        Verdict::Failed(why)
    }
}

/// What has become of a module that a script has named.
#[derive(Clone)]
enum Known {
    Instance(Instance),
    /// A module of the script's other thread: its memories.
    Shared(Vec<(String, Memory)>),
    /// A module that the engine refused to support, and why.
    Refused(String),
}

/// One thread of a script that runs.
struct Script<'scope, 'env, 'a> {
    scope: &'scope Scope<'scope, 'env>,
    engine: &'env Engine,
    text: &'env str,
    store: Store,
    linker: Linker,
    /// What directives without a name mean.
    current: Option<Known>,
    named: HashMap<String, Known>,
    definitions: HashMap<String, Result<Module, String>>,
    /// Names under which refused modules were registered.
    refused: HashSet<String>,
    threads: Vec<(Id<'a>, ScopedJoinHandle<'scope, Report>)>,
    report: Report,
}

/// Runs a script, and waits for its threads.
pub(super) fn run(engine: &Engine, text: &str, directives: Vec<WastDirective<'_>>) -> Report {
    std::thread::scope(|scope| run_thread(scope, engine, text, None, directives))
}

/// Runs one thread of a script, and those that it starts.
fn run_thread<'scope, 'env, 'a: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    engine: &'env Engine,
    text: &'env str,
    shared: Option<(String, Known)>,
    directives: Vec<WastDirective<'a>>,
) -> Report {
    let mut script = match Script::new(scope, engine, text) {
        Ok(script) => script,
        Err(error) => {
            let message = format!("cannot set up the script: {error}");
            let failed = vec![Remark { line: 1, column: 1, message }];
            return Report { failed, ..Report::default() };
        }
    };
    script.named.extend(shared);
    for directive in directives {
        let span = directive.span();
        let verdict = script.directive(directive);
        script.note(span, verdict);
    }
    for (_, thread) in std::mem::take(&mut script.threads) {
        let verdict = script.join(thread);
        script.note(Span::from_offset(0), verdict);
    }
    script.report
}

impl<'scope, 'env, 'a: 'scope> Script<'scope, 'env, 'a> {
    fn new(
        scope: &'scope Scope<'scope, 'env>,
        engine: &'env Engine,
        text: &'env str,
    ) -> Result<Self, Error> {
        let mut store = Store::new(engine)?;
        let mut linker = Linker::new(engine);
        spectest::define(engine, &mut store, &mut linker)?;
        Ok(Script {
            scope,
            engine,
            text,
            store,
            linker,
            current: None,
            named: HashMap::new(),
            definitions: HashMap::new(),
            refused: HashSet::new(),
            threads: Vec::new(),
            report: Report::default(),
        })
    }

    fn note(&mut self, span: Span, verdict: Result<(), Verdict>) {
        let (line, column) = span.linecol_in(self.text);
        let remark = |message| Remark { line: line + 1, column: column + 1, message };
        match verdict {
            Ok(()) => self.report.passed += 1,
            Err(Verdict::Failed(message)) => self.report.failed.push(remark(message)),
            Err(Verdict::Skipped(message)) => self.report.skipped.push(remark(message)),
        }
    }

    fn known(&self, name: Option<Id<'_>>) -> Result<&Known, Verdict> {
        match name {
            Some(id) => {
                let known = self.named.get(id.name());
                known.ok_or_else(|| format!("there is no module ${}", id.name()).into())
            }
            None => self.current.as_ref().ok_or_else(|| "there is no module".into()),
        }
    }

    fn instance(&self, name: Option<Id<'_>>) -> Result<Instance, Verdict> {
        match self.known(name)? {
            Known::Instance(instance) => Ok(*instance),
            Known::Shared(_) => Err("the module belongs to another thread".into()),
            Known::Refused(why) => Err(Verdict::Skipped(why.clone())),
        }
    }

    /// The module of a text; a text that is wrong in itself is a module error too.
    fn load(&self, module: &mut QuoteWat<'_>) -> Result<Module, ModuleError> {
        let bytes = module.encode().map_err(|error| ModuleError::Text(error.message()))?;
        Module::new(self.engine, bytes)
    }

    /// Instantiates, and skips what needs a module that was refused.
    fn instantiate(&mut self, module: &Module) -> Result<Result<Instance, Error>, Verdict> {
        let result = self.linker.instantiate(&mut self.store, module);
        if let Err(Error::Link(LinkError::Unknown { module, .. })) = &result
            && self.refused.contains(module)
        {
            return Err(Verdict::Skipped(format!("it imports from {module:?}, which was skipped")));
        }
        Ok(result)
    }

    /// Makes a module the current one, under its name if it has one.
    fn define(
        &mut self,
        name: Option<String>,
        module: Result<Module, String>,
    ) -> Result<(), Verdict> {
        self.current = None;
        let (known, verdict) = match module {
            Err(why) => (Known::Refused(why.clone()), Err(Verdict::Skipped(why))),
            Ok(module) => match self.instantiate(&module) {
                Ok(instance) => {
                    (Known::Instance(instance.map_err(|error| error.to_string())?), Ok(()))
                }
                Err(Verdict::Skipped(why)) => {
                    (Known::Refused(why.clone()), Err(Verdict::Skipped(why)))
                }
                Err(failed) => return Err(failed),
            },
        };
        if let Some(name) = name {
            self.named.insert(name, known.clone());
        }
        self.current = Some(known);
        verdict
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Result<Vec<Val>, Error>, Verdict> {
        let instance = self.instance(invoke.module)?;
        let args: Option<Vec<Val>> = invoke.args.iter().map(argument).collect();
        let args = args.ok_or_else(|| {
            Verdict::Skipped(format!("an argument of a kind that is not supported: {invoke:?}"))
        })?;
        let func = instance.func(&mut self.store, invoke.name);
        let func = func.ok_or_else(|| format!("there is no function {:?}", invoke.name))?;
        Ok(func.call(&mut self.store, &args))
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Result<Vec<Val>, Error>, Verdict> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module)?;
                match instance.export(&mut self.store, global) {
                    Some(Extern::Global(global)) => Ok(Ok(vec![global.get(&mut self.store)])),
                    _ => Err(format!("there is no global {global:?}").into()),
                }
            }
            WastExecute::Wat(wat) => match self.load(&mut QuoteWat::Wat(wat)) {
                Ok(module) => Ok(self.instantiate(&module)?.map(|_| vec![])),
                Err(unsupported @ ModuleError::Unsupported { .. }) => {
                    Err(Verdict::Skipped(unsupported.to_string()))
                }
                Err(error) => Ok(Err(error.into())),
            },
        }
    }

    fn directive(&mut self, directive: WastDirective<'a>) -> Result<(), Verdict> {
        let text = |error: Error| Verdict::Failed(error.to_string());
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                self.current = None;
                let module = refusable(self.load(&mut module))?;
                self.define(name, module)
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name().map(|id| id.name().to_owned()).unwrap_or_default();
                let module = refusable(self.load(&mut module))?;
                let verdict = module.as_ref().map(|_| ()).map_err(|why| why.clone());
                self.definitions.insert(name, module);
                verdict.map_err(Verdict::Skipped)
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = module.map(|id| id.name()).unwrap_or_default();
                let module = self.definitions.get(module).cloned();
                let module = module.ok_or("there is no such module definition")?;
                self.define(instance.map(|id| id.name().to_owned()), module)
            }
            WastDirective::Register { name, module, .. } => self.register(name, module),
            WastDirective::Invoke(invoke) => self.invoke(&invoke)?.map(|_| ()).map_err(text),
            WastDirective::AssertReturn { exec, results, .. } => {
                let values = self.execute(exec)?.map_err(text)?;
                returned(&values, &results)
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                trapped(self.execute(exec)?, message)
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                trapped(self.invoke(&call)?, message)
            }
            WastDirective::AssertException { exec, .. } => match self.execute(exec)? {
                Ok(values) => Err(format!("{values:x?}, and no exception").into()),
                Err(Error::Exception(_)) => Ok(()),
                Err(error) => Err(format!("{error}, and no exception").into()),
            },
            WastDirective::AssertMalformed { mut module, message, .. }
            | WastDirective::AssertInvalid { mut module, message, .. } => {
                match self.load(&mut module) {
                    Ok(_) => Err(format!("the module was accepted: {message}").into()),
                    // With fewer features than there are, what is not supported is what the script's version does not know.
                    Err(unsupported @ ModuleError::Unsupported { .. })
                        if self.engine.config().features == Features::SUPPORTED =>
                    {
                        Err(Verdict::Skipped(unsupported.to_string()))
                    }
                    Err(_) => Ok(()),
                }
            }
            WastDirective::AssertUnlinkable { module, message, .. } => {
                self.unlinkable(module, message)
            }
            WastDirective::Thread(thread) => self.thread(thread),
            WastDirective::Wait { thread, .. } => {
                let known = self.threads.iter().position(|(id, _)| *id == thread);
                let known = known.ok_or_else(|| format!("no thread ${}", thread.name()))?;
                let (_, thread) = self.threads.swap_remove(known);
                self.join(thread)
            }
            WastDirective::AssertMalformedCustom { .. }
            | WastDirective::AssertInvalidCustom { .. } => {
                Err(Verdict::Skipped("custom sections are not validated".into()))
            }
            WastDirective::AssertSuspension { .. } => {
                Err(Verdict::Skipped("the stack-switching proposal is not supported".into()))
            }
        }
    }

    fn register(&mut self, name: &str, module: Option<Id<'_>>) -> Result<(), Verdict> {
        match self.known(module)?.clone() {
            Known::Instance(instance) => {
                self.linker.instance(&mut self.store, name, instance);
            }
            Known::Shared(memories) => {
                for (export, memory) in memories {
                    self.linker.define(name, &export, Extern::Memory(memory));
                }
            }
            Known::Refused(why) => {
                self.refused.insert(name.to_owned());
                return Err(Verdict::Skipped(why));
            }
        }
        Ok(())
    }

    fn unlinkable(&mut self, module: Wat<'_>, message: &str) -> Result<(), Verdict> {
        let module = match refusable(self.load(&mut QuoteWat::Wat(module)))? {
            Ok(module) => module,
            Err(why) => return Err(Verdict::Skipped(why)),
        };
        match self.instantiate(&module)? {
            // The specification's messages name no names: "unknown import", "incompatible import type".
            Err(Error::Link(error)) if error.to_string().starts_with(message) => Ok(()),
            Err(error) => Err(format!("{error}, instead of {message}").into()),
            Ok(_) => Err(format!("the module was linked, instead of {message}").into()),
        }
    }

    /// Starts a thread. All that it gets of the module that it shares is its memories: whatever else a store has is for one thread.
    fn thread(&mut self, thread: WastThread<'a>) -> Result<(), Verdict> {
        let shared = match thread.shared_module {
            None => None,
            Some(id) => {
                let shared = match self.known(Some(id))?.clone() {
                    Known::Instance(instance) => {
                        let exports = instance.exports(&mut self.store).into_iter();
                        let memories = exports.filter_map(|(name, item)| match item {
                            Extern::Memory(memory) => Some((name, memory)),
                            _ => None,
                        });
                        Known::Shared(memories.collect())
                    }
                    other => other,
                };
                Some((id.name().to_owned(), shared))
            }
        };
        let (scope, engine, text) = (self.scope, self.engine, self.text);
        let body = move || run_thread(scope, engine, text, shared, thread.directives);
        let stack = engine.config().native_stack;
        let handle = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, body);
        let handle = handle.map_err(|error| format!("cannot start a thread: {error}"))?;
        self.threads.push((thread.name, handle));
        Ok(())
    }

    fn join(&mut self, thread: ScopedJoinHandle<'scope, Report>) -> Result<(), Verdict> {
        let report = thread.join().map_err(|_| "the thread panicked")?;
        self.report.append(report);
        Ok(())
    }
}

/// Tells modules that need what is not supported from those that are wrong.
fn refusable(module: Result<Module, ModuleError>) -> Result<Result<Module, String>, Verdict> {
    match module {
        Ok(module) => Ok(Ok(module)),
        Err(unsupported @ ModuleError::Unsupported { .. }) => Ok(Err(unsupported.to_string())),
        Err(error) => Err(error.to_string().into()),
    }
}

fn returned(values: &[Val], wanted: &[WastRet<'_>]) -> Result<(), Verdict> {
    let mut same = values.len() == wanted.len();
    for (value, want) in values.iter().zip(wanted) {
        same &= fits(value, want)
            .ok_or_else(|| Verdict::Skipped(format!("a result of another kind: {want:?}")))?;
    }
    if same { Ok(()) } else { Err(format!("{values:x?}, instead of {wanted:x?}").into()) }
}

/// Scripts name the trap by its message, or by the beginning or an extension of it ("uninitialized element 2").
fn trapped(result: Result<Vec<Val>, Error>, message: &str) -> Result<(), Verdict> {
    let got = match result {
        Ok(values) => return Err(format!("{values:x?}, instead of the trap: {message}").into()),
        Err(Error::Trap(trap)) => trap.code.message(),
        Err(other) => return Err(format!("{other}, instead of the trap: {message}").into()),
    };
    if message.starts_with(got) || got.starts_with(message) {
        Ok(())
    } else {
        Err(format!("the trap is: {got}, instead of: {message}").into())
    }
}
