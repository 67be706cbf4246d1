//! `up`: an order in, vantages that run out. What cannot be had whole is taken down again.
//!
//! ```text
//! price, caps ─► launch each (the same token again while nobody answers; the next subnet where one is full) ─► wait until all run ─► burn
//! ```

use std::time::Duration;

use provider::{Fault, Line, Order, Reach, Vantage, Wanted, Wrong, fresh};

use crate::cloud::{Cloud, Disk, Failed, Instance, Kind, Launch, Of};
use crate::credits::{Burstable, burstable, has_credits};
use crate::down::down;
use crate::patience::instances;
use crate::price::price;
use crate::serve::{Serving, describe_launched};
use crate::settings::wrong;
use crate::tags::{NAME, tags};
use crate::user_data::user_data;

/// How often one launch is asked for while nobody answers.
const TRIES: u32 = 6;
/// Before the second time; each further pause is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at what is starting.
const LOOK: Duration = Duration::from_secs(3);
/// How often it is said how far the burning is.
const SAID: Duration = Duration::from_secs(60);
/// A vantage that has credits to burn is of use this long at least.
const OF_USE: u64 = 300;

/// An order with its name: by that, it takes nothing of the run's other orders down.
struct Named<'a> {
    order: &'a Order,
    id: String,
}

impl Named<'_> {
    fn of(&self) -> Of {
        Of::Order { run: self.order.run.clone(), order: self.id.clone() }
    }
}

/// Brings an order up.
pub(crate) fn up<C: Cloud>(serving: &mut Serving<'_, C>, order: &Order, dry_run: bool) -> Result<(), Wrong> {
    let named = &Named { order, id: order.order.clone().unwrap_or_else(fresh) };
    let launches = plan(serving, named, dry_run)?;
    if dry_run {
        return launches.first().map_or(Ok(()), |first| try_out(serving, first));
    }
    let mut begun = Vec::new();
    let done = begin(serving, named, &launches, &mut begun);
    let Err(mut wrong) = done else { return Ok(()) };
    serving.say(Line::Progress { what: format!("taking down what began: {}", wrong.what), done: None, of: None });
    if let Err(left) = down(serving, &order.run, Some(&named.id), &begun) {
        wrong.left.extend(left.left);
    }
    Err(wrong)
}

/// What is to be launched, once the price is said and the caps bear it.
fn plan<C: Cloud>(serving: &mut Serving<'_, C>, named: &Named<'_>, dry_run: bool) -> Result<Vec<Launch>, Wrong> {
    let (settings, now, order) = (serving.settings, serving.clock.now(), named.order);
    // A tag has 256 characters at most.
    let fits = |name: &str| (1..=200).contains(&name.len());
    if order.vantages.is_empty() || !fits(&order.run) || !fits(&named.id) {
        return Err(wrong("an order has a run, at least one vantage, and names of at most 200 characters"));
    }
    let mut names: Vec<&str> = order.vantages.iter().map(|wanted| wanted.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|two| two[0] == two[1]) {
        return Err(wrong("two vantages of the order have one name"));
    }
    let mut agents: Vec<&str> = order.vantages.iter().filter_map(|wanted| wanted.agent.as_deref()).collect();
    agents.sort_unstable();
    if let Some(two) = agents.windows(2).find(|two| two[0] == two[1]) {
        return Err(wrong(format!("two vantages of the order would be one agent, {}", two[0])));
    }
    let seconds = order.expires_at.saturating_sub(now);
    if seconds < 120 {
        return Err(wrong("the vantages would end within two minutes"));
    }
    let scripts = order.vantages.iter().map(|wanted| user_data(settings, &order.join, wanted, order.expires_at));
    let scripts = scripts.collect::<Result<Vec<_>, _>>()?;
    let burn_minutes = burstable(&settings.kind).filter(|_| settings.burn).map(Burstable::minutes_to_burn);
    if let Some(minutes) = burn_minutes {
        let needed = (minutes * 60.0) as u64 + settings.start_seconds + OF_USE;
        if seconds < needed {
            let least = needed.div_ceil(60);
            let what = format!("burning takes {minutes} min, starting and measuring some more: ask for {least} min at least");
            return Err(wrong(what));
        }
    }
    let priced = price(settings).ok_or_else(|| {
        let what =
            format!("the price of {} in {} is not known here: settings of ec2: usd_per_hour", settings.kind, settings.region);
        wrong(what)
    })?;
    let usd = priced.at_most(order.vantages.len(), seconds, settings.reaped_within_minutes * 60);
    serving.say(Line::Price { usd, usd_per_hour: priced.usd_per_hour * order.vantages.len() as f64, what: priced.what });
    let wanted = u32::try_from(order.vantages.len()).unwrap_or(u32::MAX);
    order.caps.bear(wanted, 0, seconds as f64 / 3600.0, usd).map_err(|beyond| wrong(beyond.to_string()))?;
    let there = live(serving)?;
    order.caps.bear(wanted, there, seconds as f64 / 3600.0, usd).map_err(|beyond| wrong(beyond.to_string()))?;
    let subnet = settings.subnets.first().cloned();
    // Whoever asks for the same once more means another instance: EC2 would hand out the one that has ended, or refuse for a day.
    let nonce = fresh();
    let launch = |(n, (wanted, user_data)): (usize, (&Wanted, String))| Launch {
        region: settings.region.clone(),
        token: if dry_run { String::new() } else { format!("whostalled-{nonce}-{n}") },
        image: settings.image.clone(),
        kind: settings.kind.clone(),
        subnet: subnet.clone(),
        security_groups: settings.security_groups.clone(),
        profile: settings.instance_profile.clone(),
        public_address: settings.public_address,
        user_data,
        // What the price counts, whatever the image has.
        disk: Disk { device: settings.root_device.clone(), gb: settings.disk_gb, kind: "gp3", encrypted: true, goes: true },
        interface_goes: true,
        shutdown_terminates: true,
        tokens_required: true,
        metadata_hops: 1,
        tags: tags(&order.run, &named.id, wanted, order.expires_at, burn_minutes),
        // EC2 refuses the field for other types.
        standard_credits: has_credits(&settings.kind),
        dry_run,
    };
    Ok(order.vantages.iter().zip(scripts).enumerate().map(launch).collect())
}

/// How many there are, in all regions, whoever's they are.
fn live<C: Cloud>(serving: &Serving<'_, C>) -> Result<u32, Wrong> {
    let mut there = 0;
    for region in serving.settings.all_regions() {
        serving.clock.go_on()?;
        let all = instances(serving.cloud, serving.clock, &region, &Of::All);
        let all = all.map_err(|failed| serving.clock.go_on().err().map_or_else(|| failed.into(), Wrong::from))?;
        there += u32::try_from(all.iter().filter(|instance| instance.is_live()).count()).unwrap_or(u32::MAX);
    }
    Ok(there)
}

fn try_out<C: Cloud>(serving: &mut Serving<'_, C>, first: &Launch) -> Result<(), Wrong> {
    match crate::patience::patiently(serving.clock, || serving.cloud.run_instance(first)) {
        Err(Failed { kind: Kind::WouldWork, .. }) => {
            serving.say(Line::Progress { what: "EC2 says that it would launch it".into(), done: None, of: None });
            Ok(())
        }
        Err(failed) => Err(serving.clock.go_on().err().map_or_else(|| failed.into(), Wrong::from)),
        Ok(instance) => Err(Wrong {
            fault: Fault::Cloud,
            what: format!("a dry run launched {}", instance.id),
            todo: Some("take it down".into()),
            left: vec![instance.id],
        }),
    }
}

/// Launches all and waits until they are of use; `begun` is what was launched, also if this fails.
fn begin<C: Cloud>(
    serving: &mut Serving<'_, C>,
    named: &Named<'_>,
    launches: &[Launch],
    begun: &mut Vec<String>,
) -> Result<(), Wrong> {
    for (n, launch) in launches.iter().enumerate() {
        let name = launch.tags.get(NAME).map_or("", String::as_str);
        serving.say(Line::Progress { what: format!("launching {name}"), done: Some(n as f64), of: Some(launches.len() as f64) });
        let instance = launch_one(serving, launch)?;
        begun.push(instance.id.clone());
        one_disk(&instance, &launch.disk)?;
    }
    let running = wait(serving, named, begun)?;
    if let Some(known) = burstable(&serving.settings.kind).filter(|_| serving.settings.burn) {
        burn(serving, named, begun, known.minutes_to_burn())?;
    }
    for instance in &running {
        let described = describe_launched(serving, instance);
        let reach =
            named.order.vantages.iter().find(|wanted| wanted.name == described.name).and_then(|wanted| wanted.agent.clone());
        let reach = reach.map_or_else(|| Reach::Ssh { host: instance.id.clone() }, |agent| Reach::Fleet { agent });
        serving.say(Line::Vantage(Vantage { reach: Some(reach), ..described }));
    }
    // Who does not hear where they are will not take them down.
    Ok(serving.clock.go_on()?)
}

/// That the disk which is named is the image's root: else it is one more, and neither the price nor the encryption is of the root.
fn one_disk(instance: &Instance, disk: &Disk) -> Result<(), Wrong> {
    let Some(root) = instance.root.as_ref().filter(|root| **root != disk.device) else { return Ok(()) };
    let what = format!("the root of {} is {root}, not {}: settings of ec2: root_device = {root:?}", instance.image, disk.device);
    Err(wrong(what))
}

/// Launches one.
fn launch_one<C: Cloud>(serving: &mut Serving<'_, C>, launch: &Launch) -> Result<Instance, Wrong> {
    let subnets = if serving.settings.subnets.is_empty() {
        vec![None]
    } else {
        serving.settings.subnets.iter().cloned().map(Some).collect()
    };
    let mut full = None;
    for (place, subnet) in subnets.into_iter().enumerate() {
        // Another subnet is another request, and EC2 takes a token for one request alone.
        let launch = Launch { subnet, token: format!("{}-{place}", launch.token), ..launch.clone() };
        match launch_at(serving, &launch) {
            Ok(instance) => return Ok(instance),
            Err(Wrong { fault: Fault::Capacity, what, .. }) => {
                serving.say(Line::Progress { what: format!("no capacity: {what}"), done: None, of: None });
                full = Some(what);
            }
            Err(wrong) => return Err(wrong),
        }
    }
    let todo = Some("try later, another region, or subnets of more zones (settings of ec2: subnets)".into());
    Err(Wrong { fault: Fault::Capacity, what: full.unwrap_or_default(), todo, left: Vec::new() })
}

fn launch_at<C: Cloud>(serving: &mut Serving<'_, C>, launch: &Launch) -> Result<Instance, Wrong> {
    let mut unanswered = false;
    launch_patiently(serving, launch, &mut unanswered).map_err(|mut wrong| {
        if unanswered {
            wrong.left.push(format!("an instance with the client token {}, if it was launched", launch.token));
        }
        wrong
    })
}

/// `unanswered`: whether a launch is such that nobody knows whether there is an instance of it.
fn launch_patiently<C: Cloud>(serving: &mut Serving<'_, C>, launch: &Launch, unanswered: &mut bool) -> Result<Instance, Wrong> {
    let (mut pause, mut last) = (PAUSE, None);
    for again in 0..TRIES {
        if again > 0 {
            serving.clock.pause(pause)?;
            pause *= 2;
        }
        serving.clock.go_on()?;
        match serving.cloud.run_instance(launch) {
            Ok(instance) => return Ok(instance),
            // With the same token it is the same instance, whether or not the call before launched it.
            // Once nobody answered, there may be one: then another place is not tried, or there would be two.
            Err(failed) if failed.may_pass() || *unanswered && failed.kind == Kind::Capacity => {
                serving.say(Line::Progress { what: format!("{failed}: it is asked again"), done: None, of: None });
                *unanswered |= failed.kind == Kind::Unknown;
                let kind = if failed.kind == Kind::Capacity { Kind::Unknown } else { failed.kind };
                last = Some(Failed { kind, ..failed });
            }
            Err(failed) => return Err(failed.into()),
        }
    }
    Err(last.map_or_else(|| wrong("nothing was launched"), Wrong::from))
}

/// Waits until all run.
fn wait<C: Cloud>(serving: &mut Serving<'_, C>, named: &Named<'_>, begun: &[String]) -> Result<Vec<Instance>, Wrong> {
    let until = serving.clock.now() + serving.settings.start_seconds;
    let of = named.of();
    let region = serving.settings.region.clone();
    loop {
        // What was launched a moment ago may not be in the list yet; a list that cannot be had now may be had later.
        let seen = match instances(serving.cloud, serving.clock, &region, &of) {
            Ok(seen) => seen,
            Err(failed) if failed.may_pass() => Vec::new(),
            Err(failed) => return Err(failed.into()),
        };
        let ours: Vec<&Instance> = seen.iter().filter(|instance| begun.contains(&instance.id)).collect();
        all_live(&ours, "while it starts")?;
        let running: Vec<Instance> = ours.into_iter().filter(|instance| instance.state == "running").cloned().collect();
        serving.say(Line::Progress { what: "running".into(), done: Some(running.len() as f64), of: Some(begun.len() as f64) });
        if running.len() == begun.len() {
            return Ok(running);
        }
        if serving.clock.now() >= until {
            let what = format!("{} of {} run after {} s", running.len(), begun.len(), serving.settings.start_seconds);
            return Err(Wrong {
                fault: Fault::Cloud,
                what,
                todo: Some("try again, or set start_seconds".into()),
                left: Vec::new(),
            });
        }
        serving.clock.pause(LOOK)?;
    }
}

/// That none of them has ended or was stopped.
fn all_live(instances: &[&Instance], when: &str) -> Result<(), Wrong> {
    let dead = instances.iter().find(|instance| !instance.is_live() || matches!(instance.state.as_str(), "stopped" | "stopping"));
    let Some(dead) = dead else { return Ok(()) };
    let why = dead.reason.clone().unwrap_or_else(|| "EC2 does not say why".into());
    let fault = if why.contains("Capacity") { Fault::Capacity } else { Fault::Cloud };
    Err(Wrong { fault, what: format!("{} is {} {when}: {why}", dead.id, dead.state), todo: None, left: Vec::new() })
}

/// Waits while they burn what they have from launch; gives up where one of them ends meanwhile.
fn burn<C: Cloud>(serving: &mut Serving<'_, C>, named: &Named<'_>, begun: &[String], minutes: f64) -> Result<(), Wrong> {
    let hourly = price(serving.settings).map_or(0.0, |price| price.usd_per_hour) * begun.len() as f64;
    let (began, of, region) = (serving.clock.now(), named.of(), serving.settings.region.clone());
    loop {
        let done = serving.clock.now().saturating_sub(began) as f64 / 60.0;
        let what =
            format!("burning launch credits, minutes (${:.3} so far of ${:.3})", hourly / 60.0 * done, hourly / 60.0 * minutes);
        serving.say(Line::Progress { what, done: Some(done.min(minutes)), of: Some(minutes) });
        if done >= minutes {
            return Ok(());
        }
        let left = Duration::from_secs_f64((minutes - done) * 60.0);
        serving.clock.pause(SAID.min(left).max(Duration::from_secs(1)))?;
        // A list that cannot be had says nothing of them.
        let seen = instances(serving.cloud, serving.clock, &region, &of).unwrap_or_default();
        all_live(&seen.iter().filter(|instance| begun.contains(&instance.id)).collect::<Vec<_>>(), "while it burns its credits")?;
    }
}
