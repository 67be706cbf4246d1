output "instance_ids" {
  description = "Instances by the names of their agents."
  value       = { for name, instance in aws_instance.vantage : name => instance.id }
}

output "instance_profile" {
  description = "The instance profile."
  value       = aws_iam_instance_profile.vantage.name
}
