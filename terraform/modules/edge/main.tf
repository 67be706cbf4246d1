# A test edge: nginx with your certificate, and a recorder beside it that agents of the fleet can be asked through.

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
  # A prefix of its own: no vantage may read what is an edge's, nor an edge what is a vantage's.
  prefix = "${trimsuffix(var.parameter_prefix, "/")}/${var.agent}"
  tags   = merge(var.tags, { "managed-by" = "terraform", "whostalled:keep" = "true" })
}

resource "aws_security_group" "edge" {
  name        = "${var.name}-edge"
  description = "A test edge of whostalled: HTTPS comes in"
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each          = var.allowed_cidrs
  security_group_id = aws_security_group.edge.id
  description       = "Handshakes"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.edge.id
  description       = "The broker, SSM, packages"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_iam_role" "edge" {
  name = "${var.name}-edge"
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

resource "aws_iam_role_policy" "credential" {
  name = "credential"
  role = aws_iam_role.edge.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = [for parameter in ["agent", "certificate"] : "arn:${var.partition}:ssm:${var.region}:${var.account_id}:parameter${local.prefix}/${parameter}"]
    }]
  })
}

resource "aws_iam_instance_profile" "edge" {
  name = "${var.name}-edge"
  role = aws_iam_role.edge.name
  tags = local.tags
}

resource "aws_instance" "edge" {
  # checkov:skip=CKV_AWS_88: handshakes come to it from outside, from `allowed_cidrs` alone
  # checkov:skip=CKV_AWS_126: it costs; `detailed_monitoring` for whoever wants it
  ami                         = var.ami
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.edge.id]
  iam_instance_profile        = aws_iam_instance_profile.edge.name
  associate_public_ip_address = true
  user_data_replace_on_change = true
  ebs_optimized               = true
  monitoring                  = var.detailed_monitoring
  tags                        = merge(local.tags, { Name = "whostalled edge ${var.agent}" })
  volume_tags                 = local.tags

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted             = true
    delete_on_termination = true
    volume_size           = 16
    volume_type           = "gp3"
  }

  user_data = templatefile("${path.module}/user-data.sh.tftpl", {
    agent    = var.agent
    prefix   = local.prefix
    region   = var.region
    nats_url = var.nats_url
    nats_ca  = var.nats_ca
    url      = var.program_url
    sha256   = var.program_sha256
  })

  # It asks for packages and keys at once, by that way out.
  depends_on = [aws_iam_role_policy.credential, aws_vpc_security_group_egress_rule.out]
}
