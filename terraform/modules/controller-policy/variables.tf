variable "name" {
  description = "Prefix of what is made."
  type        = string
  default     = "whostalled"
}

variable "account_id" {
  description = "The account."
  type        = string
}

variable "partition" {
  description = "`aws`, `aws-cn` or `aws-us-gov`."
  type        = string
  default     = "aws"
}

variable "instance_types" {
  description = "Types that may be launched."
  type        = list(string)
  default     = ["t2.medium", "t3.medium"]
}

variable "regions" {
  description = "Where vantages may be brought up: regions that the reaper looks at."
  type        = list(string)
  validation {
    condition     = length(var.regions) > 0
    error_message = "Name at least one region."
  }
}

variable "agents" {
  description = "Agents that may be brought up, by name: the role of vantages may read their credentials and no other's."
  type        = list(string)
  validation {
    condition     = length(var.agents) > 0 && alltrue([for name in var.agents : can(regex("^[A-Za-z0-9-]{1,63}$", name))])
    error_message = "Names of agents: letters, digits and `-`; at least one."
  }
}

variable "parameter_prefix" {
  description = "SSM parameters PREFIX/NAME that hold these agents' credentials: `credential` of the settings of ec2, before its {agent}."
  type        = string
  default     = "/whostalled/agents"
  validation {
    condition     = startswith(var.parameter_prefix, "/")
    error_message = "A path begins with `/`."
  }
}

variable "reap" {
  description = "Whether whoever controls may also run `whostalled vantage reap`, which marks what it finds."
  type        = bool
  default     = false
}

variable "session_manager" {
  description = "Whether vantages can be reached by ssh through Session Manager, by whoever controls."
  type        = bool
  default     = false
}

variable "ebs_kms_key_arns" {
  description = "Where EBS encrypts by default with keys of your own: these keys, of each region. Keys of AWS's own need nothing."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
