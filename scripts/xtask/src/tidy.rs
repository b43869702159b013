//! The rules of the tree, checked.
//!
//! What a reader may rely on without looking (this crate knows nothing of that one, no file is a thousand lines,
//! nothing unsafe here) is worth only as much as what holds it. Each rule is a function from the tree to the
//! sentences that say where it is broken; an empty list is a tidy tree. The same check is a test of this crate,
//! so `cargo test` and continuous integration cannot skip it.

mod imports;
mod map;
mod tree;

use std::path::Path;

/// Prints what is out of order, one sentence a line.
///
/// # Errors
/// The number of broken rules, when it is not zero.
pub(crate) fn report(root: &Path) -> Result<(), String> {
    let problems = problems(root);
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("tidy: {count} to mend")),
    }
}

/// Every sentence of every rule.
fn problems(root: &Path) -> Vec<String> {
    let mut all = imports::problems(root);
    let files = tree::files(root);
    all.extend(tree::problems(root, &files));
    all.extend(map::problems(root));
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        let problems = super::problems(&crate::root());
        assert!(problems.is_empty(), "not tidy:\n{}", problems.join("\n"));
    }
}
