output "address" {
  description = "Its public address."
  value       = aws_instance.edge.public_ip
}

output "recorder" {
  description = "For `run --recorder`."
  value       = "fleet:${var.agent}"
}
