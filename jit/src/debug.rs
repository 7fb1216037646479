//! Debug locations, from which a line table comes: "line" is the byte offset in the wasm module.
//!
//! They cost a third of the time of quick compilation and a tenth of full, so they are only made when somebody asks for
//! the lines of code that exists already.

use inkwell::debug_info::{
    AsDIScope, DIFlagsConstants, DISubprogram, DISubroutineType, DWARFEmissionKind,
    DWARFSourceLanguage, DebugInfoBuilder,
};
use inkwell::debug_info::{DICompileUnit, DIFlags};
use inkwell::module::{FlagBehavior, Module};
use inkwell::values::FunctionValue;

use crate::compile::Level;

pub(crate) struct DebugInfo<'c> {
    builder: DebugInfoBuilder<'c>,
    unit: DICompileUnit<'c>,
    ty: DISubroutineType<'c>,
    optimised: bool,
}

impl<'c> DebugInfo<'c> {
    pub fn new(module: &Module<'c>, level: Level) -> Self {
        let optimised = level == Level::Full;
        let version = module.get_context().i32_type();
        let flag = |name, value| {
            let value = version.const_int(value, false);
            module.add_basic_value_flag(name, FlagBehavior::Warning, value);
        };
        flag("Debug Info Version", u64::from(inkwell::debug_info::debug_metadata_version()));
        flag("Dwarf Version", 4);
        let (builder, unit) = module.create_debug_info_builder(
            false,
            DWARFSourceLanguage::C,
            "wasm",
            "",
            "",
            optimised,
            "",
            0,
            "",
            DWARFEmissionKind::LineTablesOnly,
            0,
            false,
            false,
            "",
            "",
        );
        let ty = builder.create_subroutine_type(unit.get_file(), None, &[], DIFlags::PUBLIC);
        DebugInfo { builder, unit, ty, optimised }
    }

    /// Gives the function a scope for locations.
    pub fn describe(&self, function: FunctionValue<'c>, line: u32) -> DISubprogram<'c> {
        let name = function.get_name().to_string_lossy();
        let file = self.unit.get_file();
        let scope = self.builder.create_function(
            self.unit.as_debug_info_scope(),
            &name,
            None,
            file,
            line,
            self.ty,
            true,
            true,
            line,
            DIFlags::PUBLIC,
            self.optimised,
        );
        function.set_subprogram(scope);
        scope
    }

    /// The builder of locations.
    pub fn builder(&self) -> &DebugInfoBuilder<'c> {
        &self.builder
    }

    /// To be called before the module is used.
    pub fn finish(&self) {
        self.builder.finalize();
    }
}
