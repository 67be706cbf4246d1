variable "name" {
  description = "Prefix of what is made."
  type        = string
  default     = "whostalled"
  validation {
    condition     = length(var.name) <= 16
    error_message = "At most 16 characters: the name of a role has 64."
  }
}

variable "names" {
  description = "A vantage of each name: the name in its certificate (dist/nats/certify FOLDER agent NAME)."
  type        = set(string)
  validation {
    condition     = alltrue([for name in var.names : can(regex("^[A-Za-z0-9-]{1,39}$", name))])
    error_message = "Names of agents: letters, digits and `-`, at most 39 of them: each names a role."
  }
}

variable "parameter_prefix" {
  description = "SSM parameters PREFIX/NAME (SecureString) hold each agent's certificate and key, PEM; put there by you, not by Terraform, whose state would have them. Another prefix than that of vantages that are brought up."
  type        = string
  default     = "/whostalled/standing"
  validation {
    condition     = startswith(var.parameter_prefix, "/")
    error_message = "A path begins with `/`."
  }
}

variable "ami" {
  description = "An image with curl, the AWS CLI and systemd: Amazon Linux 2023."
  type        = string
}

variable "instance_type" {
  description = "t2.medium has launch credits, t3.medium none: docs/ec2.md."
  type        = string
  default     = "t3.medium"
}

variable "cpu_credits" {
  description = "`standard`: at its baseline once its credits are spent; `unlimited` costs beyond the baseline."
  type        = string
  default     = "standard"
  validation {
    condition     = contains(["standard", "unlimited"], var.cpu_credits)
    error_message = "`standard` or `unlimited`."
  }
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_id" {
  description = "The subnet."
  type        = string
}

variable "public_address" {
  description = "Whether they get public addresses; without one the subnet needs a NAT."
  type        = bool
  default     = true
}

variable "detailed_monitoring" {
  description = "Metrics every minute (it costs)."
  type        = bool
  default     = false
}

variable "region" {
  description = "The region, for the names of parameters."
  type        = string
}

variable "account_id" {
  description = "The account, for the names of parameters."
  type        = string
}

variable "partition" {
  description = "`aws`, `aws-cn` or `aws-us-gov`."
  type        = string
  default     = "aws"
}

variable "nats_url" {
  description = "The broker, as they reach it: tls://HOST:4222."
  type        = string
  validation {
    condition     = startswith(var.nats_url, "tls://")
    error_message = "Over other networks a broker is spoken to by TLS: tls://HOST:4222."
  }
}

variable "nats_ca" {
  description = "Roots of the broker's certificate, PEM (no secret)."
  type        = string
}

variable "group" {
  description = "The group of the fleet that they belong to."
  type        = string
  default     = "aws"
}

variable "program_url" {
  description = "Where the released binary is fetched from."
  type        = string
}

variable "program_sha256" {
  description = "Its SHA-256."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.program_sha256))
    error_message = "64 hexadecimal digits."
  }
}

variable "tags" {
  description = "Further tags of everything."
  type        = map(string)
  default     = {}
}
