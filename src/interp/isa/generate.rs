//! Turns the tables of `table.rs` into Rust. Runs in the build script only.

use super::table::{
    ATOMICS, BINARY, LOAD_BINARY, LOADS, Operand, PRODUCTS, RELAXED, RMW, SHIFTED, SINGLE, STORES,
    Shape, Ty, UNARY, VECTOR_ACCESSES, VECTORS, VectorKind,
};
use std::collections::HashMap;
use std::fmt::Write;

/// One instruction: its name, the handler's path and the operands.
struct Row {
    name: String,
    handler: String,
    operands: Vec<Operand>,
}

/// A selector: from dimensions of a family to the opcode.
struct Selector {
    name: &'static str,
    doc: &'static str,
    /// Parameter name, its type, number of values.
    dims: Vec<(&'static str, &'static str, usize)>,
    cells: Vec<u16>,
}

const NONE: u16 = u16::MAX;

/// Where a value comes from; the order is that of `isa::Form`.
const FORMS: [&str; 3] = ["S", "A", "I"];
/// How an address is made; the order is that of `isa::AddressForm`.
const ADDRESSES: [(&str, &[Operand]); 9] = [
    ("S", &[Operand::Slot]),
    ("A", &[Operand::Acc]),
    ("SS", &[Operand::Slot, Operand::Slot]),
    ("AS", &[Operand::Acc, Operand::Slot]),
    ("SI", &[Operand::Slot, Operand::Imm32]),
    ("AI", &[Operand::Acc, Operand::Imm32]),
    ("I", &[Operand::Imm32]),
    ("SX", &[Operand::Slot, Operand::Slot, Operand::U16]),
    ("AX", &[Operand::Acc, Operand::Slot, Operand::U16]),
];
/// Where a result goes; the second follows the first in the enumeration.
const DESTINATIONS: [(&str, Operand); 2] = [("ToAcc", Operand::ToAcc), ("ToSlot", Operand::ToSlot)];
/// How an access finds its memory; the order is that of `isa::Reach`. Operands of memory, address and offset.
const REACHES: [(&str, &[Operand]); 3] = [
    ("Near", &[Operand::Slot, Operand::Offset]),
    ("Far", &[Operand::U32, Operand::Slot, Operand::Offset]),
    ("Wide", &[Operand::U32, Operand::Slot, Operand::Offset64]),
];
/// Which way a branch goes; the order is that of `isa::Way`.
const WAYS: [(&str, &[Operand]); 2] =
    [("Forward", &[Operand::Target]), ("Back", &[Operand::Target, Operand::Site, Operand::Weight])];
/// Classes of values; the order is that of `isa::Class`.
const CLASSES: [(&str, Ty); 3] = [("Int", Ty::I64), ("F32", Ty::F32), ("F64", Ty::F64)];

fn form(form: &str, ty: Ty) -> Operand {
    match form {
        "S" => Operand::Slot,
        "A" => Operand::Acc,
        _ => ty.immediate(),
    }
}

#[derive(Default)]
struct Generator {
    rows: Vec<Row>,
    selectors: Vec<Selector>,
}

impl Generator {
    fn row(&mut self, name: String, handler: String, operands: Vec<Operand>) -> u16 {
        self.rows.push(Row { name, handler, operands });
        u16::try_from(self.rows.len() - 1).unwrap()
    }

    /// A row that ends in a destination, once for each destination. Returns the first.
    fn pair(&mut self, name: &str, handler: &str, operands: &[Operand]) -> u16 {
        let mut first = None;
        for (to, operand) in DESTINATIONS {
            let mut operands = operands.to_vec();
            operands.push(operand);
            let suffix = if to == "ToAcc" { "a" } else { "s" };
            let op = self.row(format!("{name}_{suffix}"), handler.replace('@', to), operands);
            first.get_or_insert(op);
        }
        first.unwrap()
    }

    fn selector(
        &mut self,
        name: &'static str,
        doc: &'static str,
        dims: Vec<(&'static str, &'static str, usize)>,
        cells: Vec<u16>,
    ) {
        assert_eq!(cells.len(), dims.iter().map(|dim| dim.2).product::<usize>());
        self.selectors.push(Selector { name, doc, dims, cells });
    }

    fn binary(&mut self) {
        let mut cells = Vec::new();
        for (name, ty, shape) in BINARY {
            for lhs in FORMS {
                for rhs in FORMS {
                    let exists = match (lhs, rhs) {
                        ("S", "S" | "A" | "I") | ("A", "I") => true,
                        ("A", "S") | ("I", "S" | "A") => *shape == Shape::Ordered,
                        _ => false,
                    };
                    cells.push(if exists {
                        self.pair(
                            &format!("{name}_{}{}", lhs.to_lowercase(), rhs.to_lowercase()),
                            &format!("binary::<{name}, {lhs}, {rhs}, @>"),
                            &[form(lhs, *ty), form(rhs, *ty)],
                        )
                    } else {
                        NONE
                    });
                }
            }
        }
        let dims = vec![("op", "Binary", BINARY.len()), ("lhs", "Form", 3), ("rhs", "Form", 3)];
        self.selector("binary", "An operator of two operands.", dims, cells);
    }

    fn unary(&mut self) {
        let mut cells = Vec::new();
        for (name, ty) in UNARY {
            for src in ["S", "A"] {
                cells.push(self.pair(
                    &format!("{name}_{}", src.to_lowercase()),
                    &format!("unary::<{name}, {src}, @>"),
                    &[form(src, *ty)],
                ));
            }
        }
        let dims = vec![("op", "Unary", UNARY.len()), ("src", "Form", 2)];
        self.selector("unary", "An operator of one operand.", dims, cells);
    }

    fn branches(&mut self) {
        let mut cells = Vec::new();
        for (name, ty, shape) in BINARY {
            for lhs in FORMS {
                for rhs in FORMS {
                    for (way, target) in WAYS {
                        for sense in [false, true] {
                            let float = matches!(ty, Ty::F32 | Ty::F64);
                            let exists = *shape == Shape::Compares
                                && matches!((lhs, rhs), ("S", _) | ("A", "I"))
                                && (sense || float);
                            if !exists {
                                cells.push(NONE);
                                continue;
                            }
                            let mut operands = vec![form(lhs, *ty), form(rhs, *ty)];
                            operands.extend_from_slice(target);
                            cells.push(self.row(
                                format!(
                                    "Br{way}{}{name}_{}{}",
                                    if sense { "" } else { "Not" },
                                    lhs.to_lowercase(),
                                    rhs.to_lowercase()
                                ),
                                format!("branch::<{name}, {lhs}, {rhs}, {way}, {sense}>"),
                                operands,
                            ));
                        }
                    }
                }
            }
        }
        let dims = vec![
            ("op", "Binary", BINARY.len()),
            ("lhs", "Form", 3),
            ("rhs", "Form", 3),
            ("way", "Way", 2),
            ("sense", "bool", 2),
        ];
        self.selector("branch", "A branch on a comparison.", dims, cells);

        let mut cells = Vec::new();
        for (ty, rust) in [("I32", "u32"), ("I64", "u64")] {
            for src in ["S", "A"] {
                for (way, target) in WAYS {
                    for sense in [false, true] {
                        let mut operands = vec![form(src, Ty::I32)];
                        operands.extend_from_slice(target);
                        cells.push(self.row(
                            format!(
                                "Br{way}{}{ty}_{}",
                                if sense { "If" } else { "Unless" },
                                src.to_lowercase()
                            ),
                            format!("branch_test::<{rust}, {src}, {way}, {sense}>"),
                            operands,
                        ));
                    }
                }
            }
        }
        let dims =
            vec![("wide", "bool", 2), ("src", "Form", 2), ("way", "Way", 2), ("sense", "bool", 2)];
        self.selector("branch_test", "A branch on whether a value is zero.", dims, cells);
    }

    fn memory(&mut self) {
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for name in LOADS {
            for (address, operands) in ADDRESSES {
                let mut operands = operands.to_vec();
                operands.push(Operand::Offset);
                near.push(self.pair(
                    &format!("{name}_{}", address.to_lowercase()),
                    &format!("load::<{name}, Address{address}, @>"),
                    &operands,
                ));
            }
            for (reach, operands) in &REACHES[1..] {
                far.push(self.pair(
                    &format!("{name}_{}", reach.to_lowercase()),
                    &format!("load_far::<{name}, {reach}, @>"),
                    operands,
                ));
            }
        }
        let dims = vec![("op", "Load", LOADS.len()), ("address", "AddressForm", ADDRESSES.len())];
        self.selector("load", "A load from memory 0, of 32-bit addresses.", dims, near);
        let dims = vec![("op", "Load", LOADS.len()), ("wide", "bool", 2)];
        self.selector("load_far", "A load from any memory.", dims, far);

        let (mut near, mut far) = (Vec::new(), Vec::new());
        for (name, ty) in STORES {
            for (address, operands) in ADDRESSES {
                for value in FORMS {
                    let int = matches!(ty, Ty::I32 | Ty::I64);
                    if int && value == "A" && address.contains('A') {
                        near.push(NONE);
                        continue;
                    }
                    let mut operands = operands.to_vec();
                    operands.extend([Operand::Offset, form(value, *ty)]);
                    near.push(self.row(
                        format!("{name}_{}_{}", address.to_lowercase(), value.to_lowercase()),
                        format!("store::<{name}, Address{address}, {value}>"),
                        operands,
                    ));
                }
            }
            for (reach, operands) in &REACHES[1..] {
                far.push(self.row(
                    format!("{name}_{}", reach.to_lowercase()),
                    format!("store_far::<{name}, {reach}>"),
                    [operands, &[Operand::Slot][..]].concat(),
                ));
            }
        }
        let dims = vec![
            ("op", "Store", STORES.len()),
            ("address", "AddressForm", ADDRESSES.len()),
            ("value", "Form", 3),
        ];
        self.selector("store", "A store to memory 0, of 32-bit addresses.", dims, near);
        let dims = vec![("op", "Store", STORES.len()), ("wide", "bool", 2)];
        self.selector("store_far", "A store to any memory.", dims, far);
    }

    fn moves(&mut self) {
        let (mut copies, mut returns, mut selects) = (Vec::new(), Vec::new(), Vec::new());
        let (mut gets, mut sets) = (Vec::new(), Vec::new());
        for (class, ty) in CLASSES {
            let rust = ty.rust();
            for src in FORMS {
                let lower = src.to_lowercase();
                copies.push(self.pair(
                    &format!("Copy{class}_{lower}"),
                    &format!("copy::<{rust}, {src}, @>"),
                    &[form(src, ty)],
                ));
                returns.push(self.row(
                    format!("Return{class}_{lower}"),
                    format!("return_one::<{rust}, {src}>"),
                    vec![Operand::Slot, form(src, ty)],
                ));
            }
            for condition in ["S", "A"] {
                selects.push(self.pair(
                    &format!("Select{class}_{}", condition.to_lowercase()),
                    &format!("select::<{rust}, {condition}, @>"),
                    &[form(condition, Ty::I32), Operand::Slot, Operand::Slot],
                ));
            }
            for place in ["Own", "Imported"] {
                gets.push(self.pair(
                    &format!("GlobalGet{place}{class}"),
                    &format!("global_get::<{rust}, {place}, @>"),
                    &[Operand::U32],
                ));
                for src in FORMS {
                    sets.push(self.row(
                        format!("GlobalSet{place}{class}_{}", src.to_lowercase()),
                        format!("global_set::<{rust}, {place}, {src}>"),
                        vec![Operand::U32, form(src, ty)],
                    ));
                }
            }
        }
        let class = ("class", "Class", CLASSES.len());
        self.selector("copy", "A copy.", vec![class, ("src", "Form", 3)], copies);
        self.selector(
            "return_one",
            "A return of one value.",
            vec![class, ("src", "Form", 3)],
            returns,
        );
        let dims = vec![class, ("condition", "Form", 2)];
        self.selector("select", "A choice between two slots.", dims, selects);
        let dims = vec![class, ("imported", "bool", 2)];
        self.selector("global_get", "A read of a global.", dims, gets);
        let dims = vec![class, ("imported", "bool", 2), ("src", "Form", 3)];
        self.selector("global_set", "A write of a global.", dims, sets);

        let wide = self.pair("CopyImm64", "copy::<u64, I64, @>", &[Operand::Imm64]);
        self.selector("copy_wide", "A 64-bit constant.", vec![], vec![wide]);
    }

    /// Instructions that stand for several operators.
    fn fused(&mut self) {
        let ty = |name: &str| BINARY.iter().find(|row| row.0 == name).unwrap().1;
        let mut cells = Vec::new();
        for (name, load) in LOAD_BINARY {
            for lhs in ["S", "A"] {
                for (address, operands) in ADDRESSES {
                    let int = name.starts_with('I');
                    if int && lhs == "A" && address.contains('A') {
                        cells.push(NONE);
                        continue;
                    }
                    let mut list = operands.to_vec();
                    list.extend([Operand::Offset, form(lhs, ty(name))]);
                    cells.push(self.pair(
                        &format!("{name}Load_{}_{}", lhs.to_lowercase(), address.to_lowercase()),
                        &format!("load_binary::<{name}, {load}, {lhs}, Address{address}, @>"),
                        &list,
                    ));
                }
            }
        }
        let dims = vec![
            ("op", "LoadBinary", LOAD_BINARY.len()),
            ("lhs", "Form", 2),
            ("address", "AddressForm", ADDRESSES.len()),
        ];
        self.selector("load_binary", "An operator on a value and what a load gives.", dims, cells);

        let mut cells = Vec::new();
        for (outer, inner) in SHIFTED {
            for a in ["S", "A"] {
                for b in ["S", "A"] {
                    if (a, b) == ("A", "A") {
                        cells.push(NONE);
                        continue;
                    }
                    cells.push(self.pair(
                        &format!("{outer}{}_{}{}", &inner[3..], a.to_lowercase(), b.to_lowercase()),
                        &format!("shifted::<{outer}, {inner}, {a}, {b}, @>"),
                        &[form(a, ty(outer)), form(b, ty(outer)), Operand::U16],
                    ));
                }
            }
        }
        let dims = vec![("op", "Shifted", SHIFTED.len()), ("a", "Form", 2), ("b", "Form", 2)];
        self.selector("shifted", "An operator on a value and a shifted one.", dims, cells);

        let mut cells = Vec::new();
        for (name, ty) in PRODUCTS {
            for (a, b, c) in [("S", "S", "S"), ("S", "S", "A"), ("A", "S", "S")] {
                cells.push(self.pair(
                    &format!("{name}_{}", format!("{a}{b}{c}").to_lowercase()),
                    &format!("product::<{name}, {a}, {b}, {c}, @>"),
                    &[form(a, *ty), form(b, *ty), form(c, *ty)],
                ));
            }
        }
        let dims = vec![("op", "Product", PRODUCTS.len()), ("forms", "usize", 3)];
        self.selector("product", "A product and what is made of it.", dims, cells);

        let mut cells = Vec::new();
        for (name, ty, shape) in BINARY {
            for step in FORMS {
                for limit in FORMS {
                    let exists =
                        *shape == Shape::Compares && *ty == Ty::I32 && step != "A" && limit != "A";
                    if !exists {
                        cells.push(NONE);
                        continue;
                    }
                    let mut operands = vec![Operand::Slot, form(step, *ty), form(limit, *ty)];
                    operands.extend_from_slice(WAYS[1].1);
                    cells.push(self.row(
                        format!("Step{name}_{}{}", step.to_lowercase(), limit.to_lowercase()),
                        format!("step::<{name}, {step}, {limit}>"),
                        operands,
                    ));
                }
            }
        }
        let dims = vec![("op", "Binary", BINARY.len()), ("step", "Form", 3), ("limit", "Form", 3)];
        self.selector("step", "An addition to a slot, and a branch back on the sum.", dims, cells);
    }

    fn entries(&mut self) {
        use Operand::{Slot, U32, Weight};
        let mut cells = Vec::new();
        for blocks in 0..=4 {
            cells.push(self.row(
                format!("Enter{blocks}"),
                format!("enter::<{blocks}>"),
                vec![U32, Weight, Slot, Slot, U32],
            ));
        }
        cells.push(self.row(
            "EnterMany".into(),
            "enter_many".into(),
            vec![U32, Weight, Slot, Slot, Operand::U16, U32],
        ));
        let dims = vec![("blocks", "usize", cells.len())];
        self.selector("enter", "The entry of a function that clears so many blocks.", dims, cells);
    }

    fn atomics(&mut self) {
        use Operand::Slot;
        let (mut loads, mut stores, mut rmws, mut exchanges) = (vec![], vec![], vec![], vec![]);
        for (width, ty, machine) in ATOMICS {
            let rust = ty.rust();
            for (memory, place) in REACHES {
                let with = |operands: &[Operand]| [place, operands].concat();
                loads.push(self.pair(
                    &format!("Atomic{memory}{width}Load"),
                    &format!("atomic_load::<{rust}, {machine}, {memory}, @>"),
                    &with(&[]),
                ));
                stores.push(self.row(
                    format!("Atomic{memory}{width}Store"),
                    format!("atomic_store::<{rust}, {machine}, {memory}>"),
                    with(&[Slot]),
                ));
                for op in RMW {
                    rmws.push(self.pair(
                        &format!("Atomic{memory}{width}{op}"),
                        &format!("atomic_rmw::<Rmw{op}, {rust}, {machine}, {memory}, @>"),
                        &with(&[Slot]),
                    ));
                }
                exchanges.push(self.pair(
                    &format!("Atomic{memory}{width}Cmpxchg"),
                    &format!("atomic_cmpxchg::<{rust}, {machine}, {memory}, @>"),
                    &with(&[Slot, Slot]),
                ));
            }
        }
        let width = ("width", "Atomic", ATOMICS.len());
        let reach = ("reach", "Reach", REACHES.len());
        self.selector("atomic_load", "An atomic load.", vec![width, reach], loads);
        self.selector("atomic_store", "An atomic store.", vec![width, reach], stores);
        let dims = vec![width, reach, ("op", "Rmw", RMW.len())];
        self.selector("atomic_rmw", "An atomic read-modify-write.", dims, rmws);
        self.selector(
            "atomic_cmpxchg",
            "An atomic exchange on a condition.",
            vec![width, reach],
            exchanges,
        );
    }

    /// Vectors lie in slots; scalar results go to accumulators, too.
    fn vectors(&mut self) {
        use Operand::{Slot, ToVector, U16, Vector};
        for (kind, prefix, lane, suffix, ops) in VECTORS {
            for op in *ops {
                let name = format!("{prefix}{op}{suffix}");
                let family = format!("{kind:?}").to_lowercase();
                let mut handler = format!("vector_{family}::<handlers::lanes::{op}, {lane}>");
                let operands: &[Operand] = match kind {
                    VectorKind::Unary => &[Vector, ToVector],
                    VectorKind::Binary => &[Vector, Vector, ToVector],
                    VectorKind::Ternary => &[Vector, Vector, Vector, ToVector],
                    VectorKind::Shift => &[Vector, Slot, ToVector],
                    VectorKind::Splat => &[Slot, ToVector],
                    VectorKind::Replace => &[Vector, Slot, U16, ToVector],
                    VectorKind::Test | VectorKind::Extract => {
                        handler = handler.replace('>', ", @>");
                        let lane = if *kind == VectorKind::Test { &[][..] } else { &[U16] };
                        self.pair(&name, &handler, &[&[Vector], lane].concat());
                        continue;
                    }
                };
                self.row(name, handler, operands.to_vec());
            }
        }
        let mut cells = Vec::new();
        for (name, handler, takes, gives, lane) in VECTOR_ACCESSES {
            for (reach, place) in REACHES {
                let mut operands = place.to_vec();
                operands.extend(takes.then_some(Vector));
                operands.extend(lane.then_some(U16));
                operands.extend(gives.then_some(ToVector));
                cells.push(self.row(
                    format!("{name}_{}", reach.to_lowercase()),
                    format!("{handler}, {reach}>"),
                    operands,
                ));
            }
        }
        let dims =
            vec![("op", "VectorAccess", VECTOR_ACCESSES.len()), ("reach", "Reach", REACHES.len())];
        self.selector("vector_access", "A load or store of a vector or a lane.", dims, cells);
    }

    fn single(&mut self) {
        for (name, handler, operands) in SINGLE {
            self.row((*name).into(), (*handler).into(), operands.to_vec());
        }
    }
}

fn enumeration<'a>(
    out: &mut String,
    name: &str,
    doc: &str,
    variants: impl Iterator<Item = &'a str>,
) {
    writeln!(out, "#[doc = \"{doc}\"]\n#[derive(Clone, Copy, PartialEq, Eq, Debug)]\n#[repr(u8)]")
        .unwrap();
    writeln!(out, "pub(crate) enum {name} {{").unwrap();
    for variant in variants {
        writeln!(out, "    {variant},").unwrap();
    }
    writeln!(out, "}}").unwrap();
}

/// The comparison whose operands are exchanged, and the one that is true where this is false.
fn relatives(name: &str) -> (String, Option<String>) {
    let (ty, op) = name.split_at(3);
    let (stem, sign) = if op.len() == 3 { op.split_at(2) } else { (op, "") };
    let swapped = match stem {
        "Lt" => "Gt",
        "Gt" => "Lt",
        "Le" => "Ge",
        "Ge" => "Le",
        same => same,
    };
    let negated = match stem {
        "Lt" => "Ge",
        "Gt" => "Le",
        "Le" => "Gt",
        "Ge" => "Lt",
        "Eq" => "Ne",
        _ => "Eq",
    };
    let total = ty.starts_with('I') || matches!(stem, "Eq" | "Ne");
    (format!("{ty}{swapped}{sign}"), total.then(|| format!("{ty}{negated}{sign}")))
}

fn facts(out: &mut String) {
    let mut arms = [String::new(), String::new(), String::new(), String::new()];
    for (name, ty, shape) in BINARY {
        writeln!(arms[0], "Self::{name} => Ty::{ty:?},").unwrap();
        writeln!(arms[1], "Self::{name} => Shape::{shape:?},").unwrap();
        if *shape == Shape::Compares {
            let (swapped, negated) = relatives(name);
            writeln!(arms[2], "Self::{name} => Self::{swapped},").unwrap();
            if let Some(negated) = negated {
                writeln!(arms[3], "Self::{name} => Some(Self::{negated}),").unwrap();
            }
        }
    }
    writeln!(
        out,
        "impl Binary {{
            /// Type of the operands.
            pub(crate) const fn ty(self) -> Ty {{ match self {{ {} }} }}
            /// How operands may be exchanged.
            pub(crate) const fn shape(self) -> Shape {{ match self {{ {} }} }}
            /// The comparison that is true of the exchanged operands.
            pub(crate) const fn swapped(self) -> Self {{ match self {{ {} other => other }} }}
            /// The comparison that is true where this is false, if there is one (NaNs).
            pub(crate) const fn negated(self) -> Option<Self> {{ match self {{ {} _ => None }} }}
        }}",
        arms[0], arms[1], arms[2], arms[3]
    )
    .unwrap();
    writeln!(out, "/// Types of operand and result of the unary operators.").unwrap();
    writeln!(out, "pub(crate) static UNARY_TYPES: [(Ty, Ty); {}] = [", UNARY.len()).unwrap();
    for (name, ty) in UNARY {
        writeln!(out, "    (Ty::{ty:?}, Ty::{}),", unary_result(name)).unwrap();
    }
    writeln!(out, "];").unwrap();
    fusions(out);
    let mut arms = String::new();
    for (name, ty) in STORES {
        writeln!(arms, "Self::{name} => Ty::{ty:?},").unwrap();
    }
    writeln!(
        out,
        "impl Store {{
            /// Type of the value.
            pub(crate) const fn ty(self) -> Ty {{ match self {{ {arms} }} }}
        }}"
    )
    .unwrap();
}

/// Which pairs of operators have an instruction.
fn fusions(out: &mut String) {
    let mut arms = String::new();
    for (op, load) in LOAD_BINARY {
        writeln!(arms, "(Binary::{op}, Load::{load}) => Some(LoadBinary::{op}Load),").unwrap();
    }
    writeln!(
        out,
        "impl LoadBinary {{
            /// The instruction for an operator and the load of its second operand.
            pub(crate) const fn of(op: Binary, load: Load) -> Option<Self> {{
                match (op, load) {{ {arms} _ => None }}
            }}
        }}"
    )
    .unwrap();
    let mut arms = String::new();
    for (outer, inner) in SHIFTED {
        let name = format!("{outer}{}", &inner[3..]);
        writeln!(arms, "(Binary::{outer}, Binary::{inner}) => Some(Shifted::{name}),").unwrap();
    }
    writeln!(
        out,
        "impl Shifted {{
            /// The instruction for an operator and the shift that makes one of its operands.
            pub(crate) const fn of(outer: Binary, inner: Binary) -> Option<Self> {{
                match (outer, inner) {{ {arms} _ => None }}
            }}
        }}"
    )
    .unwrap();
}

/// The type of a unary operator's result: its name begins with it.
fn unary_result(name: &str) -> &str {
    if name.ends_with("Eqz") { "I32" } else { &name[..3] }
}

/// Whether no operator of WebAssembly has this name.
fn is_own(name: &str) -> bool {
    name.ends_with("Canonical")
}

/// From WebAssembly's operators to the families with one row per operator.
fn plain(out: &mut String) {
    let mut arms = String::new();
    for (name, ..) in BINARY {
        writeln!(arms, "Operator::{name} => Plain::Binary(Binary::{name}),").unwrap();
    }
    for (name, _) in UNARY.iter().filter(|row| !is_own(row.0)) {
        writeln!(arms, "Operator::{name} => Plain::Unary(Unary::{name}),").unwrap();
    }
    for name in LOADS {
        writeln!(arms, "Operator::{name} {{ memarg }} => Plain::Load(Load::{name}, memarg),")
            .unwrap();
    }
    for (name, _) in STORES {
        writeln!(arms, "Operator::{name} {{ memarg }} => Plain::Store(Store::{name}, memarg),")
            .unwrap();
    }
    for (width, ..) in ATOMICS {
        let (ty, narrow) = width.split_at(3);
        let bits = narrow.trim_start_matches('U');
        let sign = if narrow.is_empty() { "" } else { "U" };
        writeln!(
            arms,
            "Operator::{ty}AtomicLoad{bits}{sign} {{ memarg }} => Plain::AtomicLoad(Atomic::{width}, memarg),
            Operator::{ty}AtomicStore{bits} {{ memarg }} => Plain::AtomicStore(Atomic::{width}, memarg),
            Operator::{ty}AtomicRmw{bits}Cmpxchg{sign} {{ memarg }} => Plain::AtomicCmpxchg(Atomic::{width}, memarg),"
        )
        .unwrap();
        for op in RMW {
            writeln!(
                arms,
                "Operator::{ty}AtomicRmw{bits}{op}{sign} {{ memarg }} => Plain::AtomicRmw(Rmw::{op}, Atomic::{width}, memarg),"
            )
            .unwrap();
        }
    }
    vector_arms(&mut arms);
    writeln!(
        out,
        "/// Sorts an operator into its family.
        #[inline]
        pub(crate) fn plain<'a>(operator: &'a Operator<'_>) -> Plain<'a> {{ match operator {{ {arms} _ => Plain::Other }} }}"
    )
    .unwrap();
}

/// Operators on vectors go straight to their instructions.
fn vector_arms(arms: &mut String) {
    let operators = || {
        VECTORS.iter().flat_map(|(kind, prefix, lane, suffix, ops)| {
            ops.iter().map(move |op| (format!("{prefix}{op}{suffix}"), *kind, *lane))
        })
    };
    for (name, kind, lane) in operators().filter(|row| !is_own(&row.0)) {
        let ty = match lane {
            "i64" => "I64",
            "f32" => "F32",
            "f64" => "F64",
            _ => "I32",
        };
        let (pattern, op) = match kind {
            VectorKind::Test => (name.clone(), format!("Op::{name}_a, 0")),
            VectorKind::Extract => (format!("{name} {{ lane }}"), format!("Op::{name}_a, *lane")),
            VectorKind::Replace => (format!("{name} {{ lane }}"), format!("Op::{name}, *lane")),
            _ => (name.clone(), format!("Op::{name}, 0")),
        };
        writeln!(
            arms,
            "Operator::{pattern} => Plain::Vector(VectorKind::{kind:?}, Ty::{ty}, {op}),"
        )
        .unwrap();
    }
    for (name, same) in RELAXED {
        let (_, kind, _) = operators().find(|row| row.0 == *same).unwrap();
        writeln!(
            arms,
            "Operator::{name} => Plain::Vector(VectorKind::{kind:?}, Ty::I32, Op::{same}, 0),"
        )
        .unwrap();
    }
    for (name, _, _, _, lane) in VECTOR_ACCESSES {
        let (field, value) = if *lane { (", lane", "*lane") } else { ("", "0") };
        writeln!(
            arms,
            "Operator::{name} {{ memarg{field} }} => Plain::VectorAccess(VectorAccess::{name}, memarg, {value}),"
        )
        .unwrap();
    }
}

/// What accesses of vectors take and give.
fn vector_facts(out: &mut String) {
    let mut arms = String::new();
    for (name, _, takes, gives, lane) in VECTOR_ACCESSES {
        writeln!(arms, "Self::{name} => ({takes}, {gives}, {lane}),").unwrap();
    }
    writeln!(
        out,
        "impl VectorAccess {{
            /// Whether a vector goes in, whether one comes out, whether it is about one lane.
            pub(crate) const fn shape(self) -> (bool, bool, bool) {{ match self {{ {arms} }} }}
        }}"
    )
    .unwrap();
}

/// The generated module.
pub fn generate() -> String {
    let mut g = Generator::default();
    g.single();
    g.binary();
    g.unary();
    g.branches();
    g.memory();
    g.moves();
    g.fused();
    g.entries();
    g.atomics();
    g.vectors();

    let mut out = String::new();
    writeln!(
        out,
        "/// An instruction.\n#[derive(Clone, Copy, PartialEq, Eq, Debug)]\n#[repr(u16)]"
    )
    .unwrap();
    writeln!(
        out,
        "#[expect(non_camel_case_types, reason = \"the forms of the operands follow the name\")]"
    )
    .unwrap();
    writeln!(out, "#[allow(dead_code, reason = \"most are made by the selectors, from numbers\")]")
        .unwrap();
    writeln!(out, "pub(crate) enum Op {{").unwrap();
    for row in &g.rows {
        writeln!(out, "    {},", row.name).unwrap();
    }
    writeln!(out, "}}").unwrap();

    writeln!(
        out,
        "/// How many instructions there are.\npub(crate) const COUNT: usize = {};",
        g.rows.len()
    )
    .unwrap();
    // Positions, not references: each of those would be relocated at every start of the process.
    let names: String = g.rows.iter().map(|row| row.name.as_str()).collect();
    writeln!(
        out,
        "/// Their names, one after the other.\npub(crate) static NAMES: &str = {names:?};"
    )
    .unwrap();
    let ends = g.rows.iter().scan(0, |end, row| {
        *end += row.name.len();
        Some(*end as u32)
    });
    numbers(&mut out, "Where each name ends.", "NAME_ENDS", "u32", ends);
    let mut list: Vec<Operand> = Vec::new();
    let mut places = HashMap::new();
    let starts: Vec<u32> = g
        .rows
        .iter()
        .map(|row| {
            *places.entry(format!("{:?}", row.operands)).or_insert_with(|| {
                list.extend(&row.operands);
                (list.len() - row.operands.len()) as u32
            })
        })
        .collect();
    let text: Vec<_> = list.iter().map(|operand| format!("Operand::{operand:?}")).collect();
    writeln!(
        out,
        "/// Lists of operands, one after the other.\npub(crate) static OPERANDS: [Operand; {}] = [{}];",
        list.len(),
        text.join(", ")
    )
    .unwrap();
    numbers(&mut out, "Where their operands are.", "OPERAND_STARTS", "u32", starts.into_iter());
    let counts = g.rows.iter().map(|row| row.operands.len() as u32);
    numbers(&mut out, "How many they are.", "OPERAND_COUNTS", "u8", counts);
    writeln!(out, "/// Bytes of their operands.\npub(crate) static SIZES: [u8; COUNT] = [")
        .unwrap();
    for row in &g.rows {
        writeln!(out, "    {},", row.operands.iter().map(|operand| operand.size()).sum::<usize>())
            .unwrap();
    }
    writeln!(out, "];\n/// Their handlers.\npub(crate) static HANDLERS: [Handler; COUNT] = [")
        .unwrap();
    for row in &g.rows {
        writeln!(out, "    handlers::{},", path(&row.handler)).unwrap();
    }
    writeln!(out, "];").unwrap();

    enumeration(&mut out, "Binary", "Operators of two operands.", BINARY.iter().map(|row| row.0));
    enumeration(&mut out, "Unary", "Operators of one operand.", UNARY.iter().map(|row| row.0));
    enumeration(&mut out, "Load", "Plain loads.", LOADS.iter().copied());
    enumeration(&mut out, "Store", "Plain stores.", STORES.iter().map(|row| row.0));
    let pairs = |pairs: &[(&str, &str)], skip: usize| -> Vec<String> {
        pairs.iter().map(|(outer, inner)| format!("{outer}{}", &inner[skip..])).collect()
    };
    let names = pairs(LOAD_BINARY, 3);
    enumeration(&mut out, "LoadBinary", "Operators on loads.", names.iter().map(String::as_str));
    let names = pairs(SHIFTED, 3);
    enumeration(&mut out, "Shifted", "Operators on shifts.", names.iter().map(String::as_str));
    enumeration(&mut out, "Product", "Users of products.", PRODUCTS.iter().map(|row| row.0));
    enumeration(&mut out, "Atomic", "Widths of atomic accesses.", ATOMICS.iter().map(|row| row.0));
    enumeration(&mut out, "Rmw", "Atomic operators.", RMW.iter().copied());
    let names = VECTOR_ACCESSES.iter().map(|row| row.0);
    enumeration(&mut out, "VectorAccess", "Accesses of vectors to memory.", names);
    facts(&mut out);
    vector_facts(&mut out);
    plain(&mut out);

    for selector in &g.selectors {
        let params: Vec<_> =
            selector.dims.iter().map(|(name, ty, _)| format!("{name}: {ty}")).collect();
        let index = selector.dims.iter().fold("0".to_string(), |index, (name, ty, count)| {
            let value =
                if *ty == "usize" { (*name).to_string() } else { format!("{name} as usize") };
            format!("({index}) * {count} + ({value})")
        });
        let doc = selector.doc;
        let name = selector.name;
        writeln!(
            out,
            "/// {doc}
            #[inline]
            pub(crate) fn {name}({}) -> Option<Op> {{
                static CELLS: [u16; {}] = {:?};
                Op::from_cell(CELLS[{index}])
            }}",
            params.join(", "),
            selector.cells.len(),
            selector.cells,
        )
        .unwrap();
    }
    out
}

/// A table of numbers, one for each instruction.
fn numbers(out: &mut String, doc: &str, name: &str, ty: &str, values: impl Iterator<Item = u32>) {
    let values: Vec<u32> = values.collect();
    writeln!(out, "/// {doc}\npub(crate) static {name}: [{ty}; COUNT] = {values:?};").unwrap();
}

/// Qualifies the type arguments of a handler.
fn path(handler: &str) -> String {
    let Some((name, arguments)) = handler.split_once("::<") else { return handler.to_string() };
    let arguments: Vec<_> = arguments
        .trim_end_matches('>')
        .split(", ")
        .map(|argument| {
            let builtin =
                argument.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
            if builtin { argument.to_string() } else { format!("handlers::{argument}") }
        })
        .collect();
    format!("{name}::<{}>", arguments.join(", "))
}
