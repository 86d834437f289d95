//! The difference between two texts, line by line.

/// The largest table of lines to compare. For larger texts, all lines count as changed.
const CELLS_MAX: usize = 1 << 22;

/// The removed lines (`-`) of the old text and the added lines (`+`) of the new one, in order.
pub fn difference(then: &str, now: &str) -> Vec<String> {
    let (then, now): (Vec<_>, Vec<_>) = (then.lines().collect(), now.lines().collect());
    // Skip equal lines at both ends, which are most of a long playbook.
    let same = then
        .iter()
        .zip(&now)
        .take_while(|(old, new)| old == new)
        .count();
    let (then, now) = (&then[same..], &now[same..]);
    let same = then
        .iter()
        .rev()
        .zip(now.iter().rev())
        .take_while(|(old, new)| old == new)
        .count();
    let (then, now) = (&then[..then.len() - same], &now[..now.len() - same]);
    if then.len().saturating_mul(now.len()) > CELLS_MAX {
        let removed = then.iter().map(|line| format!("- {line}"));
        return removed
            .chain(now.iter().map(|line| format!("+ {line}")))
            .collect();
    }
    // The length of the longest common subsequence of the remaining lines, from the end.
    let mut common = vec![vec![0_u32; now.len() + 1]; then.len() + 1];
    for (i, old) in then.iter().enumerate().rev() {
        for (j, new) in now.iter().enumerate().rev() {
            common[i][j] = if old == new {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < then.len() || j < now.len() {
        if i < then.len() && j < now.len() && then[i] == now[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == now.len() || (i < then.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", then[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", now[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_lists_removed_and_added_lines() {
        assert_eq!(difference("a\nb\nc\n", "a\nc\nd\n"), ["- b", "+ d"]);
        assert_eq!(difference("a", "b"), ["- a", "+ b"]);
        assert!(difference("a\nb", "a\nb").is_empty());
        assert_eq!(difference("a\na\nb\nb", "a\nb"), ["- a", "- b"]);
        let long = |sign: &str| {
            (0..4000)
                .map(|n| format!("{sign}{n}"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(difference(&long("a"), &long("b")).len(), 8000);
    }
}
