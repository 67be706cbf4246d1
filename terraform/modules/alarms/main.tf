# Alarms: a standing vantage whose credits are spent measures its own throttling; a reaper that never gets done ends nothing; and what vantages
# that are brought up cost. Whoever `emails` names hears of all of it.

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
  namespace = var.name
  done      = "ReaperDone"
  topics    = concat([aws_sns_topic.alarms.arn], var.topic_arns)
}

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26: alarms have names and figures and no secret, and CloudWatch may not use SNS's own key; `kms_key_arn` for one of yours
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

# AWS writes to each address once, to be confirmed.
resource "aws_sns_topic_subscription" "emails" {
  for_each = toset(var.emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "credits" {
  for_each = var.instance_ids

  alarm_name          = "${var.name}-credits-${each.key}"
  alarm_description   = "${each.key} has few CPU credits: its handshakes are slow for want of CPU, not for the path"
  namespace           = "AWS/EC2"
  metric_name         = "CPUCreditBalance"
  dimensions          = { InstanceId = each.value }
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = var.least_credits
  period              = 300
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topics
  ok_actions          = local.topics
  tags                = var.tags
}

# Its last line, once it has looked at everything and ended what was due. One that is refused logs too, and says something else.
resource "aws_cloudwatch_log_metric_filter" "reaper" {
  count = var.reaper_log_group == null ? 0 : 1

  name           = "${var.name}-reaper-done"
  log_group_name = var.reaper_log_group
  pattern        = "{ $.say = \"done\" }"

  metric_transformation {
    namespace = local.namespace
    name      = local.done
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "reaper" {
  count = var.reaper_log_group == null ? 0 : 1

  alarm_name          = "${var.name}-reaper-not-done"
  alarm_description   = "The reaper has not got done for ${var.reaper_silent_minutes} minutes: what outlives its time is not ended"
  namespace           = local.namespace
  metric_name         = local.done
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = var.reaper_silent_minutes * 60
  evaluation_periods  = 1
  treat_missing_data  = "breaching"
  alarm_actions       = local.topics
  ok_actions          = local.topics
  tags                = var.tags
}

resource "aws_budgets_budget" "vantages" {
  name         = "${var.name}-vantages"
  budget_type  = "COST"
  limit_amount = tostring(var.usd_per_month)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  # Of what is brought up, by its tag, which has to be activated for cost allocation once (docs/ec2.md). Standing vantages, edge and reaper are
  # not in it: they cost the same every month.
  cost_filter {
    name   = "TagKeyValue"
    values = ["user:managed-by$whostalled"]
  }

  dynamic "notification" {
    for_each = toset([50, 100])
    content {
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      notification_type          = "ACTUAL"
      subscriber_email_addresses = var.emails
    }
  }
}
