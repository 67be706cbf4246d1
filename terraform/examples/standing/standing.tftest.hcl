# With a mock in place of AWS: what is wired to what.

# The provider refuses to pass on what is no ARN, mocked or not.
mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/mocked" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/mocked:1" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:mocked" }
  }
}

variables {
  region         = "eu-central-1"
  regions        = ["eu-central-1", "us-east-1"]
  account_id     = "123456789012"
  ami            = "ami-0123456789abcdef0"
  vpc_id         = "vpc-1"
  subnet_id      = "subnet-1"
  nats_url       = "tls://nats.example.com:4222"
  nats_ca        = "-----BEGIN CERTIFICATE-----"
  program_url    = "https://example.com/whostalled"
  program_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
  reaper_image   = "example.com/whostalled-reaper:1"
  agents         = ["ec2-1"]
  allowed_cidrs  = ["192.0.2.0/24"]
  emails         = ["ops@example.com"]
}

run "standing" {
  command = apply

  assert {
    condition     = length(module.vantages.instance_ids) == 2
    error_message = "a vantage of each name"
  }
  assert {
    condition     = output.settings.instance_profile == "whostalled-brought-up"
    error_message = "what is brought up has the profile that the policy passes on"
  }
  assert {
    condition     = length(module.alarms.credit_alarms) == 2
    error_message = "each standing vantage has an alarm"
  }
  assert {
    condition     = module.alarms.reaper_alarm == "whostalled-reaper-not-done"
    error_message = "a reaper that does not get done alarms"
  }
  assert {
    condition     = output.settings.reaped_within_minutes == module.reaper.reaped_within_minutes
    error_message = "prices are computed with this reaper"
  }
  assert {
    condition     = output.edge.recorder == "fleet:edge-1"
    error_message = "the recorder is asked through its agent"
  }
  assert {
    condition     = strcontains(module.reaper.policy, "ec2:TerminateInstances") && !strcontains(module.reaper.policy, "ec2:RunInstances")
    error_message = "the reaper ends and launches nothing"
  }
}
