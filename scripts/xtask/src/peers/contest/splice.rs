//! Puts the short table of a run between two lines of a page that quotes it, so that nobody copies figures by hand.

use std::fs;
use std::path::Path;

/// Pages that quote the run, by their path from the root.
const PAGES: [&str; 2] = ["bench-results/README.md", "README.md"];

/// The lines between which everything is replaced, for a command such as `scripts/peers dht`.
fn lines(command: &str) -> (String, String) {
    (format!("<!-- {command}: begin -->"), format!("<!-- {command}: end -->"))
}

/// Renews the table that this command made in every page that has its lines, and says which has not.
pub(in crate::peers) fn renew(
    root: &Path,
    folder: &Path,
    command: &str,
    table: &str,
    busy: bool,
) -> Result<(), String> {
    let inside = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
    for page in PAGES {
        let path = root.join(page);
        let wrong = |error: std::io::Error| format!("{page}: {error}");
        let text = fs::read_to_string(&path).map_err(wrong)?;
        let link = match page.strip_suffix("README.md") {
            Some(own) => inside.strip_prefix(own).unwrap_or(&inside).to_owned(),
            None => inside.clone(),
        };
        let warning = if busy { "**On a busy machine.** " } else { "" };
        let block =
            format!("{warning}{table}\nThe whole run, with its command: [{link}]({link}/README.md).\n");
        match between(&text, command, &block) {
            Some(renewed) => fs::write(&path, renewed).map_err(wrong)?,
            None => println!("{page} is not renewed: it has no line `{}`.", lines(command).0),
        }
    }
    Ok(())
}

/// The page with this block between the lines.
fn between(page: &str, command: &str, block: &str) -> Option<String> {
    let (begin, end) = lines(command);
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{block}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_lines_is_replaced_and_nothing_else() {
        let (begin, end) = lines("x");
        let page = format!("# Page\n\n{begin}\nold\n{end}\n\nafter\n");
        let renewed = between(&page, "x", "new\n").expect("it has the lines");
        assert_eq!(renewed, format!("# Page\n\n{begin}\nnew\n{end}\n\nafter\n"));
        assert_eq!(between(&renewed, "x", "new\n"), Some(renewed.clone()));
        assert_eq!(between(&renewed, "y", "new\n"), None);
        assert_eq!(between(&format!("{end}{begin}"), "x", "new\n"), None);
    }
}
