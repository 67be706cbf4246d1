output "policy" {
  description = "What it may do, as JSON."
  value       = jsonencode(local.policy)
}

output "log_group" {
  description = "Where it says what it did."
  value       = aws_cloudwatch_log_group.reaper.name
}
