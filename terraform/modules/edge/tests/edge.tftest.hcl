mock_provider "aws" {}

variables {
  agent          = "edge-1"
  ami            = "ami-1"
  vpc_id         = "vpc-1"
  subnet_id      = "subnet-1"
  region         = "eu-central-1"
  account_id     = "123456789012"
  allowed_cidrs  = ["192.0.2.0/24"]
  nats_url       = "tls://nats.example.com:4222"
  nats_ca        = "-----BEGIN CERTIFICATE-----"
  program_url    = "https://example.com/whostalled"
  program_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
}

run "edge" {
  command = apply
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.https : rule.from_port == 443 && rule.to_port == 443])
    error_message = "HTTPS alone comes in"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.credential.policy).Statement == [{
      Effect = "Allow"
      Action = ["ssm:GetParameter"]
      Resource = [
        "arn:aws:ssm:eu-central-1:123456789012:parameter/whostalled/edges/edge-1/agent",
        "arn:aws:ssm:eu-central-1:123456789012:parameter/whostalled/edges/edge-1/certificate",
      ]
    }]
    error_message = "the role reads what is this edge's and nothing else"
  }
  assert {
    condition     = output.recorder == "fleet:edge-1"
    error_message = "the recorder is asked through its agent"
  }
}

run "a_burstable_edge" {
  command = plan
  variables {
    instance_type = "t3.medium"
  }
  expect_failures = [var.instance_type]
}

run "an_edge_for_nobody" {
  command = plan
  variables {
    allowed_cidrs = []
  }
  expect_failures = [var.allowed_cidrs]
}
