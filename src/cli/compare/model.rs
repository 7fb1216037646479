//! What a comparison gives: parts, each with figures of every contender in some cases.

use crate::cli::stats::{Summary, geomean};
use serde::{Deserialize, Serialize};

/// A whole comparison.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub version: String,
    /// Seconds since 1970.
    pub made: u64,
    pub machine: Machine,
    /// The flags of `updraft compare`.
    pub flags: Vec<String>,
    pub contenders: Vec<Engine>,
    /// Peers that could not be used, and why.
    pub left_out: Vec<(String, String)>,
    pub parts: Vec<Part>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub processors: usize,
    pub memory_bytes: u64,
    pub system: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Engine {
    pub name: String,
    pub version: String,
}

/// What a part's figures are. Less is better in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Seconds,
    Bytes,
}

/// How a part is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plot {
    /// A bar for each contender: the geometric mean of all cases.
    Bars,
    /// A line for each contender, over `axis`.
    Lines,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    pub id: String,
    pub title: String,
    pub note: String,
    pub unit: Unit,
    pub plot: Plot,
    pub cases: Vec<Case>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub name: String,
    /// Cases of one series make a line.
    pub series: String,
    /// Where on a line's axis it is.
    pub at: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    pub contender: String,
    /// One for each case.
    pub cells: Vec<Cell>,
}

/// A figure, or why there is none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cell {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figure: Option<Summary>,
    /// Of every run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<f64>,
    /// Processor time of every run, in seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpu: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Cell {
    pub fn median(&self) -> Option<f64> {
        self.figure.map(|figure| figure.median)
    }
}

impl Report {
    pub fn part(&self, id: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.id == id)
    }
}

impl Part {
    pub fn row(&self, contender: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.contender == contender)
    }

    /// The same runs by the processor time that they took.
    pub fn processor_time(&self, id: &str, title: &str) -> Part {
        let cell = |cell: &Cell| Cell {
            figure: cell.figure.map(|_| Summary::new(&cell.cpu)),
            values: cell.cpu.clone(),
            ..cell.clone()
        };
        let row = |row: &Row| Row {
            contender: row.contender.clone(),
            cells: row.cells.iter().map(cell).collect(),
        };
        Part {
            id: id.to_owned(),
            title: title.to_owned(),
            note: self.note.clone(),
            cases: self.cases.clone(),
            rows: self.rows.iter().map(row).collect(),
            ..*self
        }
    }

    /// The figure of a contender in a case.
    pub fn median(&self, contender: &str, case: &str) -> Option<f64> {
        let index = self.cases.iter().position(|known| known.name == case)?;
        self.row(contender)?.cells[index].median()
    }

    /// How many times the figures of `base` those of a contender are, by the geometric mean of the cases that both have and `wanted`
    /// names, and how many those are. None if there are none.
    pub fn ratio(
        &self,
        contender: &str,
        base: &str,
        wanted: impl Fn(&Case) -> bool,
    ) -> Option<(f64, usize)> {
        let (row, base) = (self.row(contender)?, self.row(base)?);
        let cells = self.cases.iter().zip(row.cells.iter().zip(&base.cells));
        let ratios: Vec<f64> = cells
            .filter(|(case, _)| wanted(case))
            .filter_map(|(_, (cell, base))| Some(cell.median()? / base.median()?))
            .collect();
        (!ratios.is_empty()).then(|| (geomean(&ratios), ratios.len()))
    }
}
