//! In-place services: the old instance stops before the new one starts.

use crate::event_stream::Course;
use crate::project::LocalProject;

#[test]
fn in_place_deploy_takes_one_host_down_at_a_time() {
    let project = LocalProject::new()
        .with("[8081, 8082]", "[8081]")
        .with("max_surge = 1", "max_surge = 0")
        .with("max_unavailable = 0", "max_unavailable = 1")
        .on(&["node1", "node2", "node3"]);
    project.deploy("0.8");
    let course = Course::of_deploy(&project, &["--version", "0.9"]);
    let of = |node: &str| {
        ["stop", "stopped", "start", "ready"].map(|step| format!("{step} {node}:8081"))
    };
    assert_eq!(course.steps, ["node1", "node2", "node3"].map(of).concat());
    assert_eq!((course.most_running, course.fewest_ready), (3, 2));
    assert_eq!(
        project.running(),
        ["node1:8081 0.9", "node2:8081 0.9", "node3:8081 0.9"]
    );
}
