//! Folded stacks, and the flame graph that is drawn of them.

use super::ProfileConfig;
use super::stacks::{Kind, Stacks};
use crate::tiers::Tier;
use inferno::flamegraph::color::{Color, PaletteMap};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};
use std::io;

/// Writes a line for each stack, in order.
pub(super) fn folded(stacks: &Stacks, out: &mut impl io::Write) -> io::Result<()> {
    for line in lines(stacks) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn lines(stacks: &Stacks) -> Vec<String> {
    let counted = stacks.counts.iter().zip(0..).filter(|(count, _)| **count > 0);
    let line = |(count, stack): (&u64, u32)| {
        let frames = stacks.frames_of(stack);
        let labels = frames.iter().map(|frame| stacks.frames[*frame as usize].label.as_str());
        format!("{} {count}", labels.collect::<Vec<_>>().join(";"))
    };
    let mut lines: Vec<String> = counted.map(line).collect();
    lines.sort_unstable();
    lines
}

/// The report's colours, in its light scheme.
fn colour(kind: Kind) -> Color {
    let rgb = match kind {
        Kind::Tier(Tier::Interp) => 0xe0803a,
        Kind::Tier(Tier::Quick) => 0xd8b21f,
        Kind::Tier(Tier::Full) => 0x2f8f5b,
        Kind::Host => 0x7a6fc0,
        Kind::Wait => 0xb9c2cc,
        Kind::Compile => 0xc2557f,
        Kind::Other => 0x9a9a9a,
    };
    let [_, r, g, b] = u32::to_be_bytes(rgb);
    Color { r, g, b }
}

/// Draws the flame graph.
pub(super) fn graph(
    stacks: &Stacks,
    config: ProfileConfig,
    program: &str,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let mut palette = PaletteMap::default();
    for frame in &stacks.frames {
        palette.insert(&frame.label, colour(frame.kind));
    }
    let mut lines = lines(stacks);
    if lines.is_empty() {
        lines.push("[no samples] 1".into());
        palette.insert("[no samples]", colour(Kind::Other));
    }
    let mut options = Options::default();
    let (samples, rate) = (stacks.samples(), config.rate);
    let what = if config.waits { "time, waits included" } else { "processor time" };
    options.title = program.to_owned();
    options.subtitle = Some(format!(
        "{samples} samples of {what}, {rate} a second of each thread; interpreter orange, quick code yellow, full code green, host functions \
         violet, waits grey"
    ));
    options.palette_map = Some(&mut palette);
    options.count_name = "samples".into();
    options.name_type = "Function:".into();
    options.deterministic = true;
    options.text_truncate_direction = TextTruncateDirection::Right;
    from_lines(&mut options, lines.iter().map(String::as_str), out)
}
