output "policy" {
  description = "What it may do, as JSON."
  value       = jsonencode(local.policy)
}

output "log_group" {
  description = "Where it says what it did."
  value       = aws_cloudwatch_log_group.reaper.name
}

output "reaped_within_minutes" {
  description = "For the settings of ec2: how late it ends something at most."
  value       = var.reaped_within_minutes
}

output "silent_minutes" {
  description = "For modules/alarms: three times in which it did not come."
  value       = 3 * var.every_minutes
}
