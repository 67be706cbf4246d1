//! The first script of a vantage. In: its end, how it joins, settings. Out: a shell script without any secret.
//!
//! Its end comes first, before anything that can fail, and needs no agent: a shutdown, which terminates the instance (see
//! `InstanceInitiatedShutdownBehavior`), as a timer of systemd too, which outlives a reboot. The agent's key is read from SSM by the
//! instance's own role.

use std::fmt::Write;

use provider::{Join, Wanted, Wrong};

use crate::credits::burstable;
use crate::settings::{Settings, quoted, wrong};

/// EC2 takes no more, before base64.
pub const MOST_BYTES: usize = 16 * 1024;
/// Where an image has the program.
const BAKED: &str = "/usr/local/bin/whostalled";

const END: &str = r#"
minutes=$(( (end - $(date +%s) + 59) / 60 ))
[ "$minutes" -ge 1 ] || minutes=1
shutdown -P "+$minutes" || echo "whostalled: no shutdown in $minutes minutes"
if [ -d /run/systemd/system ]; then
  cat > /etc/systemd/system/whostalled-end.service <<'UNIT'
[Unit]
Description=The end of this vantage
[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl poweroff --force
UNIT
  cat > /etc/systemd/system/whostalled-end.timer <<UNIT
[Timer]
OnCalendar=$(date -u -d "@$end" '+%Y-%m-%d %H:%M:%S') UTC
Persistent=true
AccuracySec=1s
[Install]
WantedBy=timers.target
UNIT
  systemctl daemon-reload
  systemctl enable --now whostalled-end.timer
fi
set -euo pipefail
umask 077
"#;

const FETCH: &str = r#"
mkdir -p /opt/whostalled
fetched=/opt/whostalled/whostalled
curl -fsSL --retry 20 --retry-all-errors --retry-delay 3 -o "$fetched.new" "$url"
echo "$sha256  $fetched.new" | sha256sum -c -
chmod 755 "$fetched.new"
mv "$fetched.new" "$fetched"
program=$fetched
"#;

const BURN: &str = r#"
for _ in $(seq "$(nproc)"); do timeout "$burn" sh -c 'while :; do :; done' & done
wait || true
"#;

const LET_IN: &str = r#"
install -d -m 700 -o ec2-user -g ec2-user /home/ec2-user/.ssh
printf '%s\n' "$key" >> /home/ec2-user/.ssh/authorized_keys
chown ec2-user:ec2-user /home/ec2-user/.ssh/authorized_keys
"#;

const AGENT: &str = r#"
mkdir -p /run/whostalled /var/lib/whostalled
credential=
for _ in $(seq 60); do
  credential=$(aws ssm get-parameter --region "$region" --name "$parameter" --with-decryption --query Parameter.Value --output text) && break
  sleep 5
done
[ -n "$credential" ] || { echo "whostalled: no credential in the SSM parameter $parameter" >&2; exit 1; }
printf '%s\n' "$credential" > /run/whostalled/agent.pem
set -- "$program" agent --nats "$nats" --name "$agent" --nats-cert /run/whostalled/agent.pem --nats-key /run/whostalled/agent.pem \
  --spool /var/lib/whostalled --allow-load
[ ! -s /opt/whostalled/ca.pem ] || set -- "$@" --nats-ca /opt/whostalled/ca.pem
if [ -d /run/systemd/system ]; then
  systemd-run --unit whostalled-agent -p Restart=on-failure -p RestartSec=5 "$@"
else
  exec "$@"
fi
"#;

/// The SSM parameter of an agent's credential.
#[must_use]
pub fn parameter(settings: &Settings, agent: &str) -> String {
    settings.credential.replace("{agent}", agent)
}

/// The script of one vantage that ends at `expires_at`.
///
/// # Errors
/// If it cannot join so, or the script would be too long.
pub fn user_data(settings: &Settings, join: &Join, wanted: &Wanted, expires_at: u64) -> Result<String, Wrong> {
    let mut script = format!(
        "#!/bin/bash\n# A vantage of whostalled: it ends at this second since the epoch, whatever else happens.\nend={expires_at}{END}"
    );
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(script, "{name}={}", quoted(value));
    };
    match join {
        Join::Nats { url, ca } => {
            let agent = wanted.agent.as_deref().ok_or_else(|| wrong(format!("vantage {}: which agent is it?", wanted.name)))?;
            set("region", &settings.region);
            set("parameter", &parameter(settings, agent));
            set("nats", url);
            set("agent", agent);
            set("program", BAKED);
            if let Some(program) = &settings.program {
                set("url", &program.url);
                set("sha256", &program.sha256.to_lowercase());
                script.push_str(FETCH);
            }
            if let Some(ca) = ca {
                let _ = write!(script, "\nmkdir -p /opt/whostalled\nprintf '%s' {} > /opt/whostalled/ca.pem\n", quoted(ca));
            }
        }
        Join::Ssh => {
            let key = settings.ssh_public_key.as_deref().ok_or_else(|| {
                wrong("a vantage that joins by ssh lets somebody in: settings of ec2: ssh_public_key = \"ssh-ed25519 …\"")
            })?;
            set("key", key);
        }
    }
    if settings.burn {
        let known = burstable(&settings.kind).filter(|known| known.at_launch > 0.0);
        let known = known.ok_or_else(|| {
            let what = format!(
                "{} has no launch credits to burn: it begins at its baseline, so leave out `burn`; or take t2.medium",
                settings.kind
            );
            wrong(what)
        })?;
        let _ = write!(script, "\nburn={}{BURN}", (known.minutes_to_burn() * 60.0).ceil());
    }
    // Whoever gets in measures: not before the CPUs are free again.
    script.push_str(if matches!(join, Join::Ssh) { LET_IN } else { AGENT });
    if script.len() > MOST_BYTES {
        return Err(wrong(format!(
            "the first script has {} bytes and EC2 takes {MOST_BYTES}: give fewer roots by --nats-ca",
            script.len()
        )));
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &serde_json::Value) -> Settings {
        let mut all =
            serde_json::json!({"region": "eu-central-1", "program": {"url": "https://x/y?a=b'c", "sha256": "0".repeat(64)}});
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        Settings::read(all.as_object().expect("an object").clone()).expect("they are good")
    }

    fn wanted() -> Wanted {
        Wanted { name: "t2".into(), agent: Some("ec2-1".into()) }
    }

    fn nats() -> Join {
        Join::Nats { url: "tls://n:4222".into(), ca: Some("-----BEGIN CERTIFICATE-----\nx\n".into()) }
    }

    /// bash reads it without running it.
    fn is_a_script(script: &str) {
        use std::io::Write;
        let mut bash = std::process::Command::new("bash").arg("-n").stdin(std::process::Stdio::piped()).spawn().expect("bash");
        bash.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
        assert!(bash.wait().expect("bash").success(), "{script}");
    }

    #[test]
    fn the_end_comes_first_and_no_secret_is_in_it() {
        let script =
            user_data(&settings(&serde_json::json!({"burn": true})), &nats(), &wanted(), 1_795_800_000).expect("a script");
        is_a_script(&script);
        let at = |words: &str| script.find(words).unwrap_or_else(|| panic!("{words}: {script}"));
        assert!(at("end=1795800000") < at("shutdown -P") && at("shutdown -P") < at("set -e") && at("set -e") < at("curl"));
        assert!(at("burn=2250\n") < at("ssm get-parameter") && at("'/whostalled/agents/ec2-1'") < at("ssm get-parameter"));
        assert!(script.contains(r"url='https://x/y?a=b'\''c'"), "a quote stays one: {script}");
        for secret in ["PRIVATE KEY", "AKIA", "aws_secret", "AWS_SECRET"] {
            assert!(!script.contains(secret), "{secret}");
        }
    }

    /// What controls by ssh begins as soon as it is let in; the provider's own count of the minutes begins before the script does.
    #[test]
    fn nobody_is_let_in_while_it_burns() {
        let ssh = settings(&serde_json::json!({"ssh_public_key": "ssh-ed25519 AAAA me@here", "burn": true}));
        let script = user_data(&ssh, &Join::Ssh, &wanted(), 1_795_800_000).expect("a script");
        is_a_script(&script);
        let at = |words: &str| script.find(words).unwrap_or_else(|| panic!("{words}: {script}"));
        assert!(at("burn=2250\n") < at("wait || true") && at("wait || true") < at("authorized_keys"), "{script}");
    }

    #[test]
    fn every_cpu_is_busy_for_so_long_and_the_script_goes_on() {
        let script = format!("set -euo pipefail\nburn=1{BURN}\necho burned\ntimes");
        let began = std::time::Instant::now();
        let output = std::process::Command::new("bash").args(["-c", &script]).output().expect("bash");
        let (said, took) = (String::from_utf8_lossy(&output.stdout).into_owned(), began.elapsed().as_secs_f64());
        // The last line has what its children used: `0m1.973s 0m0.010s`.
        let user = said.lines().last().and_then(|line| line.split(['m', 's']).nth(1)?.parse::<f64>().ok()).unwrap_or_default();
        assert!(output.status.success() && said.starts_with("burned"), "{output:?}");
        assert!((1.0..30.0).contains(&took), "{took} s");
        // Other tests run on the same CPUs.
        assert!(user > 0.3, "{user} s of CPU in {took} s");
    }

    #[test]
    fn what_cannot_join_is_said() {
        let plain = settings(&serde_json::json!({}));
        let no_agent = Wanted { agent: None, ..wanted() };
        assert!(user_data(&plain, &nats(), &no_agent, 1).expect_err("who?").what.contains("which agent"));
        assert!(user_data(&plain, &Join::Ssh, &wanted(), 1).expect_err("no key").what.contains("ssh_public_key"));
        let t3 = settings(&serde_json::json!({"burn": true, "type": "t3.medium"}));
        assert!(user_data(&t3, &nats(), &wanted(), 1).expect_err("no credits").what.contains("begins at its baseline"));
        let long = Join::Nats { url: "tls://n".into(), ca: Some("x".repeat(MOST_BYTES)) };
        assert!(user_data(&plain, &long, &wanted(), 1).expect_err("too long").what.contains("16384"));
        let ssh = settings(&serde_json::json!({"ssh_public_key": "ssh-ed25519 AAAA me@here"}));
        is_a_script(&user_data(&ssh, &Join::Ssh, &no_agent, 1).expect("a script"));
    }
}
