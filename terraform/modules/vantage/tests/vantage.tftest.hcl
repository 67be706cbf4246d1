mock_provider "aws" {}

variables {
  names          = ["a", "b"]
  ami            = "ami-1"
  vpc_id         = "vpc-1"
  subnet_id      = "subnet-1"
  region         = "eu-central-1"
  account_id     = "123456789012"
  nats_url       = "tls://nats.example.com:4222"
  nats_ca        = "-----BEGIN CERTIFICATE-----"
  program_url    = "https://example.com/whostalled"
  program_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
}

run "burstable" {
  command = apply
  variables {
    instance_type = "t2.medium"
  }
  assert {
    condition     = alltrue([for i in aws_instance.vantage : one(i.credit_specification).cpu_credits == "standard"])
    error_message = "credits are named, whatever AWS's default is"
  }
  assert {
    condition     = alltrue([for i in aws_instance.vantage : one(i.metadata_options).http_tokens == "required"])
    error_message = "metadata with tokens alone"
  }
  assert {
    condition     = alltrue([for i in aws_instance.vantage : i.tags["whostalled:keep"] == "true" && i.tags["managed-by"] == "terraform"])
    error_message = "no reaper ends a standing vantage"
  }
  assert {
    condition     = alltrue([for i in aws_instance.vantage : strcontains(i.user_data, "ssm get-parameter") && !strcontains(i.user_data, "PRIVATE KEY")])
    error_message = "the credential comes from SSM"
  }
  assert {
    condition = alltrue([for name, policy in aws_iam_role_policy.credential : jsondecode(policy.policy).Statement == [{
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = ["arn:aws:ssm:eu-central-1:123456789012:parameter/whostalled/standing/${name}"]
    }]])
    error_message = "each role reads its own credential and nothing else"
  }
  assert {
    condition     = alltrue([for name, i in aws_instance.vantage : i.iam_instance_profile == "whostalled-vantage-${name}"])
    error_message = "each vantage has its own role"
  }
  assert {
    condition     = alltrue([for i in aws_instance.vantage : i.ebs_optimized == false])
    error_message = "EC2 refuses a T2 that is to be EBS-optimised"
  }
}

run "not_burstable" {
  command = apply
  variables {
    instance_type = "m7i.large"
  }
  assert {
    condition     = alltrue([for i in aws_instance.vantage : length(i.credit_specification) == 0])
    error_message = "EC2 refuses credits for other types"
  }
  assert {
    condition     = alltrue([for i in aws_instance.vantage : i.ebs_optimized])
    error_message = "EBS-optimised where it can be"
  }
}

run "a_name_that_is_none" {
  command = plan
  variables {
    names = ["a b"]
  }
  expect_failures = [var.names]
}

run "a_name_that_is_too_long_for_a_role" {
  command = plan
  variables {
    names = ["a123456789012345678901234567890123456789"]
  }
  expect_failures = [var.names]
}

run "a_broker_in_clear" {
  command = plan
  variables {
    nats_url = "nats://nats.example.com:4222"
  }
  expect_failures = [var.nats_url]
}
