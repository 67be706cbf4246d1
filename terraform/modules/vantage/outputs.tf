output "instance_ids" {
  description = "Instances by the names of their agents."
  value       = { for name, instance in aws_instance.vantage : name => instance.id }
}

output "instance_profiles" {
  description = "Instance profiles by the names of their agents."
  value       = { for name, profile in aws_iam_instance_profile.vantage : name => profile.name }
}
