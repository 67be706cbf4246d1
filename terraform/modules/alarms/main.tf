# Alarms: a standing vantage whose credits are spent measures its own throttling; and what everything costs.

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
