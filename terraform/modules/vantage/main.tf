# Standing vantages. They are tagged to be kept, so that no reaper ends them, and managed by Terraform, so that no controller counts them.

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

locals {
  # EC2 refuses it (`Unsupported`) for T2; later types have it anyway.
  ebs_optimized = !startswith(var.instance_type, "t2.")

  burstable = can(regex("^t[0-9]", var.instance_type))
  agents    = { for name in var.names : name => "${trimsuffix(var.parameter_prefix, "/")}/${name}" }
}

resource "aws_security_group" "outbound_only" {
  name        = "${var.name}-vantages"
  description = "Vantages of whostalled: they dial out, nothing comes in"
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.outbound_only.id
  description       = "Handshakes with targets, the broker, SSM"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

# One role each: a vantage that is broken into is no other agent.
resource "aws_iam_role" "vantage" {
  for_each = local.agents

  name = "${var.name}-vantage-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
  tags = local.tags
}

# It reads its own credential, and nothing else of the account.
resource "aws_iam_role_policy" "credential" {
  for_each = local.agents

  name = "credential"
  role = aws_iam_role.vantage[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = ["arn:${var.partition}:ssm:${var.region}:${var.account_id}:parameter${each.value}"]
    }]
  })
}

resource "aws_iam_instance_profile" "vantage" {
  for_each = local.agents

  name = "${var.name}-vantage-${each.key}"
  role = aws_iam_role.vantage[each.key].name
  tags = local.tags
}

locals {
  tags = merge(var.tags, { "managed-by" = "terraform", "whostalled:keep" = "true" })
}

resource "aws_instance" "vantage" {
  # checkov:skip=CKV_AWS_88: they dial out, and nothing comes in; `public_address = false` where the subnet has a NAT
  # checkov:skip=CKV_AWS_126: it costs; `detailed_monitoring` for whoever wants it
  # checkov:skip=CKV_AWS_135: all are but T2, which cannot be (local.ebs_optimized)
  for_each = local.agents

  ami                                  = var.ami
  instance_type                        = var.instance_type
  subnet_id                            = var.subnet_id
  vpc_security_group_ids               = [aws_security_group.outbound_only.id]
  iam_instance_profile                 = aws_iam_instance_profile.vantage[each.key].name
  associate_public_ip_address          = var.public_address
  instance_initiated_shutdown_behavior = "stop"
  user_data_replace_on_change          = true
  monitoring                           = var.detailed_monitoring
  ebs_optimized                        = local.ebs_optimized
  tags                                 = merge(local.tags, { Name = "whostalled ${each.key}" })
  volume_tags                          = local.tags

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted             = true
    delete_on_termination = true
    volume_size           = 8
    volume_type           = "gp3"
  }

  # Set for burstable types, where AWS's own default differs between T2 and T3.
  dynamic "credit_specification" {
    for_each = local.burstable ? [var.cpu_credits] : []
    content {
      cpu_credits = credit_specification.value
    }
  }

  user_data = templatefile("${path.module}/user-data.sh.tftpl", {
    agent     = each.key
    parameter = each.value
    region    = var.region
    nats_url  = var.nats_url
    nats_ca   = var.nats_ca
    group     = var.group
    url       = var.program_url
    sha256    = var.program_sha256
  })

  # It asks for its credential at once, by that way out.
  depends_on = [aws_iam_role_policy.credential, aws_vpc_security_group_egress_rule.out]
}
