//! EC2 through aws-sdk-ec2. In: [`Cloud`]'s calls. Out: their answers, failures told apart by what may be done about them. No decisions here.
//!
//! Credentials and endpoints are where AWS's own tools have them: environment, ~/.aws, the role of this host. Each call has its time; the SDK
//! itself makes none of them twice, because [`crate::patience`] and `up` know which may be.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{
    BlockDeviceMapping, CreditSpecificationRequest, EbsBlockDevice, Filter, HttpTokensState, IamInstanceProfileSpecification,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification, InstanceType,
    NetworkInterfaceStatus, ResourceType, ShutdownBehavior, Tag, TagSpecification, VolumeState, VolumeType,
};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::runtime::Runtime;

use crate::cloud::{Cloud, Failed, Instance, Kind, Launch, NO_ANSWER, Of, Page, Part, Tags, Thing};

/// One try of a call.
const TIME: Duration = Duration::from_secs(20);
/// Until a connection is there.
const CONNECT: Duration = Duration::from_secs(5);
/// Characters of a message.
const MOST_WORDS: usize = 400;
/// Items of a page: EC2's own least is 5, its most 1000.
const PAGE: i32 = 200;

/// EC2, wherever the environment says that it is.
pub struct Aws {
    runtime: Runtime,
    config: SdkConfig,
    clients: RefCell<BTreeMap<String, Client>>,
}

impl Aws {
    /// Reads credentials' whereabouts; nothing is reached yet. Where they come from a role, it is taken at the STS of the region that the
    /// environment or the profile names, else of `region`: one of another partition knows nobody.
    ///
    /// # Errors
    /// If there can be no threads or sockets.
    pub fn open(region: Option<&str>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(TIME).build();
        // Not metadata's: an instance or a container has credentials without STS, and elsewhere it takes seconds until nobody answers.
        let regions = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(region.map(|region| Region::new(region.to_owned())));
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            // For STS alone: each call of EC2 names its own.
            .region(regions);
        let config = runtime.block_on(loader.load());
        Ok(Self { runtime, config, clients: RefCell::default() })
    }

    fn client(&self, region: &str) -> Client {
        let make = || {
            let config = aws_sdk_ec2::config::Builder::from(&self.config).region(Region::new(region.to_owned())).build();
            Client::from_conf(config)
        };
        self.clients.borrow_mut().entry(region.to_owned()).or_insert_with(make).clone()
    }
}

fn filters(of: &Of) -> Vec<Filter> {
    let filter = |(tag, value): (String, String)| Filter::builder().name(format!("tag:{tag}")).values(value).build();
    of.filters().into_iter().map(filter).collect()
}

fn tags(tags: Option<&[Tag]>) -> Tags {
    let pair = |tag: &Tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()));
    tags.unwrap_or_default().iter().filter_map(pair).collect()
}

/// What the SDK says of a failure, told apart by what may be done about it.
fn failed<E>(call: &'static str, region: &str, error: &SdkError<E, HttpResponse>) -> Failed
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().unwrap_or_default();
    let status = error.raw_response().map(|response| response.status().as_u16());
    let kind = match (code, error) {
        // Nothing was sent, or nothing came back: whether it was done is not known.
        (_, SdkError::TimeoutError(_) | SdkError::ResponseError(_)) => Kind::Unknown,
        (_, SdkError::DispatchFailure(failure)) if failure.is_io() || failure.is_timeout() => Kind::Unknown,
        // Of what remains, no credentials is by far the usual one.
        (_, SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_)) => Kind::Denied,
        ("DryRunOperation", _) => Kind::WouldWork,
        ("RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "RequestThrottled" | "EC2ThrottledException", _) => {
            Kind::Throttled
        }
        (
            "InsufficientInstanceCapacity"
            | "InsufficientHostCapacity"
            | "InsufficientFreeAddressesInSubnet"
            | "Unsupported"
            | "InstanceLimitExceeded"
            | "VcpuLimitExceeded"
            | "MaxSpotInstanceCountExceeded",
            _,
        ) => Kind::Capacity,
        // Not permitted; credentials that nobody knows, or that have expired; a clock that is wrong; a region that is not enabled.
        (
            "UnauthorizedOperation"
            | "AccessDenied"
            | "AccessDeniedException"
            | "AuthFailure"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "OptInRequired"
            | "Blocked"
            | "PendingVerification",
            _,
        ) => Kind::Denied,
        (code, _) if code.ends_with(".NotFound") => Kind::NotFound,
        _ if status.is_some_and(|status| status >= 500) => Kind::Unknown,
        _ if matches!(status, Some(401 | 403)) => Kind::Denied,
        _ => Kind::Invalid,
    };
    let message = error.message().map_or_else(|| chain(error), shortened);
    let code = match (code, kind) {
        ("", Kind::Denied) => "no credentials",
        ("", _) => NO_ANSWER,
        (code, _) => code,
    };
    let code = code.to_owned();
    Failed { kind, call, region: region.to_owned(), code, message }
}

/// A message without what nobody can read: EC2 appends a kilobyte of code to a refusal.
fn shortened(message: &str) -> String {
    let readable = message.split(" Encoded authorization failure message").next().unwrap_or_default();
    if readable.chars().count() <= MOST_WORDS {
        return readable.to_owned();
    }
    readable.chars().take(MOST_WORDS).chain(['…']).collect()
}

/// An error and what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        words.push(source.to_string());
        next = source.source();
    }
    words.dedup();
    words.join(": ")
}

fn instance(instance: &aws_sdk_ec2::types::Instance) -> Instance {
    Instance {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        state: instance.state().and_then(|state| state.name()).map_or_else(String::new, |name| name.as_str().to_owned()),
        reason: instance.state_reason().and_then(|reason| reason.message()).filter(|why| !why.is_empty()).map(str::to_owned),
        kind: instance.instance_type().map_or_else(String::new, |kind| kind.as_str().to_owned()),
        image: instance.image_id().unwrap_or_default().to_owned(),
        zone: instance.placement().and_then(|placement| placement.availability_zone()).unwrap_or_default().to_owned(),
        root: instance.root_device_name().map(str::to_owned),
        launched: instance.launch_time().and_then(|time| u64::try_from(time.secs()).ok()),
        tags: tags(Some(instance.tags())),
    }
}

impl Cloud for Aws {
    fn run_instance(&self, launch: &Launch) -> Result<Instance, Failed> {
        let all: Vec<Tag> = launch.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let specification = |of: ResourceType| TagSpecification::builder().resource_type(of).set_tags(Some(all.clone())).build();
        let interface = InstanceNetworkInterfaceSpecification::builder()
            .device_index(0)
            .delete_on_termination(launch.interface_goes)
            .associate_public_ip_address(launch.public_address)
            .set_subnet_id(launch.subnet.clone())
            .set_groups((!launch.security_groups.is_empty()).then(|| launch.security_groups.clone()))
            .build();
        let disk = EbsBlockDevice::builder()
            .volume_size(launch.disk.gb.into())
            .volume_type(VolumeType::from(launch.disk.kind))
            .encrypted(launch.disk.encrypted)
            .delete_on_termination(launch.disk.goes)
            .build();
        let behavior = if launch.shutdown_terminates { ShutdownBehavior::Terminate } else { ShutdownBehavior::Stop };
        let tokens = if launch.tokens_required { HttpTokensState::Required } else { HttpTokensState::Optional };
        let metadata = InstanceMetadataOptionsRequest::builder()
            .http_endpoint(InstanceMetadataEndpointState::Enabled)
            .http_tokens(tokens)
            .http_put_response_hop_limit(launch.metadata_hops.into());
        let credits = || CreditSpecificationRequest::builder().cpu_credits("standard").build();
        let request = self
            .client(&launch.region)
            .run_instances()
            // Without one the SDK draws one itself, as for a dry run.
            .set_client_token((!launch.token.is_empty()).then(|| launch.token.clone()))
            .image_id(&launch.image)
            .instance_type(InstanceType::from(launch.kind.as_str()))
            .min_count(1)
            .max_count(1)
            .instance_initiated_shutdown_behavior(behavior)
            .metadata_options(metadata.build())
            .block_device_mappings(BlockDeviceMapping::builder().device_name(&launch.disk.device).ebs(disk).build())
            .network_interfaces(interface)
            .tag_specifications(specification(ResourceType::Instance))
            .tag_specifications(specification(ResourceType::Volume))
            .tag_specifications(specification(ResourceType::NetworkInterface))
            .user_data(STANDARD.encode(&launch.user_data))
            .set_credit_specification(launch.standard_credits.then(credits))
            .set_iam_instance_profile(
                launch.profile.as_ref().map(|name| IamInstanceProfileSpecification::builder().name(name).build()),
            )
            .dry_run(launch.dry_run);
        let answer = self.runtime.block_on(request.send()).map_err(|e| failed("RunInstances", &launch.region, &e))?;
        answer.instances().first().map(instance).ok_or_else(|| Failed {
            kind: Kind::Unknown,
            call: "RunInstances",
            region: launch.region.clone(),
            code: "no instance".into(),
            message: "EC2 answers without an instance".into(),
        })
    }

    fn instances(&self, region: &str, of: &Of, page: Option<&str>) -> Result<Page<Instance>, Failed> {
        let request = self.client(region).describe_instances().set_filters(Some(filters(of))).max_results(PAGE);
        let answer = self.runtime.block_on(request.set_next_token(page.map(str::to_owned)).send());
        let answer = answer.map_err(|e| failed("DescribeInstances", region, &e))?;
        let items = answer.reservations().iter().flat_map(|r| r.instances()).map(instance).collect();
        Ok(Page { items, next: next(answer.next_token()) })
    }

    fn things(&self, region: &str, part: Part, of: &Of, page: Option<&str>) -> Result<Page<Thing>, Failed> {
        let page = page.map(str::to_owned);
        match part {
            Part::Volume => {
                let request = self.client(region).describe_volumes().set_filters(Some(filters(of))).max_results(PAGE);
                let answer = self.runtime.block_on(request.set_next_token(page).send());
                let answer = answer.map_err(|e| failed("DescribeVolumes", region, &e))?;
                let thing = |volume: &aws_sdk_ec2::types::Volume| Thing {
                    id: volume.volume_id().unwrap_or_default().to_owned(),
                    part,
                    free: volume.state() == Some(&VolumeState::Available),
                    tags: tags(Some(volume.tags())),
                };
                Ok(Page { items: answer.volumes().iter().map(thing).collect(), next: next(answer.next_token()) })
            }
            Part::Interface => {
                let request = self.client(region).describe_network_interfaces().set_filters(Some(filters(of))).max_results(PAGE);
                let answer = self.runtime.block_on(request.set_next_token(page).send());
                let answer = answer.map_err(|e| failed("DescribeNetworkInterfaces", region, &e))?;
                let thing = |interface: &aws_sdk_ec2::types::NetworkInterface| Thing {
                    id: interface.network_interface_id().unwrap_or_default().to_owned(),
                    part,
                    free: interface.status() == Some(&NetworkInterfaceStatus::Available),
                    tags: tags(Some(interface.tag_set())),
                };
                Ok(Page { items: answer.network_interfaces().iter().map(thing).collect(), next: next(answer.next_token()) })
            }
        }
    }

    fn terminate(&self, region: &str, id: &str) -> Result<(), Failed> {
        let request = self.client(region).terminate_instances().instance_ids(id);
        self.runtime.block_on(request.send()).map(drop).map_err(|e| failed("TerminateInstances", region, &e))
    }

    fn delete(&self, region: &str, part: Part, id: &str) -> Result<(), Failed> {
        let client = self.client(region);
        match part {
            Part::Volume => {
                let done = self.runtime.block_on(client.delete_volume().volume_id(id).send());
                done.map(drop).map_err(|e| failed("DeleteVolume", region, &e))
            }
            Part::Interface => {
                let done = self.runtime.block_on(client.delete_network_interface().network_interface_id(id).send());
                done.map(drop).map_err(|e| failed("DeleteNetworkInterface", region, &e))
            }
        }
    }

    fn tag(&self, region: &str, id: &str, key: &str, value: &str) -> Result<(), Failed> {
        let request = self.client(region).create_tags().resources(id).tags(Tag::builder().key(key).value(value).build());
        self.runtime.block_on(request.send()).map(drop).map_err(|e| failed("CreateTags", region, &e))
    }
}

/// An empty token is none.
fn next(token: Option<&str>) -> Option<String> {
    token.filter(|token| !token.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{MOST_WORDS, shortened};

    #[test]
    fn a_refusal_is_cut_where_nobody_can_read_it() {
        let said = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/x is not authorized to perform: \
                    ec2:RunInstances because no identity-based policy allows it. Encoded authorization failure message: 3dR0Wq";
        assert!(shortened(said).ends_with("policy allows it."), "{}", shortened(said));
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ä".repeat(2_000)).chars().count(), MOST_WORDS + 1);
    }
}
