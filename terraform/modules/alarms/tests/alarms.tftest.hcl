mock_provider "aws" {
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:mocked" }
  }
}

variables {
  emails           = ["ops@example.com", "night@example.com"]
  instance_ids     = { a = "i-1" }
  reaper_log_group = "/whostalled/reaper"
}

run "somebody_hears" {
  command = apply
  variables {
    topic_arns = ["arn:aws:sns:eu-central-1:123456789012:pager"]
  }
  assert {
    condition = alltrue([for alarm in concat(values(aws_cloudwatch_metric_alarm.credits), aws_cloudwatch_metric_alarm.reaper) :
    alarm.alarm_actions == toset([aws_sns_topic.alarms.arn, "arn:aws:sns:eu-central-1:123456789012:pager"])])
    error_message = "each alarm goes to the topic of its own and to others that are named"
  }
  assert {
    condition     = toset([for s in aws_sns_topic_subscription.emails : s.endpoint if s.topic_arn == aws_sns_topic.alarms.arn]) == toset(var.emails)
    error_message = "the addresses hear of alarms"
  }
}

run "the_reaper_gets_done" {
  command = apply
  assert {
    condition     = aws_cloudwatch_log_metric_filter.reaper[0].pattern == "{ $.say = \"done\" }"
    error_message = "its last line, as `--json` prints it (provider/src/answer.rs), and not any line"
  }
  assert {
    condition = alltrue([for transformation in aws_cloudwatch_log_metric_filter.reaper[0].metric_transformation :
    transformation.namespace == aws_cloudwatch_metric_alarm.reaper[0].namespace && transformation.name == aws_cloudwatch_metric_alarm.reaper[0].metric_name])
    error_message = "the alarm looks at what the filter counts"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.reaper[0].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.reaper[0].period == 1800
    error_message = "no line for so long alarms"
  }
}

run "nobody_hears" {
  command = plan
  variables {
    emails = []
  }
  expect_failures = [var.emails]
}

run "longer_than_cloudwatch_looks_back" {
  command = plan
  variables {
    reaper_silent_minutes = 1441
  }
  expect_failures = [var.reaper_silent_minutes]
}
