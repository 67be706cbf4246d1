output "credit_alarms" {
  description = "Alarms on credits, by vantage."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.credits : name => alarm.alarm_name }
}
