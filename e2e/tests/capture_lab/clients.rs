//! Clients and bulk data. In: ports of the edge. Out: how many handshakes succeeded.

use std::process::{Child, Command};

use e2e::process::{Running, binary, run};
use e2e::waiting::wait_for;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by lab run"))
}

/// Where the lab's certificates are.
pub fn bundle() -> String {
    variable("WHOSTALLED_LAB_CA")
}

/// Handshakes from the office, some at once; gives how many succeeded.
pub fn curl(port: u16, count: usize, at_once: usize) -> usize {
    let (office, bundle) = (variable("WHOSTALLED_LAB_HOST_office"), bundle());
    let start = |_| -> Child {
        let mut command = Command::new(binary());
        command.args(["lab-exec", &office, "curl", "-s", "-o", "/dev/null", "-m", "9", "--cacert", &bundle]);
        command.arg(format!("https://edge.lab.test:{port}/")).spawn().expect("it starts")
    };
    let succeeds = |mut child: Child| child.wait().expect("our own child").success();
    (0..count.div_ceil(at_once))
        .map(|_| {
            let children: Vec<Child> = (0..at_once).map(start).collect();
            children.into_iter().map(succeeds).filter(|good| *good).count()
        })
        .sum()
}

/// As many from the office as soon as so many seconds are over: their programs stand there by then, and whoever starts them may have no CPU.
pub fn curl_after(seconds: f64, port: u16, count: usize) -> usize {
    let (office, bundle) = (variable("WHOSTALLED_LAB_HOST_office"), bundle());
    let line = format!("sleep {seconds}; exec curl -s -o /dev/null -m 9 --cacert {bundle} https://edge.lab.test:{port}/");
    let start = |_| Command::new(binary()).args(["lab-exec", &office, "sh", "-c", &line]).spawn().expect("it starts");
    let children: Vec<Child> = (0..count).map(start).collect();
    children.into_iter().map(|mut child| child.wait().expect("our own child").success()).filter(|good| *good).count()
}

/// Programs in the office that are started at once, each with a connection now and one each second after it; gives how many ended well.
pub fn curl_each_second(port: u16, programs: usize, each: usize) -> usize {
    let (office, bundle) = (variable("WHOSTALLED_LAB_HOST_office"), bundle());
    let start = |_| {
        let mut command = Command::new(binary());
        command.args(["lab-exec", &office, "curl", "-s", "-m", "9", "--cacert", &bundle, "--no-sessionid", "--rate", "1/s"]);
        command.args(["-H", "Connection: close", "-o", "/dev/null", &format!("https://edge.lab.test:{port}/?[1-{each}]")]);
        command.spawn().expect("it starts")
    };
    let children: Vec<Child> = (0..programs).map(start).collect();
    children.into_iter().map(|mut child| child.wait().expect("our own child").success()).filter(|good| *good).count()
}

/// A second interface of the edge, for bulk data that the lab's wire could not carry: 10.88.0.1 here, 10.88.0.2 in a namespace.
pub struct Bulk(Running);

impl Bulk {
    pub fn new() -> Self {
        let holder = Running::start(Command::new("unshare").args(["-n", "sleep", "1000"]));
        let id = holder.id().to_string();
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).expect("procfs");
        let own = namespace("self");
        assert!(wait_for(5, || namespace(&id) != own), "a network namespace of our own");
        let bulk = Self(holder);
        let here = format!(
            "ip link add bulk0 type veth peer name bulk1 && ip link set bulk1 netns {id} && ip addr add 10.88.0.1/24 dev bulk0 && ip link set bulk0 up"
        );
        for (program, line) in
            [(Command::new("sh"), here), (bulk.inside("sh"), "ip addr add 10.88.0.2/24 dev bulk1 && ip link set bulk1 up".into())]
        {
            let mut command = program;
            command.args(["-c", &line]);
            let said = run(command, 10);
            assert_eq!(said.code, Some(0), "{}", said.err);
        }
        bulk
    }

    /// A command in there.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "-n", program]);
        command
    }
}
