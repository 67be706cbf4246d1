output "policy_arn" {
  description = "To be attached to whoever controls."
  value       = aws_iam_policy.controller.arn
}

output "policy" {
  description = "The policy, as JSON."
  value       = jsonencode(local.policy)
}

output "instance_profile" {
  description = "For `instance_profile` of the settings of ec2."
  value       = aws_iam_instance_profile.vantage.name
}
