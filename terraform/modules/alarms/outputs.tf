output "reaper_alarm" {
  description = "The alarm on a reaper that does not get done; null if there is none."
  value       = one(aws_cloudwatch_metric_alarm.reaper[*].alarm_name)
}

output "credit_alarms" {
  description = "Alarms on credits, by vantage."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.credits : name => alarm.alarm_name }
}

output "topic_arn" {
  description = "The SNS topic that hears of alarms."
  value       = aws_sns_topic.alarms.arn
}
