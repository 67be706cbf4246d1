//! EC2's answers: XML of the query protocol, version 2016-11-15.

use std::fmt::Write;

use crate::disks::root;
use crate::model::{Instance, Tags, Thing};

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn tag_set(tags: &Tags) -> String {
    let item =
        |(key, value): (&String, &String)| format!("<item><key>{}</key><value>{}</value></item>", escaped(key), escaped(value));
    format!("<tagSet>{}</tagSet>", tags.iter().map(item).collect::<String>())
}

/// An answer.
pub(crate) fn answer(action: &str, inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>0</requestId>{inner}</{action}Response>"
    )
}

/// A refusal.
pub(crate) fn error(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors>\
         <RequestID>0</RequestID></Response>",
        escaped(code),
        escaped(message)
    )
}

/// Seconds since the epoch as ISO 8601.
fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil from days: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let z = i64::try_from(days).unwrap_or_default() + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.000Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// STS's answer to who takes a role.
pub(crate) fn role(key: &str) -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
}

/// An instance.
pub(crate) fn instance(i: &Instance) -> String {
    let code = match i.state {
        "pending" => 0,
        "running" => 16,
        "shutting-down" => 32,
        "terminated" => 48,
        _ => 80,
    };
    let reason = if i.fails && i.ended.is_some() {
        "<stateReason><code>Server.InternalError</code><message>Server.InternalError: Internal error on launch</message></stateReason>"
    } else {
        ""
    };
    format!(
        "<item><instanceId>{}</instanceId><imageId>{}</imageId><instanceState><code>{code}</code><name>{}</name></instanceState>\
         <instanceType>{}</instanceType><launchTime>{}</launchTime><placement><availabilityZone>{}a</availabilityZone></placement>\
         <rootDeviceName>{}</rootDeviceName>{reason}{}<clientToken>{}</clientToken></item>",
        i.id,
        escaped(&i.launch.image),
        i.state,
        i.launch.kind,
        time(i.launched),
        i.launch.region,
        root(&i.launch.image).0,
        tag_set(&i.tags),
        escaped(&i.launch.token)
    )
}

/// A volume (`vol`) or an interface.
pub(crate) fn thing(kind: &str, thing: &Thing) -> String {
    let state = if thing.of.is_some() { "in-use" } else { "available" };
    if kind == "vol" {
        return format!("<item><volumeId>{}</volumeId><status>{state}</status>{}</item>", thing.id, tag_set(&thing.tags));
    }
    format!("<item><networkInterfaceId>{}</networkInterfaceId><status>{state}</status>{}</item>", thing.id, tag_set(&thing.tags))
}

/// A list and where it goes on.
pub(crate) fn list(name: &str, items: &str, next: Option<String>) -> String {
    let mut out = format!("<{name}>{items}</{name}>");
    if let Some(next) = next {
        let _ = write!(out, "<nextToken>{next}</nextToken>");
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_is_iso_8601() {
        assert_eq!(super::time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::time(1_795_795_200), "2026-11-27T16:00:00.000Z");
        assert_eq!(super::time(951_782_400), "2000-02-29T00:00:00.000Z");
    }
}
