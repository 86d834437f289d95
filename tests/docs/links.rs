//! Every relative link leads to a file, and every anchor to a heading.

use std::path::Path;

use crate::markdown::{Page, all, assert_none, root};

#[test]
fn links_lead_to_files_and_headings() {
    let mut problems = Vec::new();
    for page in all() {
        let broken = page.links().into_iter().filter_map(|link| {
            let why = problem(&page, &link.text)?;
            Some(format!("{}:{}: {}: {why}", page.path, link.line, link.text))
        });
        problems.extend(broken);
    }
    assert_none(&problems);
}

/// Why a link does not work.
fn problem(page: &Page, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        root().join(&page.path)
    } else {
        page.dir().join(path)
    };
    if !file.exists() {
        return Some("no such file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let page = Page::read(file.to_str().expect("a path in UTF-8"));
    if Path::new(&page.path)
        .extension()
        .is_none_or(|it| it != "md")
    {
        return Some("only pages have anchors".to_owned());
    }
    let anchors = page.anchors();
    (!anchors.iter().any(|it| it == anchor))
        .then(|| format!("no such heading; there are {}", anchors.join(", ")))
}

#[test]
fn broken_link_is_found() {
    let page = Page {
        path: "docs/page.md".to_owned(),
        text: "# Here\n[a](#here) [b](#there) [c](glossary.md) [d](missing.md) `[e](x.md)`\n"
            .to_owned(),
    };
    // An anchor of the same page is read from its file: the page above has none.
    let targets: Vec<_> = page.links().into_iter().map(|link| link.text).collect();
    assert_eq!(targets, ["#here", "#there", "glossary.md", "missing.md"]);
    assert_eq!(problem(&page, "glossary.md"), None);
    assert_eq!(
        problem(&page, "missing.md").as_deref(),
        Some("no such file")
    );
    assert!(problem(&page, "glossary.md#missing").is_some());
    assert_eq!(problem(&page, "glossary.md#safety"), None);
}
