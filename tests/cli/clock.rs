//! A control machine whose clock changes during a deploy.

use crate::project::LocalProject;
use ship_testing::fake_clock::fake_clock_library;
use ship_testing::namespace::write;

#[test]
fn deploy_continues_when_the_clock_changes() {
    let Some(library) = fake_clock_library() else {
        eprintln!("not run: libfaketime is not installed");
        return;
    };
    let project = LocalProject::small().with("[rollout]", "[rollout]\nmin_ready = \"1s\"");
    project.deploy("0.8");
    for (version, step) in [("0.9", "-3600"), ("0.8", "+3600")] {
        let offset = project.path("offset");
        write(&offset, "+0");
        let mut deploy = project
            .ship(&["deploy", "inventory.toml", "--version", version])
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .spawn();
        deploy.await_words("started");
        write(&offset, step);
        deploy.wait().exits(0);
        assert!(project.running()[0].ends_with(version));
    }
}
