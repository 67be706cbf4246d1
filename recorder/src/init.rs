//! A configuration to begin with, written by `capture init`.

use std::fs;

/// Flags of a route that is up (`RTF_UP`).
const UP: u32 = 1;

/// The interface by which this host reaches the Internet, as the kernel's routes say; absent if it does not.
pub fn outward_interface() -> Option<String> {
    default_route(&fs::read_to_string("/proc/net/route").ok()?)
}

/// The default route's interface in the format of `/proc/net/route`; of several the one with the least metric.
fn default_route(routes: &str) -> Option<String> {
    let default = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, "00000000", _, flags, _, _, metric, "00000000", ..] = fields[..] else { return None };
        let up = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & UP != 0);
        up.then_some((metric.parse::<u32>().ok()?, interface))
    });
    default.min().map(|(_, interface)| interface.to_owned())
}

/// The interfaces that this host has.
pub fn interfaces() -> Vec<String> {
    let names = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The file, with comments.
pub fn text(interface: &str) -> String {
    let interface = toml::Value::from(interface);
    format!(
        r#"# What `whostalled capture` records. Every field has a default. All fields: whostalled capture --schema

[capture]
interfaces = [{interface}]
ports = [443]                          # ports on which TLS is served
memory = "64MiB"                       # handshake packets of the last minutes: the page says how far back it reaches
listen = "127.0.0.1:9720"              # page and /metrics
anonymise = false                      # true: networks instead of addresses in metrics, alerts and on the page

[evidence]
folder = "evidence"                    # slow handshakes, one file each
quota = "1GiB"

[slow]                                 # any of these makes a handshake worth a file
excess = "200ms"                       # beyond what is usual on its path
# owners.edge = "50ms"
# phases.client_finished = "400ms"

# A proxy that logs its slow handshakes; without one, the recorder's own detector finds them.
# [[log]]
# kind = "journal"
# match = ["SYSLOG_IDENTIFIER=haproxy"]
# at_least = "200ms"
#
# [[log]]
# kind = "file"
# path = "/var/log/nginx/handshakes.log"
# at_least = "200ms"

# Whose networks clients are in. Without it they are counted by prefix (/24, /48).
# [[network]]
# name = "office"
# prefixes = ["192.0.2.0/24", "2001:db8::/32"]

[alerts]                               # a fault of the edge, or of the path to it; clients that stall on their own side are only counted
least = 5                              # so many slow handshakes within the window,
share = 0.05                           # and such a share of all of them
store = "whostalled-capture.db"

# Who is told: alertmanager, webhook (format = "slack" for Slack and what takes the same) or pagerduty. Secrets lie elsewhere.
# [[receiver]]
# kind = "alertmanager"
# url = "http://127.0.0.1:9093"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn it_is_valid_as_it_is_and_with_all_that_it_offers() {
        let text = text("eth0");
        let config = Config::parse(&text).expect("it is valid");
        config.check().expect("it can be run");
        assert_eq!((config.capture.interfaces.as_slice(), config.logs.len()), (&["eth0".to_owned()][..], 0));
        let line = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.split(' ').nth(1) == Some("=") => rest.to_owned(),
            _ => line.to_owned(),
        };
        let offered: Vec<String> = text.lines().map(line).collect();
        let all = Config::parse(&offered.join("\n")).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((all.logs.len(), all.networks.len(), all.receivers.len(), all.slow.owners.len()), (2, 1, 1, 1));
    }

    #[test]
    fn the_default_route_names_the_interface() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(default_route(routes).as_deref(), Some("eth0"));
        assert_eq!(default_route("Iface\tDestination\n"), None);
    }
}
