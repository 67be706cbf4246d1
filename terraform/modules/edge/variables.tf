variable "name" {
  description = "Prefix of what is made."
  type        = string
  default     = "whostalled"
}

variable "ami" {
  description = "An image with curl, the AWS CLI and systemd: Amazon Linux 2023."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_id" {
  description = "The subnet."
  type        = string
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

variable "agent" {
  description = "The agent that the recorder is asked through; SSM has its credential in PREFIX/NAME/agent, and the edge's certificate with its key in PREFIX/NAME/certificate."
  type        = string
}

variable "parameter_prefix" {
  description = "Where SSM has them: where no vantage's are."
  type        = string
  default     = "/whostalled/edges"
  validation {
    condition     = startswith(var.parameter_prefix, "/")
    error_message = "A path begins with `/`."
  }
}

variable "instance_type" {
  description = "Not a burstable one: an edge without credits is slow for a reason of its own."
  type        = string
  default     = "c7i.large"
  validation {
    condition     = !can(regex("^t[0-9]", var.instance_type))
    error_message = "A burstable edge stalls handshakes itself."
  }
}

variable "allowed_cidrs" {
  description = "From where handshakes may come."
  type        = set(string)
  validation {
    condition     = length(var.allowed_cidrs) > 0
    error_message = "Name who may come in."
  }
}
