//! The sections of a module, read and validated.

use super::canonical::{self, Refused};
use super::groups;
use super::validate::validate_bodies;
use super::{
    ConstOp, ConstOps, DataSegment, ElementItems, ElementSegment, Export, Import, Item,
    ModuleError, SegmentMode,
};
use std::collections::HashMap;
use std::ops::Range;
use updraft_jit::env::ModuleEnv;
use wasmparser::{
    ConstExpr, DataKind, ElementKind, ExternalKind, FuncType, Operator, Parser, Payload, RefType,
    TableInit, TypeRef, ValidPayload, Validator, WasmFeatures,
};

/// Everything that the sections say.
#[derive(Default)]
pub(super) struct Decoded {
    pub env: ModuleEnv,
    pub imports: Vec<Import>,
    pub exports: Vec<Export>,
    pub start: Option<u32>,
    pub global_inits: Vec<ConstOps>,
    pub table_inits: Vec<Option<ConstOps>>,
    pub elements: Vec<ElementSegment>,
    pub data: Vec<DataSegment>,
    pub name_section: Option<Range<usize>>,
}

fn to_usize(range: Range<u64>) -> Range<usize> {
    // Offsets lie within a slice in memory, so they fit.
    range.start as usize..range.end as usize
}

/// Decodes and validates a module in the binary format that may use these features.
pub(super) fn decode(bytes: &[u8], features: WasmFeatures) -> Result<Decoded, ModuleError> {
    if bytes.get(4..8) == Some(&[0x0d, 0, 1, 0]) {
        return Err(ModuleError::Unsupported {
            what: "this is a component (the component model); Updraft runs core modules".into(),
            offset: 4,
        });
    }
    let (features, grouped) = groups::features(bytes, features);
    let mut validator = Validator::new_with_features(features);
    let mut decoded = Decoded::default();
    let mut bodies = Vec::new();
    let mut parser = Parser::new(0);
    parser.set_features(features);
    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        if let ValidPayload::Func(func, body) = validator.payload(&payload)? {
            if grouped {
                groups::check_body(&body)?;
            }
            decoded.env.bodies.push(to_usize(body.range()));
            bodies.push((func, body));
        } else {
            decoded.section(payload)?;
        }
    }
    decoded.env.tail_calls = validate_bodies(bodies, features)?;
    decoded.finish();
    Ok(decoded)
}

impl Decoded {
    fn section(&mut self, payload: Payload<'_>) -> Result<(), ModuleError> {
        let env = &mut self.env;
        match payload {
            Payload::TypeSection(types) => {
                for group in types.into_iter_with_offsets() {
                    let (offset, group) = group?;
                    let mut members = Vec::new();
                    for ty in group.into_types() {
                        let func = groups::function(ty, offset)?;
                        members.push(canonical::func_type(env, func).map_err(refused(offset))?);
                    }
                    if members.len() > 1 {
                        let first = canonical::group(members.clone()).map_err(refused(offset))?;
                        env.identities.resize(env.types.len(), 0);
                        env.identities.extend(first..first + members.len() as u32);
                    }
                    env.types.extend(members);
                }
            }
            Payload::ImportSection(imports) => {
                let at = imports.range().start;
                for import in imports.into_imports() {
                    let import = import?;
                    let item = match import.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            env.functions.push(ty);
                            env.imported_functions += 1;
                            Item::Func(env.imported_functions - 1)
                        }
                        TypeRef::Table(mut ty) => {
                            ty.element_type =
                                canonical::ref_type(env, ty.element_type).map_err(refused(at))?;
                            env.tables.push(ty);
                            env.imported_tables += 1;
                            Item::Table(env.imported_tables - 1)
                        }
                        TypeRef::Memory(ty) => {
                            env.memories.push(ty);
                            env.imported_memories += 1;
                            Item::Memory(env.imported_memories - 1)
                        }
                        TypeRef::Global(mut ty) => {
                            ty.content_type =
                                canonical::val_type(env, ty.content_type).map_err(refused(at))?;
                            env.globals.push(ty);
                            env.imported_globals += 1;
                            Item::Global(env.imported_globals - 1)
                        }
                        TypeRef::Tag(ty) => {
                            env.tags.push(ty.func_type_idx);
                            env.imported_tags += 1;
                            Item::Tag(env.imported_tags - 1)
                        }
                    };
                    let (module, name) = (import.module.to_owned(), import.name.to_owned());
                    self.imports.push(Import { module, name, item });
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    env.functions.push(ty?);
                }
            }
            Payload::TableSection(tables) => {
                let at = tables.range().start;
                for table in tables {
                    let mut table = table?;
                    table.ty.element_type =
                        canonical::ref_type(env, table.ty.element_type).map_err(refused(at))?;
                    env.tables.push(table.ty);
                    self.table_inits.push(match table.init {
                        TableInit::RefNull => None,
                        TableInit::Expr(expr) => Some(const_ops(&expr)?),
                    });
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    env.memories.push(memory?);
                }
            }
            Payload::TagSection(tags) => {
                for tag in tags {
                    env.tags.push(tag?.func_type_idx);
                }
            }
            Payload::GlobalSection(globals) => {
                let at = globals.range().start;
                for global in globals {
                    let mut global = global?;
                    global.ty.content_type =
                        canonical::val_type(env, global.ty.content_type).map_err(refused(at))?;
                    env.globals.push(global.ty);
                    self.global_inits.push(const_ops(&global.init_expr)?);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    let item = match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => Item::Func(export.index),
                        ExternalKind::Table => Item::Table(export.index),
                        ExternalKind::Memory => Item::Memory(export.index),
                        ExternalKind::Global => Item::Global(export.index),
                        ExternalKind::Tag => Item::Tag(export.index),
                    };
                    self.exports.push(Export { name: export.name.to_owned(), item });
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(elements) => {
                for element in elements {
                    self.elements.push(element_segment(element?)?);
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    let mode = match segment.kind {
                        DataKind::Passive => SegmentMode::Passive,
                        DataKind::Active { memory_index, offset_expr } => SegmentMode::Active {
                            index: memory_index,
                            offset: const_ops(&offset_expr)?,
                        },
                    };
                    // The range covers the header too; the bytes are its tail.
                    let end = segment.range.end as usize;
                    self.data.push(DataSegment { mode, range: end - segment.data.len()..end });
                }
            }
            Payload::CustomSection(section) if section.name() == "name" => {
                let end = section.range().end as usize;
                self.name_section = Some(end - section.data().len()..end);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) {
        let env = &mut self.env;
        let mut first: HashMap<(&FuncType, u32), u32> = HashMap::new();
        let canonical = env
            .types
            .iter()
            .zip(0..)
            .map(|(ty, i)| *first.entry((ty, env.identity(i))).or_insert(i))
            .collect();
        env.canonical_types = canonical;
        env.global_escapes =
            (0..env.globals.len()).map(|i| i < env.imported_globals as usize).collect();
        for export in &self.exports {
            if let Item::Global(index) = export.item {
                env.global_escapes[index as usize] = true;
            }
        }
    }
}

fn refused(offset: u64) -> impl FnOnce(Refused) -> ModuleError {
    move |refused| ModuleError::Unsupported { what: what(refused), offset }
}

fn what(refused: Refused) -> String {
    match refused {
        Refused::TooMany => {
            "as many function types that others refer to, in all modules of the process".into()
        }
        Refused::HeapType(heap) => groups::heap_type(heap),
    }
}

fn element_segment(element: wasmparser::Element<'_>) -> Result<ElementSegment, ModuleError> {
    let at = element.range.start;
    let mode = match element.kind {
        ElementKind::Passive => SegmentMode::Passive,
        ElementKind::Declared => SegmentMode::Declared,
        ElementKind::Active { table_index, offset_expr } => SegmentMode::Active {
            index: table_index.unwrap_or(0),
            offset: const_ops(&offset_expr)?,
        },
    };
    let (items, ty) = match element.items {
        wasmparser::ElementItems::Functions(functions) => {
            let functions = functions.into_iter().collect::<Result<_, _>>()?;
            (ElementItems::Functions(functions), RefType::FUNCREF)
        }
        wasmparser::ElementItems::Expressions(ty, expressions) => {
            if !canonical::is_supported(ty.heap_type()) {
                return Err(refused(at)(Refused::HeapType(ty.heap_type())));
            }
            let mut items = Vec::new();
            for expression in expressions {
                items.push(const_ops(&expression?)?);
            }
            (ElementItems::Expressions(items.into()), ty)
        }
    };
    Ok(ElementSegment { mode, items, ty })
}

/// Decodes a constant expression that has been validated.
fn const_ops(expr: &ConstExpr<'_>) -> Result<ConstOps, ModuleError> {
    let mut ops = Vec::new();
    let mut reader = expr.get_operators_reader();
    loop {
        let (op, offset) = reader.read_with_offset()?;
        ops.push(match op {
            Operator::I32Const { value } => ConstOp::Value(u64::from(value as u32)),
            Operator::I64Const { value } => ConstOp::Value(value as u64),
            Operator::F32Const { value } => ConstOp::Value(u64::from(value.bits())),
            Operator::F64Const { value } => ConstOp::Value(value.bits()),
            Operator::V128Const { value } => {
                let bits = value.i128() as u128;
                ConstOp::V128([bits as u64, (bits >> 64) as u64])
            }
            Operator::GlobalGet { global_index } => ConstOp::GlobalGet(global_index),
            Operator::RefNull { hty } if canonical::is_supported(hty) => ConstOp::Value(0),
            Operator::RefFunc { function_index } => ConstOp::RefFunc(function_index),
            Operator::I32Add => ConstOp::I32Add,
            Operator::I32Sub => ConstOp::I32Sub,
            Operator::I32Mul => ConstOp::I32Mul,
            Operator::I64Add => ConstOp::I64Add,
            Operator::I64Sub => ConstOp::I64Sub,
            Operator::I64Mul => ConstOp::I64Mul,
            Operator::End => return Ok(ops.into()),
            other => {
                let what = format!("{other:?} in a constant expression");
                return Err(ModuleError::Unsupported { what, offset });
            }
        });
    }
}
