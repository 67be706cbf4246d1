//! Settings of this provider: what a request has in `settings`, checked.

use provider::{Fault, Wrong};
use serde::Deserialize;

/// Amazon Linux 2023 for x86_64 as AWS publishes it: it has curl, the AWS CLI and systemd.
const IMAGE: &str = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
/// The limit of EC2 on user data is 16 KiB; roots of the broker are part of it.
const MOST_WORDS: usize = 200;

/// Where and as what vantages are launched.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The region in which vantages are launched.
    pub region: String,
    /// Regions in which `list`, `down` and `reap` look, beside that one.
    #[serde(default)]
    pub regions: Vec<String>,
    /// The instance type: one for x86_64.
    #[serde(default = "medium", rename = "type")]
    pub kind: String,
    /// The image: an AMI, or `resolve:ssm:…`. One made from Amazon Linux 2023 for x86_64: the first script needs its AWS CLI, curl and systemd,
    /// ssh its user `ec2-user`, and the program is an x86_64 one. Another root is named by `root_device`.
    #[serde(default = "image")]
    pub image: String,
    /// Subnets, the next where one has no capacity; none: the region's default.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// What the image calls its root.
    #[serde(default = "xvda")]
    pub root_device: String,
    /// Size of the root, in GB (gp3, encrypted). Not less than the image has: EC2 refuses that.
    #[serde(default = "eight")]
    pub disk_gb: u16,
    /// Security groups; none: the network's default. Nothing need come in.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// The instance profile whose role may read `credential`.
    #[serde(default)]
    pub instance_profile: Option<String>,
    /// Whether it gets a public IPv4 address; without one its subnet needs a NAT.
    #[serde(default = "yes")]
    pub public_address: bool,
    /// Where the program is fetched from; absent: the image has it at /usr/local/bin/whostalled.
    #[serde(default)]
    pub program: Option<Program>,
    /// The SSM parameter (SecureString) with the agent's certificate and key, PEM; `{agent}` is its name.
    #[serde(default = "credential")]
    pub credential: String,
    /// Spend the credits of launch before the vantage joins: T2 alone has them.
    #[serde(default)]
    pub burn: bool,
    /// For a vantage that joins by ssh: the public key that may log in.
    #[serde(default)]
    pub ssh_public_key: Option<String>,
    /// US dollars an hour of one vantage, all counted; for types and regions whose price we do not know.
    #[serde(default)]
    pub usd_per_hour: Option<f64>,
    /// How late a vantage may end that does not end by itself, 5 at least: how often the reaper comes, twice, and its grace. Part of the price.
    #[serde(default = "an_hour")]
    pub reaped_within_minutes: u64,
    /// How long a vantage may take until it runs.
    #[serde(default = "five_minutes")]
    pub start_seconds: u64,
}

/// The program that is to run there.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Where it is: whatever curl can fetch without a password.
    pub url: String,
    /// Its SHA-256, in hexadecimal: what does not match is not run.
    pub sha256: String,
}

fn medium() -> String {
    "t2.medium".into()
}
fn image() -> String {
    IMAGE.into()
}
fn credential() -> String {
    "/whostalled/agents/{agent}".into()
}
fn xvda() -> String {
    "/dev/xvda".into()
}
fn eight() -> u16 {
    8
}
fn yes() -> bool {
    true
}
fn an_hour() -> u64 {
    60
}
fn five_minutes() -> u64 {
    300
}

pub(crate) fn wrong(what: impl Into<String>) -> Wrong {
    Wrong { fault: Fault::Request, what: what.into(), todo: Some("docs/ec2.md has all settings".into()), left: Vec::new() }
}

/// A word that a shell takes as it is.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The same, for people: without quotes where none are needed.
pub(crate) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}

/// Whether it has a region's form: `eu-central-1`, `us-gov-west-1`. Which there are nobody here knows.
fn is_region(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let [words @ .., number] = parts.as_slice() else { return false };
    let word = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    words.len() >= 2 && words.iter().all(word) && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// If a field is unknown, missing, or cannot be.
    pub fn read(settings: provider::Settings) -> Result<Self, Wrong> {
        let read: Self = serde_json::from_value(settings.into()).map_err(|e| wrong(format!("settings of ec2: {e}")))?;
        read.check()?;
        Ok(read)
    }

    /// Every region in which we look.
    #[must_use]
    pub fn all_regions(&self) -> Vec<String> {
        let mut all = vec![self.region.clone()];
        for region in &self.regions {
            if !all.contains(region) {
                all.push(region.clone());
            }
        }
        all
    }

    /// The command line of a verb of `whostalled vantage` that looks where these settings look, whoever has them.
    #[must_use]
    pub fn command(&self, verb: &str) -> String {
        let regions = self.all_regions();
        let more = if regions.len() > 1 { format!(" --set 'regions={regions:?}'") } else { String::new() };
        format!("whostalled vantage {verb} --provider ec2 --set region={}{more}", self.region)
    }

    fn check(&self) -> Result<(), Wrong> {
        // All of them pass a shell, a request or a host name.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/{}+=@,%?&~ ".contains(c);
        let words = [
            ("region", Some(&self.region)),
            ("type", Some(&self.kind)),
            ("image", Some(&self.image)),
            ("root_device", Some(&self.root_device)),
            ("instance_profile", self.instance_profile.as_ref()),
            ("credential", Some(&self.credential)),
            ("ssh_public_key", self.ssh_public_key.as_ref()),
            ("program.sha256", self.program.as_ref().map(|program| &program.sha256)),
        ];
        let lists = self.regions.iter().map(|r| ("regions", r)).chain(self.subnets.iter().map(|s| ("subnets", s)));
        let lists = lists.chain(self.security_groups.iter().map(|g| ("security_groups", g)));
        for (name, word) in words.into_iter().filter_map(|(name, word)| Some((name, word?))).chain(lists) {
            let most = if name == "ssh_public_key" { 1_000 } else { MOST_WORDS };
            if word.is_empty() || word.len() > most || !word.chars().all(plain) {
                return Err(wrong(format!(
                    "settings of ec2: {name} = {word:?} is empty, too long, or has a character that it cannot have"
                )));
            }
        }
        if let Some(bad) = self.all_regions().iter().find(|region| !is_region(region)) {
            return Err(wrong(format!("settings of ec2: {bad:?} is no region: write it as eu-central-1")));
        }
        if let Some(Program { url, sha256 }) = &self.program {
            if sha256.len() != 64 || !sha256.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong("settings of ec2: program.sha256 is not 64 hexadecimal digits"));
            }
            if url.len() > 2_000
                || !(url.starts_with("https://") || url.starts_with("http://"))
                || url.chars().any(char::is_control)
            {
                return Err(wrong(format!("settings of ec2: program.url = {url:?} is no http(s) address")));
            }
        }
        if self.usd_per_hour.is_some_and(|usd| !usd.is_finite() || usd < 0.0) {
            return Err(wrong("settings of ec2: usd_per_hour is no price"));
        }
        // No reaper is quicker: it comes once a minute at most, marks, comes again, and an instance takes a minute or two to end.
        if !(5..=24 * 60).contains(&self.reaped_within_minutes) || !(10..=3_600).contains(&self.start_seconds) {
            return Err(wrong("settings of ec2: reaped_within_minutes is from 5 to 1440, start_seconds from 10 to 3600"));
        }
        if !(1..=1_000).contains(&self.disk_gb) || !self.root_device.starts_with("/dev/") {
            return Err(wrong("settings of ec2: disk_gb is from 1 to 1000, root_device a name as /dev/xvda"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Result<Settings, String> {
        Settings::read(json.as_object().expect("an object").clone()).map_err(|wrong| wrong.what)
    }

    #[test]
    fn what_cannot_be_is_said() {
        let good =
            read(serde_json::json!({"region": "eu-central-1", "regions": ["us-east-1", "eu-central-1"]})).expect("it is good");
        assert_eq!(good.all_regions(), ["eu-central-1", "us-east-1"]);
        assert_eq!(good.kind, "t2.medium");
        let command = "whostalled vantage down r --provider ec2 --set region=eu-central-1 --set 'regions=[\"eu-central-1\", \"us-east-1\"]'";
        assert_eq!(good.command(&format!("down {}", word("r"))), command);
        assert_eq!((word("a-b.c"), word("it's *")), ("a-b.c".into(), r"'it'\''s *'".into()));
        let bad = [
            (serde_json::json!({}), "region"),
            (serde_json::json!({"region": "eu central"}), "no region"),
            (serde_json::json!({"region": "eu-central"}), "no region"),
            (serde_json::json!({"region": "eu-central-1a"}), "no region"),
            (serde_json::json!({"region": "us-east-1", "regions": ["us-east"]}), "no region"),
            (serde_json::json!({"region": "us-east-1", "colour": 1}), "colour"),
            (serde_json::json!({"region": "us-east-1", "credential": "x'; reboot"}), "credential"),
            (serde_json::json!({"region": "us-east-1", "subnets": [""]}), "subnets"),
            (serde_json::json!({"region": "us-east-1", "program": {"url": "ftp://x", "sha256": "0".repeat(64)}}), "program.url"),
            (serde_json::json!({"region": "us-east-1", "program": {"url": "https://x", "sha256": "0"}}), "sha256"),
            (serde_json::json!({"region": "us-east-1", "usd_per_hour": -1}), "usd_per_hour"),
            (serde_json::json!({"region": "us-east-1", "start_seconds": 1}), "start_seconds"),
            (serde_json::json!({"region": "us-east-1", "reaped_within_minutes": 4}), "reaped_within_minutes"),
            (serde_json::json!({"region": "us-east-1", "reaped_within_minutes": 1_441}), "reaped_within_minutes"),
            (serde_json::json!({"region": "us-east-1", "disk_gb": 0}), "disk_gb"),
            (serde_json::json!({"region": "us-east-1", "root_device": "xvda"}), "root_device"),
        ];
        for (json, why) in bad {
            let said = read(json.clone()).expect_err(&json.to_string());
            assert!(said.contains(why), "{json}: {said}");
        }
    }
}
