# Alarms: a standing vantage whose credits are spent measures its own throttling; a reaper that says nothing ends nothing; and what everything
# costs.

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
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
  alarm_actions       = var.topic_arns
  ok_actions          = var.topic_arns
  tags                = var.tags
}

# Each time it comes it logs a line at least, whether or not it could do its work: silence is one that does not come.
resource "aws_cloudwatch_metric_alarm" "reaper" {
  count = var.reaper_log_group == null ? 0 : 1

  alarm_name          = "${var.name}-reaper-silent"
  alarm_description   = "The reaper has not come for ${var.reaper_silent_minutes} minutes: what outlives its time is not ended"
  namespace           = "AWS/Logs"
  metric_name         = "IncomingLogEvents"
  dimensions          = { LogGroupName = var.reaper_log_group }
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = var.reaper_silent_minutes * 60
  evaluation_periods  = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.topic_arns
  ok_actions          = var.topic_arns
  tags                = var.tags
}

resource "aws_budgets_budget" "vantages" {
  name         = "${var.name}-vantages"
  budget_type  = "COST"
  limit_amount = tostring(var.usd_per_month)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  # Of what is tagged; the tag has to be activated for cost allocation once (docs/ec2.md).
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
