# Two standing vantages, a test edge, the reaper, alarms, and the policy of whoever brings vantages up. Fill in the variables and run
# `terraform plan` with your own credentials; nothing here has been applied by the project (docs/ec2.md, "Terraform").

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

provider "aws" {
  region = var.region
}

module "vantages" {
  source         = "../../modules/vantage"
  names          = ["aws-1", "aws-2"]
  ami            = var.ami
  instance_type  = "t3.medium"
  vpc_id         = var.vpc_id
  subnet_id      = var.subnet_id
  region         = var.region
  account_id     = var.account_id
  nats_url       = var.nats_url
  nats_ca        = var.nats_ca
  program_url    = var.program_url
  program_sha256 = var.program_sha256
}

module "edge" {
  source         = "../../modules/edge"
  agent          = "edge-1"
  ami            = var.ami
  vpc_id         = var.vpc_id
  subnet_id      = var.subnet_id
  region         = var.region
  account_id     = var.account_id
  allowed_cidrs  = var.allowed_cidrs
  nats_url       = var.nats_url
  nats_ca        = var.nats_ca
  program_url    = var.program_url
  program_sha256 = var.program_sha256
}

module "controller" {
  source     = "../../modules/controller-policy"
  account_id = var.account_id
  regions    = var.regions
  agents     = var.agents
}

module "reaper" {
  source     = "../../modules/reaper"
  image      = var.reaper_image
  regions    = var.regions
  region     = var.region
  account_id = var.account_id
  vpc_id     = var.vpc_id
  subnet_ids = [var.subnet_id]
}

module "alarms" {
  source                = "../../modules/alarms"
  instance_ids          = module.vantages.instance_ids
  reaper_log_group      = module.reaper.log_group
  reaper_silent_minutes = module.reaper.silent_minutes
  emails                = var.emails
}

output "settings" {
  description = "For the table [ec2] of `whostalled vantage --settings`."
  value = {
    region                = var.region
    regions               = var.regions
    instance_profile      = module.controller.instance_profile
    subnets               = [var.subnet_id]
    reaped_within_minutes = module.reaper.reaped_within_minutes
    program               = { url = var.program_url, sha256 = var.program_sha256 }
  }
}

output "controller_policy_arn" {
  description = "To be attached to whoever controls."
  value       = module.controller.policy_arn
}

output "edge" {
  description = "The edge, and its recorder."
  value       = { address = module.edge.address, recorder = module.edge.recorder }
}
