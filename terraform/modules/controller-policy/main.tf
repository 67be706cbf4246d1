# What whoever brings vantages up must be let do: the calls that vantage-ec2 makes and no other (vantage-ec2/tests/policy.rs puts each before
# the policy), on what carries our tags; and the role of vantages that are brought up.

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
  ours    = { "aws:ResourceTag/managed-by" = "whostalled" }
  arn     = "arn:${var.partition}:ec2:*:${var.account_id}"
  made    = ["${local.arn}:instance/*", "${local.arn}:volume/*", "${local.arn}:network-interface/*"]
  prefix  = trimsuffix(var.parameter_prefix, "/")
  trusted = setproduct(var.regions, var.agents)

  policy = {
    Version   = "2012-10-17"
    Statement = concat(local.always, local.reap, local.session_manager, local.encrypted)
  }

  always = [
    {
      # They know no resources.
      Sid      = "Look"
      Effect   = "Allow"
      Action   = ["ec2:DescribeInstances", "ec2:DescribeVolumes", "ec2:DescribeNetworkInterfaces"]
      Resource = "*"
    },
    {
      # With the tags by which the reaper knows what it may end, and when.
      Sid      = "LaunchTagged"
      Effect   = "Allow"
      Action   = "ec2:RunInstances"
      Resource = local.made
      Condition = {
        StringEquals = { "aws:RequestTag/managed-by" = "whostalled" }
        Null         = { "aws:RequestTag/whostalled:expires-at" = "false" }
      }
    },
    {
      # Nobody would end it.
      Sid       = "LaunchNothingToKeep"
      Effect    = "Deny"
      Action    = "ec2:RunInstances"
      Resource  = local.made
      Condition = { Null = { "aws:RequestTag/whostalled:keep" = "false" } }
    },
    {
      # In other regions nobody looks.
      Sid       = "LaunchWhereTheReaperLooks"
      Effect    = "Deny"
      Action    = "ec2:RunInstances"
      Resource  = "*"
      Condition = { StringNotEquals = { "aws:RequestedRegion" = var.regions } }
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
      Resource  = local.made
      Condition = { StringEquals = { "ec2:CreateAction" = "RunInstances" } }
    },
    {
      Sid       = "EndOurs"
      Effect    = "Allow"
      Action    = ["ec2:TerminateInstances", "ec2:DeleteVolume", "ec2:DeleteNetworkInterface"]
      Resource  = local.made
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

  # For `whostalled vantage reap` by hand. The reaper's own role: modules/reaper.
  reap = [for wanted in var.reap ? [1] : [] : {
    Sid      = "Mark"
    Effect   = "Allow"
    Action   = "ec2:CreateTags"
    Resource = local.made
    Condition = {
      StringEquals                = local.ours
      "ForAllValues:StringEquals" = { "aws:TagKeys" = ["whostalled:marked-at"] }
    }
  }]

  # For ssh through Session Manager: to our instances, by this document and no other.
  session_manager = [for statement in [
    {
      Sid      = "ReachOurs"
      Effect   = "Allow"
      Action   = "ssm:StartSession"
      Resource = "${local.arn}:instance/*"
      Condition = {
        StringEquals = { "ssm:resourceTag/managed-by" = "whostalled" }
        BoolIfExists = { "ssm:SessionDocumentAccessCheck" = "true" }
      }
    },
    {
      Sid      = "ReachBySsh"
      Effect   = "Allow"
      Action   = "ssm:StartSession"
      Resource = "arn:${var.partition}:ssm:*:*:document/AWS-StartSSHSession"
      # In each statement that permits sessions, or a session without a named document asks for none.
      Condition = { BoolIfExists = { "ssm:SessionDocumentAccessCheck" = "true" } }
    },
    {
      Sid      = "UseOwnSessions"
      Effect   = "Allow"
      Action   = ["ssm:TerminateSession", "ssmmessages:OpenDataChannel"]
      Resource = "arn:${var.partition}:ssm:*:${var.account_id}:session/$${aws:userid}-*"
    },
  ] : statement if var.session_manager]

  # Where EBS encrypts by default with keys of the account's own: for the volumes that EC2 makes of an image.
  encrypted = [for statement in [
    {
      Sid       = "UseKeysForVolumes"
      Effect    = "Allow"
      Action    = ["kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"]
      Resource  = var.ebs_kms_key_arns
      Condition = { StringLike = { "kms:ViaService" = "ec2.*" } }
    },
    {
      Sid       = "LetVolumesUseKeys"
      Effect    = "Allow"
      Action    = "kms:CreateGrant"
      Resource  = var.ebs_kms_key_arns
      Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
    },
  ] : statement if length(var.ebs_kms_key_arns) > 0]
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

# All that are brought up have this one role, as `instance_profile` is one setting: each may read the credentials of these agents. So they are
# listed, and no standing vantage or edge is among them.
resource "aws_iam_role_policy" "credential" {
  name = "credential"
  role = aws_iam_role.vantage.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = [for of in local.trusted : "arn:${var.partition}:ssm:${of[0]}:${var.account_id}:parameter${local.prefix}/${of[1]}"]
    }]
  })
}

# What Session Manager needs on the instance's side. AWS's own AmazonSSMManagedInstanceCore has ssm:GetParameter on everything in it, which
# would let each vantage read every agent's key.
resource "aws_iam_role_policy" "session_manager" {
  # checkov:skip=CKV_AWS_355: these actions know no resources
  # checkov:skip=CKV_AWS_290: these actions know no resources
  count = var.session_manager ? 1 : 0

  name = "session-manager"
  role = aws_iam_role.vantage.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]
      Resource = "*"
    }]
  })
}

resource "aws_iam_instance_profile" "vantage" {
  name = "${var.name}-brought-up"
  role = aws_iam_role.vantage.name
  tags = var.tags
}
