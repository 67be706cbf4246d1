//! What aws-sdk-ec2 sends for us, as it arrives at an endpoint that plays EC2 and STS: what a launch says, what a filter means, which region.

mod common;

use common::program::{ask, begin_with, end, now, server};
use common::{settings, up};
use fake::disks::{Disk, OTHER_ROOT};
use fake::model::Tags;
use provider::{Ask, Caps, Fault, Request};
use vantage_ec2::tags::{MANAGED_BY, RUN, US};

fn order(more: serde_json::Value) -> Request {
    let mut settings = settings(&serde_json::json!({"regions": []}));
    settings.extend(more.as_object().expect("an object").clone());
    up("run-1", 1, now() + 3_600, Caps { instances: 10, hours: 3.0, usd: 5.0 }, settings)
}

#[test]
fn a_launch_leaves_nothing_to_the_account_or_the_image() {
    let server = server();
    let said = ask(&server.url(), &order(serde_json::json!({"public_address": false})));
    assert!(said.done(), "{:?} {:?}", said.lines, said.end);
    let last = server.state().last.expect("one");
    assert_eq!((last.tokens_required, last.metadata), (true, (Some(true), Some(1))), "metadata: on, with tokens, no hop further");
    // What the price counts, and what is left behind: nothing.
    let disk = Disk { device: "/dev/xvda".into(), gb: Some(8), kind: Some("gp3".into()), encrypted: true, goes: true };
    assert_eq!(last.disk, Some(disk));
    assert_eq!((last.interface_goes, last.shutdown_terminates, last.public_address), (true, true, false));
}

#[test]
fn an_image_with_another_root_is_refused_or_named() {
    let server = server();
    // Its own root would be there beside the disk that is paid for.
    let said = ask(&server.url(), &order(serde_json::json!({"image": OTHER_ROOT})));
    let (fault, words) = said.wrong().expect("it has two disks");
    assert!(fault == Fault::Request && words.contains("/dev/sda1") && words.contains("root_device"), "{words}");
    assert!(server.model().there(RUN, "run-1").is_empty(), "{:?}", server.model().there(RUN, "run-1"));
    let said = ask(&server.url(), &order(serde_json::json!({"image": OTHER_ROOT, "root_device": "/dev/sda1", "disk_gb": 20})));
    assert!(said.done(), "{:?} {:?}", said.lines, said.end);
    assert_eq!(server.state().last.expect("one").disk.map(|disk| (disk.device, disk.gb)), Some(("/dev/sda1".into(), Some(20))));
}

#[test]
fn a_run_is_its_name_and_no_pattern() {
    let server = server();
    // As a pattern it would mean the other, and not itself.
    let run = r"te*\m?";
    let tags = |run: &str| Tags::from([(MANAGED_BY.into(), US.into()), (RUN.into(), run.into())]);
    let own = server.model().strange("eu-central-1", tags(run));
    let other = server.model().strange("eu-central-1", tags("teammx"));
    let down = Request::new(Ask::Down { run: run.into(), order: None }, false, settings(&serde_json::json!({"regions": []})));
    let said = ask(&server.url(), &down);
    assert!(said.done(), "{:?} {:?}", said.lines, said.end);
    let ended = |id: &String| server.model().instances[id].ended.is_some();
    assert_eq!((ended(&own), ended(&other)), (true, false));
}

/// A role is taken at the STS of the region that AWS's own tools would take, else of that of the settings: that of another partition (China)
/// knows nobody.
#[test]
fn a_role_is_taken_in_a_region_that_knows_us() {
    let folder = std::env::temp_dir().join(format!("whostalled-role-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let config = folder.join("config");
    for (profile, environment, region) in [
        ("", None, "eu-central-1"),
        ("region = eu-west-2\n", None, "eu-west-2"),
        ("region = eu-west-2\n", Some("ap-southeast-1"), "ap-southeast-1"),
    ] {
        let text = format!(
            "[profile ops]\nrole_arn = arn:aws:iam::123456789012:role/ops\nsource_profile = base\n{profile}\
             [profile base]\naws_access_key_id = AKIDTEST\naws_secret_access_key = secret\n"
        );
        std::fs::write(&config, text).expect("our own folder");
        let server = server();
        let mut with = vec![("AWS_CONFIG_FILE", config.to_str().expect("UTF-8")), ("AWS_PROFILE", "ops")];
        with.extend(environment.map(|region| ("AWS_REGION", region)));
        let list = Request::new(Ask::List { run: None }, false, settings(&serde_json::json!({"regions": []})));
        let said = end(begin_with(&server.url(), &list, &with));
        assert!(said.done(), "{:?} {:?}", said.lines, said.end);
        let calls = server.model().calls.clone();
        let expected = [("AssumeRole", region), ("DescribeInstances", "eu-central-1")];
        assert_eq!(calls, expected.map(|(call, region)| (call.to_owned(), region.to_owned())));
    }
    std::fs::remove_dir_all(&folder).expect("our own folder");
}
