//! A deployment whose process is killed, paused or aborted, and how it ends.

use super::events::Events;
use super::project::StackProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Running;

/// When the process of a deployment is killed: after an event of a service.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The services whose new version is not ready before the gate is open.
    gated: &'static [&'static str],
    service: &'static str,
    event: &'static str,
    /// How many of these events have been printed.
    count: usize,
}

const FIRST_EVENT: Moment = Moment {
    gated: &["api", "worker"],
    service: "api",
    event: "rollout_started",
    count: 1,
};

const FIRST_START: Moment = Moment {
    gated: &["api", "worker"],
    service: "worker",
    event: "action_started",
    count: 1,
};

/// One of two concurrent services has finished.
const HALF: Moment = Moment {
    gated: &["worker"],
    service: "api",
    event: "rollout_finished",
    count: 1,
};

const LAST_SERVICE: Moment = Moment {
    gated: &["web"],
    service: "web",
    event: "action_started",
    count: 1,
};

const MOMENTS: [Moment; 4] = [FIRST_EVENT, FIRST_START, HALF, LAST_SERVICE];

/// Version 1 runs, and a deployment of version 2 has come to this moment.
fn under_way(moment: Moment) -> (StackProject, Running) {
    let project = StackProject::deployed();
    for service in moment.gated {
        project.release(service, "2", Behaviour::Gated);
    }
    let mut deploy = project.start_deploy();
    Events::await_events(&mut deploy, moment.service, moment.event, moment.count);
    (project, deploy)
}

/// The same, with the process killed and the gate open.
fn killed(moment: Moment) -> StackProject {
    let (project, deploy) = under_way(moment);
    deploy.signal("KILL");
    assert_eq!(deploy.wait().code, None);
    project.open_gate();
    project
}

#[test]
fn killed_deployment_is_finished_by_resume() {
    for moment in MOMENTS {
        let project = killed(moment);
        assert_eq!(
            project.deployments()[0],
            "2 deploy unfinished",
            "{moment:?}"
        );
        project.run(&["resume", "stack.toml"], 0);
        project.assert_serves("2");
        assert_eq!(
            project.deployments(),
            ["2 deploy succeeded", "1 deploy succeeded"]
        );
    }
}

#[test]
fn killed_deployment_is_undone_by_abort() {
    for moment in MOMENTS {
        let project = killed(moment);
        project.run(&["abort", "stack.toml"], 0);
        project.assert_serves("1");
        assert_eq!(
            project.deployments(),
            ["2 deploy rolled-back", "1 deploy succeeded"]
        );
    }
}

#[test]
fn deploy_over_an_unfinished_deployment_is_refused() {
    let project = killed(HALF);
    let shown = project.run(&["status", "stack.toml"], 0).stdout;
    assert!(
        shown.ends_with(
            "\ndeployment 2 is not finished: `ship resume` continues, `ship abort` undoes it\n"
        ),
        "{shown}"
    );
    let pids = project.pids();
    for version in ["1", "2"] {
        let done = project.run(&["deploy", "stack.toml", "--version", version], 6);
        assert_eq!(
            done.stderr,
            "error: deployment 2 is not finished\nhint: finish it first with `ship resume`, or undo it \
             with `ship abort`\n"
        );
    }
    assert_eq!(project.pids(), pids);
    assert_eq!(project.deployments()[0], "2 deploy unfinished");
}

#[test]
fn unattended_deploy_finishes_the_unfinished_one_first() {
    let project = killed(HALF);
    for service in super::project::SERVICES {
        project.release(service, "3", Behaviour::Good);
    }
    let args = ["deploy", "stack.toml", "--version", "3", "--unattended"];
    // The time for which the first new instance is observed is a minute by default.
    for service in super::project::SERVICES {
        project.append(
            &format!("{service}.toml"),
            "\n[unattended]\nsoak = \"0s\"\n",
        );
    }
    project.run(&args, 0);
    project.assert_serves("3");
    assert_eq!(
        project.deployments()[..2],
        ["3 deploy succeeded", "2 deploy succeeded"]
    );
}

#[test]
fn unattended_deploy_undoes_the_unfinished_one_if_a_playbook_wants_it() {
    let project = killed(LAST_SERVICE);
    project.append("api.toml", "\n[unattended]\non_interrupted = \"abort\"\n");
    project.run(&["deploy", "--version", "2", "--unattended"], 0);
    project.assert_serves("1");
    assert_eq!(project.deployments()[0], "2 deploy rolled-back");
}

#[test]
fn rollback_that_was_killed_continues_backwards() {
    let project = StackProject::deployed();
    project.release("web", "2", Behaviour::Exits);
    // Version 2 does not stop before the gate is open, so the undo takes until then.
    project.release("api", "2", Behaviour::Lingers);
    let mut deploy = project.start_deploy();
    Events::await_events(&mut deploy, "api", "rollout_started", 2);
    deploy.signal("KILL");
    assert_eq!(deploy.wait().code, None);
    project.open_gate();
    project.run(&["resume", "stack.toml"], 3);
    project.assert_serves("1");
    assert_eq!(project.deployments()[0], "2 deploy rolled-back");
}

#[test]
fn resume_of_one_service_of_an_unfinished_deployment_is_refused() {
    let project = killed(HALF);
    for verb in ["resume", "abort"] {
        let done = project.run(&[verb, "stack.toml", "--service", "worker"], 2);
        assert!(
            done.stderr
                .contains("error: deployment 2 also changes service `api`, which is not selected"),
            "{}",
            done.stderr
        );
    }
    assert_eq!(project.deployments()[0], "2 deploy unfinished");
}

#[test]
fn running_deployment_is_aborted_from_another_process() {
    let (project, deploy) = under_way(HALF);
    project.run(&["abort", "stack.toml"], 0);
    deploy.wait().exits(3);
    project.assert_serves("1");
    assert_eq!(project.deployments()[0], "2 deploy rolled-back");
}

#[test]
fn paused_deployment_is_finished_by_resume() {
    let (project, deploy) = under_way(LAST_SERVICE);
    let done = project.run(&["pause", "stack.toml", "--service", "web"], 0);
    assert!(
        done.stdout.contains("service `web` paused"),
        "{}",
        done.stdout
    );
    deploy.wait().exits(8);
    assert_eq!(project.deployments()[0], "2 deploy stopped");
    project.open_gate();
    project.run(&["resume", "stack.toml"], 0);
    project.assert_serves("2");
    assert_eq!(project.deployments()[0], "2 deploy succeeded");
}

#[test]
fn pause_of_a_stack_pauses_the_services_that_roll_out() {
    let (project, deploy) = under_way(LAST_SERVICE);
    project.run(&["pause", "stack.toml"], 0);
    deploy.wait().exits(8);
    assert_eq!(project.deployments()[0], "2 deploy stopped");
    project.open_gate();
    project.run(&["resume", "stack.toml"], 0);
    project.assert_serves("2");
}

#[test]
fn interrupted_deployment_names_the_way_on() {
    let (project, deploy) = under_way(FIRST_START);
    deploy.signal("INT");
    let done = deploy.wait().exits(130);
    let last = Events::of(&done.stdout);
    assert_eq!(last.last()["outcome"], "stopped");
    project.open_gate();
    project.run(&["abort", "stack.toml"], 0);
    project.assert_serves("1");
}

#[test]
fn second_deploy_is_refused_while_the_first_one_runs() {
    let (project, deploy) = under_way(HALF);
    let done = project.run(&["deploy", "stack.toml", "--version", "1"], 6);
    assert!(
        done.stderr.contains("is locked by ") || done.stderr.contains("locked by "),
        "{}",
        done.stderr
    );
    project.open_gate();
    deploy.wait().exits(0);
    project.assert_serves("2");
}
