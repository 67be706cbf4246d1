variable "region" {
  description = "The region."
  type        = string
}

variable "regions" {
  description = "Every region in which vantages may be brought up."
  type        = list(string)
}

variable "account_id" {
  description = "The account."
  type        = string
}

variable "ami" {
  description = "Amazon Linux 2023."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_id" {
  description = "A subnet of it."
  type        = string
}

variable "nats_url" {
  description = "The broker: tls://HOST:4222."
  type        = string
}

variable "nats_ca" {
  description = "Roots of its certificate, PEM."
  type        = string
}

variable "program_url" {
  description = "Where the released binary is fetched from."
  type        = string
}

variable "program_sha256" {
  description = "Its SHA-256."
  type        = string
}

variable "reaper_image" {
  description = "Image with whostalled and whostalled-vantage-ec2."
  type        = string
}

variable "allowed_cidrs" {
  description = "From where handshakes with the edge may come."
  type        = set(string)
}

variable "agents" {
  description = "Agents that may be brought up: their credentials are in /whostalled/agents/NAME."
  type        = list(string)
}

variable "emails" {
  description = "Who hears of alarms and of cost."
  type        = list(string)
}
