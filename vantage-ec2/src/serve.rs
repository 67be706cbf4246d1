//! One request in, lines out: the last is `done` or `failed`.

use provider::{Ask, Fault, Line, Request, VERSION, Vantage, Wrong};
use serde_json::json;

use crate::clock::Clock;
use crate::cloud::{Cloud, Instance};
use crate::credits::burstable;
use crate::down::down;
use crate::list::{list, reap};
use crate::price::price;
use crate::settings::Settings;
use crate::tags::{BURN, EXPIRES, NAME, RUN, moment};
use crate::up::up;

/// What the arithmetic of credits cannot know (Amazon EC2 User Guide, "Launch credits").
const GRANTED: &str = "at_launch was granted: AWS does so for 100 launches or starts of T2 in an account, region and 24 h";

/// What answering a request needs.
pub(crate) struct Serving<'a, C> {
    pub(crate) cloud: &'a C,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) settings: &'a Settings,
    pub(crate) out: &'a mut dyn FnMut(Line),
}

impl<C> Serving<'_, C> {
    pub(crate) fn say(&mut self, line: Line) {
        (self.out)(line);
    }
}

/// Answers a request.
pub fn serve<C: Cloud>(request: Request, cloud: &C, clock: &dyn Clock, out: &mut dyn FnMut(Line)) {
    let answered = answer(request, cloud, clock, out);
    out(answered.map_or_else(Line::Failed, |()| Line::Done));
}

fn answer<C: Cloud>(request: Request, cloud: &C, clock: &dyn Clock, out: &mut dyn FnMut(Line)) -> Result<(), Wrong> {
    let Request { version, dry_run, ask, settings } = request;
    if version != VERSION {
        let what = format!("this provider speaks version {VERSION} of the messages, not {version}");
        return Err(Wrong { fault: Fault::Request, what, todo: Some("use both of the same release".into()), left: Vec::new() });
    }
    let settings = Settings::read(settings)?;
    let mut serving = Serving { cloud, clock, settings: &settings, out };
    match ask {
        Ask::Up(order) => up(&mut serving, &order, dry_run),
        Ask::List { run } => list(&mut serving, run.as_deref()),
        Ask::Down { run, .. } if dry_run => list(&mut serving, Some(&run)),
        Ask::Down { run, order } => {
            if !down(&mut serving, &run, order.as_deref(), &[])? {
                let regions = settings.all_regions().join(", ");
                let what =
                    format!("nothing of {run} is in {regions}; if it is in another region, name that: --set region=REGION");
                serving.say(Line::Progress { what, done: None, of: None });
            }
            Ok(())
        }
        Ask::Reap { grace_s } => reap(&mut serving, grace_s, dry_run),
    }
}

/// An instance as a line: what EC2 and its tags say of it, and what its type means for measurements.
pub(crate) fn describe<C>(serving: &Serving<'_, C>, instance: &Instance) -> Vantage {
    let settings = serving.settings;
    let tag = |key: &str| instance.tags.get(key).cloned().unwrap_or_default();
    let mut facts = json!({ "provider": "ec2", "type": instance.kind, "zone": instance.zone, "image": instance.image });
    if let (Some(known), Some(facts)) = (burstable(&instance.kind), facts.as_object_mut()) {
        let mut credits = json!({
            "at_launch": known.at_launch,
            "per_hour": known.per_hour,
            "baseline_percent": known.baseline_percent,
        });
        // It was told to: whether it did, nobody has looked.
        if let Some(minutes) = instance.tags.get(BURN).and_then(|minutes| minutes.parse::<f64>().ok()) {
            credits["told_to_burn_minutes"] = json!(minutes);
        }
        facts.insert("credits".into(), credits);
    }
    // The price of another type or region is another one.
    let is_ours = instance.kind == settings.kind && instance.zone.starts_with(&settings.region);
    Vantage {
        name: tag(NAME),
        run: tag(RUN),
        id: instance.id.clone(),
        state: instance.state.clone(),
        reach: None,
        expires_at: moment(&instance.tags, EXPIRES),
        usd_per_hour: price(settings).filter(|_| is_ours).map(|price| price.usd_per_hour),
        facts: facts.as_object().cloned().unwrap_or_default(),
    }
}

/// The same of an instance that this process launched, and watched while it burned its credits, if it was to.
pub(crate) fn describe_launched<C>(serving: &Serving<'_, C>, instance: &Instance) -> Vantage {
    let mut vantage = describe(serving, instance);
    let (Some(known), Some(credits)) = (burstable(&instance.kind), vantage.facts.get_mut("credits")) else { return vantage };
    credits["specification"] = json!("standard");
    if serving.settings.burn && known.at_launch > 0.0 {
        credits["burned_minutes"] = json!(known.minutes_to_burn());
        credits["left_by_arithmetic"] = json!(known.after(known.at_launch, known.minutes_to_burn(), f64::from(known.vcpus)));
        credits["assumed"] = json!(GRANTED);
    }
    vantage
}
