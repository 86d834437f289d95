use super::*;
use crate::core::analysis::compare::Tolerance;
use crate::core::analysis::measurement::{Measurement, Number};

fn bound(text: &str) -> Bound {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn analysis(failures: u32, errors: u32, on_inconclusive: OnInconclusive) -> Analysis {
    let tolerance = Tolerance {
        error_points: Number::ZERO,
        latency_percent: Number::ZERO,
        min_requests: 20,
    };
    Analysis {
        name: "rate".into(),
        method: MeasurementMethod::Compare(tolerance),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        failure_limit: failures,
        consecutive_error_limit: errors,
        on_inconclusive,
        dry_run: false,
    }
}

/// A record of one measurement per second: S(uccess), F(ailure), I(nconclusive), E(rror).
fn record(findings: &str) -> Record {
    let found = findings.chars().zip(1..).map(|(letter, s)| {
        let finding = match letter {
            'S' => Finding::Success,
            'F' => Finding::Failure,
            'I' => Finding::Inconclusive,
            _ => Finding::Error,
        };
        (Time(s * 1000), finding)
    });
    found
        .fold(None, |record, (at, finding)| {
            Some(Record::add_to(record, at, finding, "measured"))
        })
        .expect("one at least")
}

#[test]
fn bound_is_a_comparison_with_a_number() {
    for (text, number, admits) in [
        (">= 0.99", 0.99, true),
        (">=0.99", 0.989, false),
        ("< 5%", 0.049, true),
        ("< 5 %", 0.05, false),
        ("<= 5%", 0.05, true),
        ("> -1", 0.0, true),
        ("== 0", -0.0, true),
        ("== 1", 1.1, false),
        ("!= 0", 0.0, false),
        ("<1e3", 999.0, true),
    ] {
        assert_eq!(bound(text).admits(number), admits, "{number} {text}");
    }
    for (text, why) in [
        ("0.99", "expected <, <=, >, >=, == or != at the beginning"),
        ("= 1", "expected <, <=, >, >=, == or != at the beginning"),
        (">= ", "`` is not a number"),
        ("> 1 && < 2", "`1 && < 2` is not a number"),
        ("< inf", "`inf` is not a number"),
        ("< 5%%", "`5%` is not a number"),
    ] {
        assert_eq!(text.parse::<Bound>(), Err(why.to_owned()), "{text}");
    }
}

#[test]
fn measurement_detail_contains_number_and_bound() {
    let message = |number, text| Measurement::of(number, &bound(text)).detail;
    assert_eq!(message(0.048_123, "< 1%"), "4.812% is not < 1%");
    assert_eq!(message(0.999_5, ">= 0.99"), "0.9995 is >= 0.99");
    assert_eq!(message(1_234_567.0, "<2000000"), "1234567 is < 2000000");
    assert_eq!(
        Measurement::of(f64::NAN, &bound("< 1")).finding,
        Finding::Inconclusive
    );
    assert_eq!(
        Measurement::of(f64::INFINITY, &bound("> 1")).finding,
        Finding::Inconclusive
    );
}

#[test]
fn command_passes_by_its_exit_status_or_its_number() {
    let of = |status, stdout, bound: Option<Bound>| {
        Measurement::of_command(status, stdout, "oh\nno\n", bound.as_ref())
    };
    let (found, detail) = (|it: &Measurement| it.finding, |it: Measurement| it.detail);
    let few = || Some(bound("< 5"));
    assert_eq!(found(&of(0, "", None)), Finding::Success);
    assert_eq!(found(&of(0, " 4\n", few())), Finding::Success);
    assert_eq!(detail(of(0, "6\n", few())), "6 is not < 5");
    assert_eq!(detail(of(1, "4\n", few())), "exit status 1: 4");
    assert_eq!(
        of(0, "many\n", few()),
        Measurement::error("the command did not print a number: many")
    );
    assert_eq!(of(2, "", None), Measurement::error("exit status 2: no"));
}

#[test]
fn analysis_is_breached_by_the_first_failure_beyond_its_limit() {
    use OnInconclusive::{Fail, Hold, Pass};
    for (findings, failures, errors, on_inconclusive, is_breach) in [
        ("F", 0, 4, Pass, true),
        ("SF", 1, 4, Pass, false),
        ("FSSF", 1, 4, Pass, true),
        ("EEEE", 0, 4, Pass, false),
        ("EEEEE", 0, 4, Pass, true),
        ("EEEESEEEE", 0, 4, Pass, false),
        ("E", 0, 0, Pass, true),
        ("III", 0, 0, Pass, false),
        ("III", 0, 0, Hold, false),
        ("I", 0, 0, Fail, true),
        ("FI", 1, 0, Fail, true),
    ] {
        let analysis = analysis(failures, errors, on_inconclusive);
        assert_eq!(
            analysis.breach(&record(findings)).is_some(),
            is_breach,
            "{findings} {failures} {errors}"
        );
        assert_eq!(
            Analysis {
                dry_run: true,
                ..analysis
            }
            .breach(&record(findings)),
            None,
            "{findings}"
        );
    }
    let message = analysis(1, 4, Pass).breach(&record("FF"));
    assert_eq!(
        message.as_deref(),
        Some("rate: measured (2 failed, limit 1)")
    );
}

#[test]
fn analysis_holds_step_until_measured_since_step_was_reached() {
    use OnInconclusive::{Fail, Hold, Pass};
    let holds = |findings, reached_s: u64, on_inconclusive| {
        analysis(9, 9, on_inconclusive)
            .wait_reason(Some(&record(findings)), Time(reached_s * 1000))
            .is_some()
    };
    assert!(holds("SS", 3, Pass), "not measured since");
    assert!(!holds("SS", 2, Pass));
    assert!(!holds("F", 0, Pass), "it is tolerated");
    assert!(holds("SE", 0, Pass));
    assert!(!holds("SI", 0, Pass));
    assert!(holds("SI", 0, Hold));
    assert!(!holds("SI", 0, Fail));
    let analysis = analysis(0, 0, Hold);
    assert_eq!(
        analysis.wait_reason(None, Time(0)).as_deref(),
        Some("rate has not been measured yet")
    );
    assert_eq!(
        Analysis {
            dry_run: true,
            ..analysis
        }
        .wait_reason(None, Time(0)),
        None
    );
}
