//! Puts the short table of a run between two lines of a page that quotes it, so that nobody copies figures by hand.

use super::outcome::Outcomes;
use std::fs;
use std::path::Path;

/// Between these lines everything is replaced.
const BEGIN: &str = "<!-- scripts/peers dht: begin -->";
const END: &str = "<!-- scripts/peers dht: end -->";
/// Pages that quote the run, by their path from the root.
const PAGES: [&str; 2] = ["bench-results/README.md", "README.md"];

/// Renews the table in every page that has the lines, and says which has not.
pub(super) fn renew(root: &Path, folder: &Path, outcomes: &Outcomes, busy: bool) -> Result<(), String> {
    let table = outcomes.summary();
    if table.is_empty() {
        println!("No page was renewed: they quote get/small, which was not measured.");
        return Ok(());
    }
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
        match between(&text, &block) {
            Some(renewed) => fs::write(&path, renewed).map_err(wrong)?,
            None => println!("{page} is not renewed: it has no lines `{BEGIN}` and `{END}`."),
        }
    }
    Ok(())
}

/// The page with this block between the lines.
fn between(page: &str, block: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{block}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_lines_is_replaced_and_nothing_else() {
        let page = format!("# Page\n\n{BEGIN}\nold\n{END}\n\nafter\n");
        let renewed = between(&page, "new\n").expect("it has the lines");
        assert_eq!(renewed, format!("# Page\n\n{BEGIN}\nnew\n{END}\n\nafter\n"));
        assert_eq!(between(&renewed, "new\n"), Some(renewed.clone()));
        assert_eq!(between("# Page\n", "new\n"), None);
        assert_eq!(between(&format!("{END}{BEGIN}"), "new\n"), None);
    }
}
