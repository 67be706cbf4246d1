mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/whostalled-brought-up" }
  }
}

variables {
  account_id = "123456789012"
  regions    = ["eu-central-1", "us-east-1"]
  agents     = ["ec2-1", "t2-medium"]
}

# vantage-ec2/tests/policy.rs puts calls before these files.
run "as_written_down" {
  command = apply
  assert {
    condition     = jsondecode(output.policy) == jsondecode(file("tests/policy.json"))
    error_message = "tests/policy.json is to be: ${output.policy}"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.credential.policy).Statement == [{
      Effect = "Allow"
      Action = ["ssm:GetParameter"]
      Resource = [
        "arn:aws:ssm:eu-central-1:123456789012:parameter/whostalled/agents/ec2-1",
        "arn:aws:ssm:eu-central-1:123456789012:parameter/whostalled/agents/t2-medium",
        "arn:aws:ssm:us-east-1:123456789012:parameter/whostalled/agents/ec2-1",
        "arn:aws:ssm:us-east-1:123456789012:parameter/whostalled/agents/t2-medium",
      ]
    }]
    error_message = "what is brought up reads the credentials of the agents named, and nothing else"
  }
  assert {
    condition     = length(aws_iam_role_policy.session_manager) == 0
    error_message = "nobody asked for Session Manager"
  }
}

run "with_all_that_may_be_wanted" {
  command = apply
  variables {
    reap             = true
    session_manager  = true
    ebs_kms_key_arns = ["arn:aws:kms:eu-central-1:123456789012:key/1"]
  }
  assert {
    condition     = jsondecode(output.policy) == jsondecode(file("tests/policy-all.json"))
    error_message = "tests/policy-all.json is to be: ${output.policy}"
  }
  assert {
    condition     = length(output.policy) <= 6144
    error_message = "IAM takes 6144 characters in a managed policy"
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.session_manager[0].policy, "GetParameter")
    error_message = "what Session Manager needs reads no parameters"
  }
}

run "all_agents" {
  command = plan
  variables {
    agents = ["*"]
  }
  expect_failures = [var.agents]
}

run "no_region" {
  command = plan
  variables {
    regions = []
  }
  expect_failures = [var.regions]
}
