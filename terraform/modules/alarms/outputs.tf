output "reaper_alarm" {
  description = "The alarm on the reaper's silence; null if there is none."
  value       = one(aws_cloudwatch_metric_alarm.reaper[*].alarm_name)
}

output "credit_alarms" {
  description = "Alarms on credits, by vantage."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.credits : name => alarm.alarm_name }
}
