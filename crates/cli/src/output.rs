//! Printing: tables as SONiC's commands print them, and JSON. Standard output is data; talk goes to standard error.

use std::io::{self, Write};

use serde::Serialize;

/// Writes a line. A reader that went away (`| head`) ends the output, not the command.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Writes a value as an indented JSON document.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(&text),
        Err(error) => tell(&format!("cannot be written as JSON: {error}")),
    }
}

/// Says something to the person at the terminal.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes a table in tabulate's "simple" format, which SONiC's commands use: header, dashes, two spaces between.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let _ = io::stdout().write_all(render(header, rows).as_bytes());
}

/// The table as text.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        // tabulate makes a column at least two characters wider than its header.
        cells.max().unwrap_or_default().max(header[column].chars().count() + 2)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let join = |cells: Vec<String>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = join(header.iter().map(|name| (*name).to_owned()).collect());
    text += &join(widths.iter().map(|width| "-".repeat(*width)).collect());
    for row in rows {
        text += &join(row.clone());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_dashes_as_wide_as_its_widest_cell() {
        let rows = [vec!["snmp".to_owned(), String::new()], vec!["a".to_owned(), "enabled".to_owned()]];
        assert_eq!(
            render(&["Name", "State"], &rows),
            "Name    State\n------  -------\nsnmp\na       enabled\n"
        );
    }
}
