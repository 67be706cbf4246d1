# What whoever brings vantages up must be let do: the calls that vantage-ec2 makes and no other (vantage-ec2/tests/endpoint.rs compares), on
# what carries our tags; and the role of vantages that are brought up.

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
  ours = { "aws:ResourceTag/managed-by" = "whostalled" }
  arn  = "arn:${var.partition}:ec2:*:${var.account_id}"
  policy = {
    Version = "2012-10-17"
    Statement = [
      {
        # They know no resources.
        Sid      = "Look"
        Effect   = "Allow"
        Action   = ["ec2:DescribeInstances", "ec2:DescribeVolumes", "ec2:DescribeNetworkInterfaces"]
        Resource = "*"
      },
      {
        Sid       = "LaunchTagged"
        Effect    = "Allow"
        Action    = "ec2:RunInstances"
        Resource  = ["${local.arn}:instance/*", "${local.arn}:volume/*", "${local.arn}:network-interface/*"]
        Condition = { StringEquals = { "aws:RequestTag/managed-by" = "whostalled" } }
      },
      {
        # The kinds of machine that may be had; the cheapest cap there is.
        Sid       = "LaunchSmall"
        Effect    = "Deny"
        Action    = "ec2:RunInstances"
        Resource  = "${local.arn}:instance/*"
        Condition = { StringNotEquals = { "ec2:InstanceType" = var.instance_types } }
      },
      {
        Sid       = "LaunchWithTokensAlone"
        Effect    = "Deny"
        Action    = "ec2:RunInstances"
        Resource  = "${local.arn}:instance/*"
        Condition = { StringNotEquals = { "ec2:MetadataHttpTokens" = "required" } }
      },
      {
        Sid    = "LaunchFrom"
        Effect = "Allow"
        Action = "ec2:RunInstances"
        Resource = [
          "arn:${var.partition}:ec2:*::image/*",
          "${local.arn}:subnet/*",
          "${local.arn}:security-group/*",
        ]
      },
      {
        Sid       = "TagAtLaunch"
        Effect    = "Allow"
        Action    = "ec2:CreateTags"
        Resource  = "${local.arn}:*/*"
        Condition = { StringEquals = { "ec2:CreateAction" = "RunInstances" } }
      },
      {
        Sid       = "EndOurs"
        Effect    = "Allow"
        Action    = ["ec2:TerminateInstances", "ec2:DeleteVolume", "ec2:DeleteNetworkInterface"]
        Resource  = "${local.arn}:*/*"
        Condition = { StringEquals = local.ours }
      },
      {
        # resolve:ssm: names AWS's own images.
        Sid      = "ResolveImages"
        Effect   = "Allow"
        Action   = "ssm:GetParameters"
        Resource = "arn:${var.partition}:ssm:*::parameter/aws/service/*"
      },
      {
        Sid       = "GiveTheRoleOfVantages"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = aws_iam_role.vantage.arn
        Condition = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
      },
    ]
  }
}

resource "aws_iam_policy" "controller" {
  name        = "${var.name}-controller"
  description = "Vantages of whostalled: bring up, list, take down"
  policy      = jsonencode(local.policy)
  tags        = var.tags
}

resource "aws_iam_role" "vantage" {
  name = "${var.name}-brought-up"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "credential" {
  name = "credential"
  role = aws_iam_role.vantage.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = ["arn:${var.partition}:ssm:*:${var.account_id}:parameter${trimsuffix(var.parameter_prefix, "/")}/*"]
    }]
  })
}

resource "aws_iam_instance_profile" "vantage" {
  name = "${var.name}-brought-up"
  role = aws_iam_role.vantage.name
  tags = var.tags
}
