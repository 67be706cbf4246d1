//! The policies of terraform/ and the calls that are made: each call as IAM sees it, by its resources and what is known of them. In: calls of
//! the program to an endpoint that plays EC2; policies as terraform renders them (`make terraform` compares the files). What is called is
//! allowed and no other action is; what must not be is refused; and no statement, condition or resource can go without one of both.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use common::program::{ask, now};
use common::{settings, up};
use fake::http::{Server, Setup};
use fake::model::{Character, Instance, Launch, Model, Tags};
use provider::{Ask, Caps, Request};
use serde_json::{Value, json};
use vantage_ec2::tags::{EXPIRES, KEEP, MANAGED_BY, MARKED, RUN, US};

const CAPS: Caps = Caps { instances: 10, hours: 3.0, usd: 5.0 };
/// As in the tests of terraform's modules.
const ACCOUNT: &str = "123456789012";
const STRANGER: &str = "999999999999";
/// What a launch makes.
const MADE: [&str; 3] = ["instance", "volume", "network-interface"];

/// A question to IAM: may this be done with that, where this is known?
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Question {
    action: String,
    resource: String,
    known: BTreeMap<String, Vec<String>>,
}

fn question(action: &str, region: &str, resource: impl Into<String>) -> Question {
    Question { action: action.into(), resource: resource.into(), known: BTreeMap::new() }.with("aws:RequestedRegion", region)
}

fn ec2(action: &str, region: &str, resource: &str) -> Question {
    question(&format!("ec2:{action}"), region, format!("arn:aws:ec2:{region}:{ACCOUNT}:{resource}"))
}

impl Question {
    fn with(mut self, key: &str, value: &str) -> Self {
        self.known.insert(key.into(), vec![value.into()]);
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.known.remove(key);
        self
    }

    fn tagged(mut self, whose: &str, tags: &Tags) -> Self {
        self.known.extend(tags.iter().map(|(key, value)| (format!("aws:{whose}/{key}"), vec![value.clone()])));
        self
    }

    fn setting(self, tags: &Tags) -> Self {
        let mut told = self.tagged("RequestTag", tags);
        told.known.insert("aws:TagKeys".into(), tags.keys().cloned().collect());
        told
    }
}

/// `*` is any words, `?` any character.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| is_like(&pattern[1..], &text[at..])),
        Some(wanted) => text
            .chars()
            .next()
            .is_some_and(|c| (wanted == '?' || wanted == c) && is_like(&pattern[wanted.len_utf8()..], &text[c.len_utf8()..])),
    }
}

/// A word, or a list of words.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(all) => all.iter().map(|word| word.as_str().expect("a word")).collect(),
        one => vec![one.as_str().expect("a word")],
    }
}

fn holds(operator: &str, key: &str, wanted: &Value, known: &BTreeMap<String, Vec<String>>) -> bool {
    let (wanted, is) = (words(wanted), known.get(key));
    let any = |like: fn(&str, &str) -> bool| is.is_some_and(|is| is.iter().any(|is| wanted.iter().any(|word| like(word, is))));
    match operator {
        "StringEquals" | "Bool" => any(|word, is| word == is),
        "StringNotEquals" => !any(|word, is| word == is),
        "StringLike" => any(is_like),
        "BoolIfExists" => is.is_none() || any(|word, is| word == is),
        "ForAllValues:StringEquals" => is.is_none_or(|is| is.iter().all(|is| wanted.contains(&is.as_str()))),
        "Null" => is.is_none() == (wanted == ["true"]),
        other => panic!("{other} is not played"),
    }
}

fn applies(statement: &Value, to: &Question) -> bool {
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    words(&statement["Action"]).iter().any(|action| is_like(action, &to.action))
        && words(&statement["Resource"]).iter().any(|resource| is_like(resource, &to.resource))
        && conditions
            .flat_map(|(operator, keys)| keys.as_object().expect("keys").iter().map(move |(key, wanted)| (operator, key, wanted)))
            .all(|(operator, key, wanted)| holds(operator, key, wanted, &to.known))
}

fn statements(policy: &Value) -> &Vec<Value> {
    policy["Statement"].as_array().expect("statements")
}

fn allows(policy: &Value, asked: &Question) -> bool {
    let any = |effect| statements(policy).iter().any(|s| s["Effect"] == effect && applies(s, asked));
    any("Allow") && !any("Deny")
}

fn policy(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform/modules").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn actions<'a>(all: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    all.into_iter().map(str::to_owned).collect()
}

/// What a launch asks of IAM: one question for each thing that it makes or uses, and for what EC2 does in the caller's name.
fn of_launch(launch: &Launch) -> Vec<Question> {
    let region = launch.region.as_str();
    let mut all = Vec::new();
    for kind in MADE {
        let tags = launch.tags.get(kind).cloned().unwrap_or_default();
        let mut run = ec2("RunInstances", region, &format!("{kind}/*")).setting(&tags);
        if kind == "instance" {
            run = run.with("ec2:InstanceType", &launch.kind);
            run = run.with("ec2:MetadataHttpTokens", if launch.tokens_required { "required" } else { "optional" });
        }
        all.push(run);
        all.push(ec2("CreateTags", region, &format!("{kind}/*")).setting(&tags).with("ec2:CreateAction", "RunInstances"));
    }
    all.extend(["subnet/subnet-1", "security-group/sg-1"].map(|used| ec2("RunInstances", region, used)));
    all.push(question("ec2:RunInstances", region, format!("arn:aws:ec2:{region}::image/ami-1")));
    if let Some(parameter) = launch.image.strip_prefix("resolve:ssm:") {
        all.push(question("ssm:GetParameters", region, format!("arn:aws:ssm:{region}::parameter{parameter}")));
    }
    if let Some(profile) = &launch.profile {
        let role = question("iam:PassRole", region, format!("arn:aws:iam::{ACCOUNT}:role/{profile}"));
        all.push(role.with("iam:PassedToService", "ec2.amazonaws.com"));
    }
    all
}

/// What all calls asked of IAM: of everything that there was, as who could end all of it must be let do.
fn of_calls(model: &Model) -> Vec<Question> {
    let mut all = Vec::new();
    let marks =
        |i: &Instance| i.tags.clone().into_iter().filter(|(key, _)| !i.launch.tags["instance"].contains_key(key)).collect();
    for (action, region) in &model.calls {
        let things = |things: &BTreeMap<String, fake::model::Thing>, kind: &str| -> Vec<Question> {
            let each = |thing: &fake::model::Thing| {
                ec2(action, region, &format!("{kind}/{}", thing.id)).tagged("ResourceTag", &thing.tags)
            };
            things.values().map(each).collect()
        };
        let instances = || {
            let each = |i: &Instance| {
                ec2(action, region, &format!("instance/{}", i.id)).tagged("ResourceTag", &i.launch.tags["instance"])
            };
            model.instances.values().map(move |i| (i, each(i)))
        };
        all.extend(match action.as_str() {
            "RunInstances" => model.instances.values().flat_map(|i| of_launch(&i.launch)).collect(),
            "DescribeInstances" | "DescribeVolumes" | "DescribeNetworkInterfaces" => {
                vec![question(&format!("ec2:{action}"), region, "*")]
            }
            "TerminateInstances" => instances().map(|(_, asked)| asked).collect(),
            "DeleteVolume" => things(&model.volumes, "volume"),
            "DeleteNetworkInterface" => things(&model.interfaces, "network-interface"),
            "CreateTags" => instances().map(|(i, asked)| asked.setting(&marks(i))).collect(),
            other => panic!("{other} is not known here"),
        });
    }
    all.sort();
    all.dedup();
    all
}

/// What is wrong with a policy, where these are to be allowed, and those not.
fn wrong(policy: &Value, wanted: &[Question], unwanted: &[Question]) -> Option<String> {
    let refused = wanted.iter().find(|asked| !allows(policy, asked)).map(|asked| format!("refused: {asked:?}"));
    refused.or_else(|| unwanted.iter().find(|asked| allows(policy, asked)).map(|asked| format!("allowed: {asked:?}")))
}

/// That a policy is right, and that each part of it is needed for that.
fn is_right_to_its_last_word(policy: &Value, wanted: &[Question], unwanted: &[Question]) {
    // What is allowed in one account is in no other.
    let elsewhere = |asked: &Question| Question { resource: asked.resource.replace(ACCOUNT, STRANGER), ..asked.clone() };
    let elsewhere = wanted.iter().filter(|asked| asked.resource.contains(ACCOUNT)).map(elsewhere);
    let unwanted: Vec<Question> = unwanted.iter().cloned().chain(elsewhere).collect();
    assert_eq!(wrong(policy, wanted, &unwanted), None);
    let allowed = statements(policy).iter().filter(|s| s["Effect"] == "Allow").flat_map(|s| words(&s["Action"]));
    assert_eq!(actions(allowed), actions(wanted.iter().map(|asked| asked.action.as_str())), "no other action is allowed");
    for (n, statement) in statements(policy).iter().enumerate() {
        let spoilt = |what: &str, change: &dyn Fn(&mut Vec<Value>)| {
            let mut spoilt = policy.clone();
            change(spoilt["Statement"].as_array_mut().expect("statements"));
            assert!(wrong(&spoilt, wanted, &unwanted).is_some(), "{what} is not seen: {statement:#}");
        };
        spoilt("that it is gone", &|all| drop(all.remove(n)));
        let other = if statement["Effect"] == "Allow" { "Deny" } else { "Allow" };
        spoilt("another effect", &|all| all[n]["Effect"] = other.into());
        for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
            for key in keys.as_object().expect("keys").keys() {
                spoilt(key, &|all| drop(all[n]["Condition"][operator].as_object_mut().expect("keys").remove(key)));
            }
        }
        if statement["Effect"] == "Allow" && statement["Resource"] != "*" {
            spoilt("a resource that is any", &|all| all[n]["Resource"] = "*".into());
        }
    }
}

fn ours(end: u64) -> Tags {
    Tags::from([(MANAGED_BY.into(), US.into()), (RUN.into(), "run-1".into()), (EXPIRES.into(), end.to_string())])
}

fn standing() -> Tags {
    Tags::from([(MANAGED_BY.into(), "terraform".into()), (KEEP.into(), "true".into())])
}

fn request(ask: Ask) -> Request {
    Request::new(ask, false, settings(&json!({})))
}

/// What bringing up, listing and taking down asked, and the launch.
fn controlled() -> (Vec<Question>, Launch) {
    let server = Server::start(Setup::default());
    server.model().character = Character { boot: 1, leaves_parts: true, ..Character::default() };
    server.model().ending = 1;
    let of = settings(&json!({"instance_profile": "whostalled-brought-up"}));
    assert!(ask(&server.url(), &up("run-1", 1, now() + 3_600, CAPS, of)).done());
    assert!(ask(&server.url(), &request(Ask::List { run: None })).done());
    assert!(ask(&server.url(), &request(Ask::Down { run: "run-1".into(), order: None })).done());
    let model = server.model();
    let launch = model.instances.values().next().expect("one was launched").launch.clone();
    (of_calls(&model), launch)
}

/// What the reaper asked.
fn reaped() -> Vec<Question> {
    let server = Server::start(Setup::default());
    server.model().character = Character { boot: 0, script_runs: false, leaves_parts: true, ..Character::default() };
    server.model().ending = 1;
    let all = MADE.map(|kind| (kind.to_owned(), ours(now() - 10)));
    let launch = Launch { region: "eu-central-1".into(), kind: "t2.medium".into(), tags: all.into(), ..Launch::default() };
    server.model().run_instances(&launch).expect("it is launched");
    server.model().calls.clear();
    let until = now() + 60;
    while !server.model().there(RUN, "run-1").is_empty() && now() < until {
        assert!(ask(&server.url(), &request(Ask::Reap { grace_s: 0 })).done());
        std::thread::sleep(Duration::from_millis(500));
    }
    let model = server.model();
    assert!(model.there(RUN, "run-1").is_empty());
    of_calls(&model)
}

/// What nobody may do who has one of these policies.
fn never() -> Vec<Question> {
    let region = "eu-central-1";
    let mut all = Vec::new();
    for (action, kind) in [
        ("TerminateInstances", "instance/i-1"),
        ("DeleteVolume", "volume/vol-1"),
        ("DeleteNetworkInterface", "network-interface/eni-1"),
    ] {
        all.push(ec2(action, region, kind));
        all.push(ec2(action, region, kind).tagged("ResourceTag", &standing()));
    }
    let mark = Tags::from([(MARKED.into(), "1".into())]);
    all.push(ec2("CreateTags", region, "instance/i-1").setting(&mark));
    all.push(ec2("CreateTags", region, "instance/i-1").tagged("ResourceTag", &standing()).setting(&mark));
    let whose = Tags::from([(MANAGED_BY.into(), US.into())]);
    all.push(ec2("CreateTags", region, "instance/i-1").tagged("ResourceTag", &standing()).setting(&whose));
    let kept = Tags::from([(KEEP.into(), "true".into())]);
    all.push(ec2("CreateTags", region, "instance/i-1").tagged("ResourceTag", &ours(1)).setting(&kept));
    all.push(question("ssm:GetParameters", region, format!("arn:aws:ssm:{region}:{ACCOUNT}:parameter/whostalled/agents/ec2-1")));
    all
}

/// The same launch as nobody may ask for it: each has one thing that is not as it must be.
fn bad_launches(good: &Launch) -> Vec<Question> {
    let launched = |change: &dyn Fn(&mut Launch)| {
        let mut bad = good.clone();
        change(&mut bad);
        of_launch(&bad).into_iter().filter(|asked| asked.action == "ec2:RunInstances").collect::<Vec<_>>()
    };
    let good_ones = launched(&|_| {});
    let mut all = Vec::new();
    for kind in MADE {
        let tags = |change: fn(&mut Tags)| launched(&|bad| change(bad.tags.get_mut(kind).expect("tags")));
        all.extend(tags(|tags| tags.clear()));
        all.extend(tags(|tags| drop(tags.insert(MANAGED_BY.into(), "somebody".into()))));
        all.extend(tags(|tags| drop(tags.remove(EXPIRES))));
        all.extend(tags(|tags| drop(tags.insert(KEEP.into(), "true".into()))));
    }
    all.extend(launched(&|bad| bad.kind = "p5.48xlarge".into()));
    all.extend(launched(&|bad| bad.tokens_required = false));
    all.retain(|asked| !good_ones.contains(asked));
    all.extend(launched(&|bad| bad.region = "sa-east-1".into()));
    all.extend(
        good_ones
            .iter()
            .map(|asked| asked.clone().without("aws:RequestTag/managed-by"))
            .filter(|asked| !good_ones.contains(asked)),
    );
    let role = |name: &str, to: &str| {
        question("iam:PassRole", "eu-central-1", format!("arn:aws:iam::{ACCOUNT}:role/{name}")).with("iam:PassedToService", to)
    };
    all.extend([role("admin", "ec2.amazonaws.com"), role("whostalled-brought-up", "lambda.amazonaws.com")]);
    all
}

#[test]
fn who_controls_may_do_what_is_called_and_nothing_else() {
    let (calls, launch) = controlled();
    let services: BTreeSet<&str> = calls.iter().filter_map(|asked| Some(asked.action.split_once(':')?.0)).collect();
    assert_eq!(services, BTreeSet::from(["ec2", "iam", "ssm"]), "a role is given, an image's name resolved");
    let refused: Vec<Question> = bad_launches(&launch).into_iter().chain(never()).collect();
    is_right_to_its_last_word(&policy("controller-policy/tests/policy.json"), &calls, &refused);
}

#[test]
fn who_wants_more_may_reap_reach_and_use_keys() {
    let (mut calls, launch) = controlled();
    calls.extend(reaped());
    let region = "eu-central-1";
    let checked = |asked: Question| asked.with("ssm:SessionDocumentAccessCheck", "true");
    let session = |resource: String| checked(question("ssm:StartSession", region, resource));
    let instance = session(format!("arn:aws:ec2:{region}:{ACCOUNT}:instance/i-1"));
    let reached = instance.clone().with("ssm:resourceTag/managed-by", US);
    let document = |name: &str| session(format!("arn:aws:ssm:{region}::document/{name}"));
    let of_session =
        |action: &str, user: &str| question(action, region, format!("arn:aws:ssm:{region}:{ACCOUNT}:session/{user}"));
    let own = |user: &str| ["ssm:TerminateSession", "ssmmessages:OpenDataChannel"].map(|action| of_session(action, user));
    let key = format!("arn:aws:kms:{region}:{ACCOUNT}:key/1");
    let used = |action: &str| {
        question(&format!("kms:{action}"), region, key.clone()).with("kms:ViaService", "ec2.eu-central-1.amazonaws.com")
    };
    let grant = question("kms:CreateGrant", region, key.clone());
    calls.extend([reached.clone(), document("AWS-StartSSHSession")]);
    calls.extend(own("${aws:userid}-1"));
    calls.extend(["DescribeKey", "Decrypt", "GenerateDataKeyWithoutPlaintext", "ReEncrypt*"].map(used));
    calls.push(grant.clone().with("kms:GrantIsForAWSResource", "true"));
    let mut refused: Vec<Question> = bad_launches(&launch).into_iter().chain(never()).collect();
    refused.extend([
        instance.clone(),
        instance.with("ssm:resourceTag/managed-by", "terraform"),
        document("AWS-StartInteractiveCommand"),
    ]);
    refused.extend([reached, document("AWS-StartSSHSession")].map(|asked| asked.with("ssm:SessionDocumentAccessCheck", "false")));
    refused.extend(own("somebody-1"));
    refused.extend([grant, used("Decrypt").with("kms:ViaService", "s3.eu-central-1.amazonaws.com")]);
    let other = |asked: Question| Question { resource: format!("arn:aws:kms:{region}:{ACCOUNT}:key/2"), ..asked };
    refused.push(other(used("Decrypt")));
    is_right_to_its_last_word(&policy("controller-policy/tests/policy-all.json"), &calls, &refused);
}

#[test]
fn the_reaper_may_do_what_it_calls_and_nothing_else() {
    let calls = reaped();
    assert!(
        calls.iter().any(|asked| asked.known.get("aws:TagKeys").is_some_and(|keys| keys == &[MARKED])),
        "it marks: {calls:?}"
    );
    let launch = Launch { region: "eu-central-1".into(), ..Launch::default() };
    let refused: Vec<Question> = of_launch(&launch).into_iter().chain(never()).collect();
    is_right_to_its_last_word(&policy("reaper/tests/policy.json"), &calls, &refused);
}

#[test]
fn words_are_read_as_iam_reads_them() {
    for (pattern, text, is) in [
        ("*", "", true),
        ("a:*:b/*", "a:x:b/c/d", true),
        ("a:*:b/*", "a:x:c/b", false),
        ("i-?", "i-1", true),
        ("i-?", "i-12", false),
        ("ec2.*", "ec2.eu-central-1.amazonaws.com", true),
        ("abc", "abcd", false),
    ] {
        assert_eq!(is_like(pattern, text), is, "{pattern} {text}");
    }
    let known = BTreeMap::from([("a".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
    let all = |operator: &str, key: &str, wanted: Value| holds(operator, key, &wanted, &known);
    assert!(all("StringEquals", "a", json!(["2", "3"])) && !all("StringEquals", "b", json!("2")));
    assert!(!all("StringNotEquals", "a", json!("2")) && all("StringNotEquals", "b", json!("2")));
    assert!(!all("ForAllValues:StringEquals", "a", json!("1")) && all("ForAllValues:StringEquals", "a", json!(["1", "2"])));
    assert!(all("Null", "b", json!("true")) && !all("Null", "a", json!("true")) && all("Null", "a", json!("false")));
    assert!(all("BoolIfExists", "b", json!("true")) && !all("Bool", "b", json!("true")));
}
