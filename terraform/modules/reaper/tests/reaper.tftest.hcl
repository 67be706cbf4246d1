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
}

variables {
  image      = "example.com/whostalled-reaper:1"
  regions    = ["eu-central-1", "us-east-1"]
  region     = "eu-central-1"
  account_id = "123456789012"
  vpc_id     = "vpc-1"
  subnet_ids = ["subnet-1"]
}

# vantage-ec2/tests/policy.rs puts calls before this file.
run "as_written_down" {
  command = apply
  assert {
    condition     = jsondecode(output.policy) == jsondecode(file("tests/policy.json"))
    error_message = "tests/policy.json is to be: ${output.policy}"
  }
}

run "at_most_as_late_as_is_priced" {
  command = plan
  variables {
    every_minutes         = 10
    grace_minutes         = 15
    reaped_within_minutes = 40
  }
}

run "later_than_is_priced" {
  command = plan
  variables {
    every_minutes         = 10
    grace_minutes         = 16
    reaped_within_minutes = 40
  }
  expect_failures = [aws_scheduler_schedule.reap]
}

run "what_the_provider_does_not_take" {
  command = plan
  variables {
    every_minutes         = 2
    grace_minutes         = 0
    reaped_within_minutes = 60.5
  }
  expect_failures = [var.reaped_within_minutes]
}

run "each_hour_and_the_default_price" {
  command = plan
  variables {
    every_minutes = 60
  }
  expect_failures = [aws_scheduler_schedule.reap]
}

run "a_rate_that_is_none" {
  command = plan
  variables {
    every_minutes = 2.5
  }
  expect_failures = [var.every_minutes]
}
