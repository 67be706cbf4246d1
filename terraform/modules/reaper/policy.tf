# What the reaper must be let do: the calls that `vantage reap` makes and no other (vantage-ec2/tests/policy.rs puts each before the policy).

locals {
  arn  = "arn:${var.partition}:ec2:*:${var.account_id}"
  ours = { StringEquals = { "aws:ResourceTag/managed-by" = "whostalled" } }
  policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Look"
        Effect   = "Allow"
        Action   = ["ec2:DescribeInstances", "ec2:DescribeVolumes", "ec2:DescribeNetworkInterfaces"]
        Resource = "*"
      },
      {
        Sid       = "Mark"
        Effect    = "Allow"
        Action    = "ec2:CreateTags"
        Resource  = "${local.arn}:*/*"
        Condition = merge(local.ours, { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["whostalled:marked-at"] } })
      },
      {
        Sid       = "End"
        Effect    = "Allow"
        Action    = ["ec2:TerminateInstances", "ec2:DeleteVolume", "ec2:DeleteNetworkInterface"]
        Resource  = "${local.arn}:*/*"
        Condition = local.ours
      },
    ]
  }
}
