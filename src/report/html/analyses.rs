//! The measurements of each analysis on the time axis.

use serde::Serialize;

use super::time_axis::{Span, Tick};
use crate::core::analysis::measurement::Finding;
use crate::core::rollout::event::{Entry, Event};

/// One analysis and its measurements.
#[derive(Debug, Default, Serialize)]
pub(super) struct AnalysisChart {
    name: String,
    is_dry_run: bool,
    points: Vec<Tick>,
    summary: String,
    last: String,
}

/// The charts of all analyses, ordered by their first measurement.
pub(super) fn analyses(journal: &[Entry], span: Span) -> Vec<AnalysisChart> {
    let mut analyses: Vec<(AnalysisChart, [usize; 4])> = Vec::new();
    for entry in journal {
        let Event::Measured {
            analysis,
            outcome,
            detail,
            dry_run,
            ..
        } = &entry.event
        else {
            continue;
        };
        let at = analyses
            .iter()
            .position(|(known, _)| known.name == *analysis)
            .unwrap_or_else(|| {
                let new = AnalysisChart {
                    name: analysis.clone(),
                    is_dry_run: *dry_run,
                    ..AnalysisChart::default()
                };
                analyses.push((new, [0; 4]));
                analyses.len() - 1
            });
        let Some((known, counts)) = analyses.get_mut(at) else {
            continue;
        };
        let (nth, label, class) = match outcome {
            Finding::Success => (0, "●", "pass"),
            Finding::Failure => (1, "✗", "fail"),
            Finding::Inconclusive => (2, "–", "none"),
            Finding::Error => (3, "!", "error"),
        };
        counts[nth] += 1;
        known
            .points
            .push(Tick::at(entry.at, span, label.to_owned(), class));
        known.last = format!("{outcome}: {detail}");
    }
    let words = ["passed", "failed", "inconclusive", "failed to run"];
    let summed = |(mut analysis, counts): (AnalysisChart, [usize; 4])| {
        let parts = counts.iter().zip(words).filter(|(count, _)| **count > 0);
        analysis.summary = parts
            .map(|(count, word)| format!("{count} {word}"))
            .collect::<Vec<_>>()
            .join(", ");
        analysis
    };
    analyses.into_iter().map(summed).collect()
}
