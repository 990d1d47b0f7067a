//! Columns that line up. Knows nothing of what is in them.

/// Lines up rows under a head, two spaces between columns; control characters are left out.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let clean = |cell: &str| shellgate_client::problem::plain(cell);
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, title)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count());
            cells.chain([title.len()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let head = head.iter().map(|&title| title.to_owned()).collect();
    for row in [&head].into_iter().chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_a_hostile_name_draws_nothing() {
        let rows = [vec!["a\x1b[2J".into(), "x".into()], vec!["äöü-long".into(), "y".into()]];
        let text = table(&["NAME", "ID"], &rows);
        assert_eq!(text, "NAME      ID\na[2J      x\näöü-long  y\n");
    }
}
